//! Signs of life: which instance of a role is there, and what it holds.

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

/// One attempt that an instance works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The task.
    pub task_id: TaskId,
    /// The attempt that the instance owns.
    pub attempt: u32,
}
