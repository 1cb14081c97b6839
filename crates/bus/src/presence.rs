//! The server's own word about connections. Only a connection of the system account hears it, and
//! it may be lost: who needs to know for sure has other signs as well.

use serde::Deserialize;
use sinew_model::presence::Connection;

use crate::{connect::Bus, read::Hints};

/// Where the server says that a connection of any account ended.
const ENDS: &str = "$SYS.ACCOUNT.*.DISCONNECT";

/// Where the server says that a connection of any account was made.
const BEGINS: &str = "$SYS.ACCOUNT.*.CONNECT";

/// Connections of all accounts as they end.
#[derive(Debug)]
pub struct Ends(Hints);

/// Accounts as they are connected to.
#[derive(Debug)]
pub struct Begins(Hints);

#[derive(Deserialize)]
struct End {
    server: Server,
    client: Client,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Client {
    id: u64,
}

impl Bus {
    /// Hears the end of every connection, if this one is of the system account; else nothing.
    ///
    /// # Errors
    /// In words, when the connection is closed.
    pub async fn watch_ends(&self) -> Result<Ends, String> {
        self.watch_subject(ENDS).await.map(Ends)
    }
}

impl Bus {
    /// Hears which account each new connection is of, if this one is of the system account; else
    /// nothing.
    ///
    /// # Errors
    /// In words, when the connection is closed.
    pub async fn watch_begins(&self) -> Result<Begins, String> {
        self.watch_subject(BEGINS).await.map(Begins)
    }
}

impl Begins {
    /// The public key of the next one; `None` when this connection itself is closed for good.
    pub async fn next(&mut self) -> Option<String> {
        let hint = self.0.next().await?;
        // The subject was matched, so the token is there.
        Some(hint.subject().split('.').nth(2).unwrap_or_default().to_owned())
    }
}

impl Ends {
    /// The next one; `None` when this connection itself is closed for good.
    pub async fn next(&mut self) -> Option<Connection> {
        loop {
            let hint = self.0.next().await?;
            match serde_json::from_slice::<End>(hint.payload()) {
                Ok(End { server, client }) => {
                    return Some(Connection { server: server.id, client: client.id });
                }
                Err(error) => tracing::debug!(%error, "the end of a connection is not readable"),
            }
        }
    }
}
