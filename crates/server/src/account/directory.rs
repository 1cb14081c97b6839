//! A running server's own directory of accounts, reached through its system account. What is put
//! there holds at once, for connections that stand too.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde::Deserialize;
use serde_json::json;
use sinew_bus::{Auth, Begins, Bus, Config, ConnectError, RequestError};
use sinew_model::{OrgId, limits::ORG_PAGE};

/// A connection to the system account of a server.
#[derive(Clone, Debug)]
pub struct Directory {
    bus: Bus,
}

/// Why the server's directory of accounts was not read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The system account can't be reached.
    #[error("the server's system account is out of reach")]
    Connect(#[from] ConnectError),
    /// The server did not answer.
    #[error("the server did not say what it did")]
    Request(#[from] RequestError),
    /// The server refused.
    #[error("the server refused: {why}")]
    Refused {
        /// What it said.
        why: String,
    },
}

#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct From {
    server: Option<Server>,
}

#[derive(Default, Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct Statz {
    account_statz: Vec<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    acc: String,
    conns: u64,
}

#[derive(Deserialize)]
struct Jsz {
    #[serde(default)]
    account_details: Vec<Held>,
}

#[derive(Deserialize)]
struct Held {
    id: String,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    memory: u64,
}

impl Directory {
    /// Connects as the system user.
    ///
    /// # Errors
    /// [`DirectoryError::Connect`].
    pub async fn connect(url: &str, creds: &Path) -> Result<Self, DirectoryError> {
        // A connection belongs to an org; this one never uses a subject of it.
        let nobody: OrgId = match "none".parse() {
            Ok(org) => org,
            Err(error) => return Err(DirectoryError::Refused { why: format!("{error}") }),
        };
        let mut config = Config::new(url, nobody);
        config.auth = Auth::Credentials(creds.to_owned());
        config.name = "sinew accounts".to_owned();
        Ok(Self { bus: Bus::connect(config).await? })
    }

    /// Makes an account known, or what is new about it.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn put(&self, jwt: &str) -> Result<(), DirectoryError> {
        self.ask::<serde_json::Value>("$SYS.REQ.CLAIMS.UPDATE", jwt).await.map(drop)
    }

    /// The public keys of all accounts.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn list(&self) -> Result<Vec<String>, DirectoryError> {
        self.ask("$SYS.REQ.CLAIMS.LIST", "").await
    }

    /// Has the server forget accounts: `order` names them, signed by the operator. Their
    /// connections are cut.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn delete(&self, order: &str) -> Result<(), DirectoryError> {
        self.ask::<serde_json::Value>("$SYS.REQ.CLAIMS.DELETE", order).await.map(drop)
    }

    /// Deletes all streams of an account.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn purge(&self, account: &str) -> Result<(), DirectoryError> {
        let call = format!("ACCOUNT.PURGE.{account}");
        let _: serde_json::Value = self.bus.api(&call, &serde_json::Value::Null).await?;
        Ok(())
    }

    /// How many connections each account has, by its public key; those without any are not there.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn connections(&self) -> Result<BTreeMap<String, u64>, DirectoryError> {
        let answers = self.bus.gather("$SYS.REQ.ACCOUNT.PING.STATZ", "{}").await?;
        let mut counts = BTreeMap::new();
        for answer in answers {
            let Statz { account_statz } = data(&answer)?;
            for Statistics { acc, conns } in account_statz {
                *counts.entry(acc).or_default() += conns;
            }
        }
        Ok(counts)
    }

    /// The accounts that have anything stored, by their public keys.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub async fn holders(&self) -> Result<BTreeSet<String>, DirectoryError> {
        let mut holders = BTreeSet::new();
        for page in 0_usize.. {
            let offset = page.saturating_mul(ORG_PAGE);
            let which = json!({ "accounts": true, "offset": offset, "limit": ORG_PAGE });
            let answers = self.bus.gather("$SYS.REQ.SERVER.PING.JSZ", which.to_string()).await?;
            let mut is_last = true;
            for answer in answers {
                let Jsz { account_details } = data(&answer)?;
                is_last &= account_details.len() < ORG_PAGE;
                let holds = |it: &Held| it.storage > 0 || it.memory > 0;
                holders.extend(account_details.into_iter().filter(holds).map(|it| it.id));
            }
            if is_last {
                break;
            }
        }
        Ok(holders)
    }

    /// Hears which account each new connection is of.
    ///
    /// # Errors
    /// [`DirectoryError::Refused`] where the connection is closed.
    pub async fn watch(&self) -> Result<Begins, DirectoryError> {
        self.bus.watch_begins().await.map_err(|why| DirectoryError::Refused { why })
    }

    /// Asks all servers.
    pub(super) async fn gather(
        &self,
        subject: &str,
        body: &str,
    ) -> Result<Vec<impl AsRef<[u8]> + use<>>, DirectoryError> {
        Ok(self.bus.gather(subject, body.to_owned()).await?)
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        subject: &str,
        body: &str,
    ) -> Result<T, DirectoryError> {
        let answer = self.bus.call(subject, body.to_owned()).await?;
        data(&answer)
    }
}

/// What an answer holds, and the id of the server that gave it.
pub(super) fn whole<T: serde::de::DeserializeOwned>(
    answer: &[u8],
) -> Result<(String, T), DirectoryError> {
    let from = serde_json::from_slice::<From>(answer).ok().and_then(|it| it.server);
    Ok((from.unwrap_or_default().id, data(answer)?))
}

/// What an answer holds.
pub(super) fn data<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, DirectoryError> {
    let refused = |why| DirectoryError::Refused { why };
    match serde_json::from_slice::<Answer<T>>(answer) {
        Ok(Answer { error: Some(error), .. }) => Err(refused(error.description)),
        Ok(Answer { data: Some(data), .. }) => Ok(data),
        Ok(Answer { data: None, error: None }) => Err(refused("it said nothing".to_owned())),
        Err(error) => Err(refused(error.to_string())),
    }
}
