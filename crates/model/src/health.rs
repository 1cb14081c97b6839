//! How a server of Sinew fares: a sample on `genbrain.org.system.health`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{OrgId, Role},
    time::Time,
};

/// A sample of the health of one server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// When it was taken.
    pub at: Time,
    /// The org that is served.
    pub org_id: OrgId,
    /// The server, by a name that no other process has.
    pub server: String,
    /// The version of Sinew that it runs.
    pub version: String,
    /// For how many seconds it has been up.
    pub up_seconds: u64,
    /// Whether it can do its work: nothing of what must be well is not.
    pub ready: bool,
    /// What is not well, in words.
    #[serde(default)]
    pub faults: Vec<String>,
    /// Tasks on all queues.
    pub queued: u64,
    /// Entries in the log of tasks, by the sequence of the newest.
    pub log_seq: u64,
    /// The newest entry that its view has.
    pub view_seq: u64,
    /// Agents that it hears.
    pub agents: u64,
    /// What it leads, as `scaler`.
    #[serde(default)]
    pub leads: Vec<String>,
    /// Roles whose command does not stay up here.
    #[serde(default)]
    pub crashing: Vec<Crashing>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A role whose command does not stay up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Crashing {
    /// The role.
    pub role: Role,
    /// How often in a row it ended by itself.
    pub times: u32,
    /// How it ended, and the end of what it said.
    pub why: String,
    /// When it is tried again.
    pub again_at: Time,
}

impl Health {
    /// Whether this server leads `what`.
    #[must_use]
    pub fn leads(&self, what: crate::lease::LeaseName) -> bool {
        self.leads.iter().any(|it| it == what.word())
    }
}
