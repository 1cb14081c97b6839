//! Signs of life: which instance of a role is there, and what it holds. [`orphan`] judges from them
//! who is gone, [`standing`] says how everybody is.

pub mod orphan;
pub mod standing;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{InstanceId, Role, TaskId},
    time::Time,
};

/// A heartbeat on `genbrain.agents.{role}.heartbeat`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The role that the instance fills.
    pub role: Role,
    /// The instance, by a name that outlives a restart.
    pub instance: InstanceId,
    /// The process: another one of the same instance is a restart.
    pub incarnation: String,
    /// When it was sent, by the instance's own clock.
    pub at: Time,
    /// Tasks that it works on at a time.
    pub concurrency: usize,
    /// What it works on now.
    #[serde(default)]
    pub holds: Vec<Held>,
    /// Whether it is on its way out: it takes no new work.
    #[serde(default)]
    pub leaving: bool,
    /// The connection that it was sent on, so that the server's word about the end of that
    /// connection can be understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// Whether it was told to pause: it begins nothing new.
    #[serde(default)]
    pub paused: bool,
    /// Whether it brings what it holds to an end, begins nothing new, and then leaves.
    #[serde(default)]
    pub draining: bool,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Heartbeat {
    /// Whether it is of somebody who takes tasks. A controller only hears itself by it.
    #[must_use]
    pub const fn is_of_agent(&self) -> bool {
        self.concurrency > 0
    }

    /// Whether its sender works on this attempt of the task.
    #[must_use]
    pub fn names(&self, task: &TaskId, attempt: u32) -> bool {
        self.holds.iter().any(|held| held.task_id == *task && held.attempt == attempt)
    }
}

/// A connection as its server counts it: no two of a cluster are the same, and nobody chooses it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// The id of the server.
    pub server: String,
    /// The number of the connection there.
    pub client: u64,
}

/// One attempt that an instance works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the instance owns.
    pub attempt: u32,
}
