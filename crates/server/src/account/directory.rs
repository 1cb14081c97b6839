//! A running server's own directory of accounts, reached through its system account. What is put
//! there holds at once, for connections that stand too.

use std::path::Path;

use serde::Deserialize;
use sinew_bus::{Auth, Bus, Config, ConnectError, RequestError};
use sinew_model::OrgId;

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
struct Refusal {
    #[serde(default)]
    description: String,
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

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        subject: &str,
        body: &str,
    ) -> Result<T, DirectoryError> {
        let answer = self.bus.call(subject, body.to_owned()).await?;
        let refused = |why| DirectoryError::Refused { why };
        match serde_json::from_slice::<Answer<T>>(&answer) {
            Ok(Answer { error: Some(error), .. }) => Err(refused(error.description)),
            Ok(Answer { data: Some(data), .. }) => Ok(data),
            Ok(Answer { data: None, error: None }) => Err(refused("it said nothing".to_owned())),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}
