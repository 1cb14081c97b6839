//! What is written down about an org: its quotas, its signing keys by their public half, who has
//! credentials, and whose were revoked. No secret is here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sinew_bus::{Bus, RequestError, Topology, TopologyError};
use sinew_model::{
    Time,
    limits::{
        BODIES_STORED, ORG_BODIES_SHARE, ORG_CONNECTIONS, ORG_CONSUMERS, ORG_MEMORY_BYTES,
        ORG_STORAGE_BYTES, ORG_STREAMS,
    },
    signature::Trust,
    stream::OBJ_BODIES,
};

/// What an org may take of the server; -1 is no limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Connections at once.
    pub connections: i64,
    /// Streams.
    pub streams: i64,
    /// Consumers.
    pub consumers: i64,
    /// Bytes of streams on the disk. The server sets them aside.
    pub storage_bytes: i64,
    /// Bytes of streams in memory. The server sets them aside.
    pub memory_bytes: i64,
}

impl Quota {
    /// No limit but those of the server: for the org of a laptop.
    pub const NONE: Self =
        Self { connections: -1, streams: -1, consumers: -1, storage_bytes: -1, memory_bytes: -1 };
}

impl Quota {
    /// What the server lets the account of this connection store, for who has no record of the
    /// org: controllers on another machine. The other bounds are left out.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn of_account(bus: &Bus) -> Result<Self, RequestError> {
        #[derive(Deserialize)]
        struct Account {
            limits: Limits,
        }
        #[derive(Deserialize)]
        struct Limits {
            max_storage: i64,
        }
        let account: Account = bus.api("INFO", &serde_json::Value::Null).await?;
        // A server without a bound for the account says -1, and one that has no accounts 0.
        let storage_bytes = Some(account.limits.max_storage).filter(|most| *most > 0);
        Ok(Self { storage_bytes: storage_bytes.unwrap_or(-1), ..Self::NONE })
    }

    /// The streams of an org with this quota: the catalogue, of which large bodies get a share of
    /// the org's disk that fits.
    ///
    /// # Errors
    /// [`TopologyError`], which a share that is a number does not cause.
    pub fn topology(&self, bus: &Bus) -> Result<Topology, TopologyError> {
        if self.storage_bytes < 0 {
            return Ok(Topology::standard(bus));
        }
        let share = BODIES_STORED.min(self.storage_bytes / ORG_BODIES_SHARE);
        Topology::overlaid(bus, &format!("[streams.{OBJ_BODIES}]\nmax_bytes = {share}\n"))
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            connections: ORG_CONNECTIONS,
            streams: ORG_STREAMS,
            consumers: ORG_CONSUMERS,
            storage_bytes: ORG_STORAGE_BYTES,
            memory_bytes: ORG_MEMORY_BYTES,
        }
    }
}

/// A key that signs the users of an org.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SigningKey {
    /// Its number, which its file has too. The highest is the one in use.
    pub number: u32,
    /// Its public half.
    pub public: String,
    /// When it was made.
    pub made: Time,
}

/// Credentials that were given out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    /// The user's name: `agent-cto`, `observer`, `operator`, `server`.
    pub name: String,
    /// Its public key.
    pub key: String,
    /// When they were given out.
    pub issued: Time,
    /// Until when they let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// The number of the key that signed them.
    pub signed_by: u32,
}

/// An org as it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The public key of its account, which is how the server calls it.
    pub account: String,
    /// When it was made.
    pub made: Time,
    /// What it may take of the server.
    pub quota: Quota,
    /// The keys that sign its users, the newest last.
    pub signing: Vec<SigningKey>,
    /// Who has credentials.
    #[serde(default)]
    pub users: Vec<Issued>,
    /// Users that are let in no more, and since when, in seconds since 1970.
    #[serde(default)]
    pub revoked: BTreeMap<String, i64>,
    /// Signing keys that count no more, by their public half, and since when, in seconds since 1970.
    #[serde(default)]
    pub retired: BTreeMap<String, i64>,
}

/// Whose credentials are revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// Those of all users of that name.
    Name(String),
    /// Those of one user, by its public key.
    Key(String),
}

/// How the server writes that all users are revoked.
pub(super) const EVERYBODY: &str = "*";

impl Record {
    /// Whether it is on its way out, and lets nobody in.
    #[must_use]
    pub fn is_shut(&self) -> bool {
        self.revoked.contains_key(EVERYBODY)
    }

    /// Whose signatures count in the org, and since when they do not.
    #[must_use]
    pub fn trust(&self) -> Trust {
        let signing = self.signing.iter().map(|key| key.public.clone());
        Trust {
            issuers: signing.chain([self.account.clone()]).collect(),
            retired: self.retired.clone(),
            revoked: self.revoked.clone(),
        }
    }

    /// The users that it means and that are not revoked yet.
    pub(super) fn meant(&self, whose: &Revoke) -> Vec<Issued> {
        let is_meant = |user: &&Issued| match whose {
            Revoke::Name(name) => user.name == *name,
            Revoke::Key(key) => user.key == *key,
        };
        let stands = |user: &&Issued| !self.revoked.contains_key(&user.key);
        self.users.iter().filter(is_meant).filter(stands).cloned().collect()
    }

    /// Forgets users that expired: their JWTs say so themselves, and the server goes by that.
    pub(super) fn forget_expired(&mut self, now: Time) {
        let (stay, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.users)
            .into_iter()
            .partition(|user| user.expires.is_none_or(|until| until > now));
        self.users = stay;
        for user in gone {
            self.revoked.remove(&user.key);
        }
    }
}
