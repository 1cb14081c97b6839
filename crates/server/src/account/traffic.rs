//! What a running server counts of who sends how much, asked through its system account.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use sinew_model::{Time, flood::Sample, limits::FLOOD_CONNECTIONS, presence::Connection};

use super::{
    Directory, DirectoryError,
    directory::{data, whole},
};

/// What came from the connections of one account since its server knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

/// One connection: whose it is, what it is, and what its server counted from its beginning, which
/// comes first, until now.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// The public key of its user.
    pub(crate) user: String,
    pub(crate) seen: (Connection, Sample, Sample),
}

#[derive(Deserialize)]
struct Statz {
    account_statz: Vec<Statistics>,
}

#[derive(Deserialize)]
struct Statistics {
    acc: String,
    received: Received,
}

#[derive(Deserialize)]
struct Received {
    msgs: u64,
    bytes: u64,
}

#[derive(Deserialize)]
struct Connz {
    server_id: String,
    now: Time,
    #[serde(default)]
    connections: Vec<Client>,
}

#[derive(Deserialize)]
struct Client {
    cid: u64,
    start: Time,
    #[serde(default)]
    authorized_user: String,
    in_msgs: u64,
    in_bytes: u64,
}

impl Directory {
    /// What came from each account, by its public key and by the server that counted it.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub(crate) async fn totals(&self) -> Result<BTreeMap<(String, String), Total>, DirectoryError> {
        let answers = self.gather("$SYS.REQ.ACCOUNT.PING.STATZ", "{}").await?;
        let mut totals = BTreeMap::new();
        for answer in answers {
            let (server, Statz { account_statz }) = whole(answer.as_ref())?;
            for Statistics { acc, received: Received { msgs: messages, bytes } } in account_statz {
                totals.insert((acc, server.clone()), Total { messages, bytes });
            }
        }
        Ok(totals)
    }

    /// The connections of an account, those first that did something last.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub(crate) async fn flows(&self, account: &str) -> Result<Vec<Flow>, DirectoryError> {
        let which =
            json!({ "acc": account, "auth": true, "sort": "last", "limit": FLOOD_CONNECTIONS });
        let answers = self.gather("$SYS.REQ.SERVER.PING.CONNZ", &which.to_string()).await?;
        let mut flows = Vec::new();
        for answer in answers {
            let Connz { server_id, now, connections } = data(answer.as_ref())?;
            flows.extend(connections.into_iter().map(|it| {
                let connection = Connection { server: server_id.clone(), client: it.cid };
                let begun = Sample { at: it.start, messages: 0, bytes: 0 };
                let seen = Sample { at: now, messages: it.in_msgs, bytes: it.in_bytes };
                Flow { user: it.authorized_user, seen: (connection, begun, seen) }
            }));
        }
        Ok(flows)
    }
}
