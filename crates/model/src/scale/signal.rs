//! What the leader of the scalers says: how many instances each role is to have, and why. Whoever
//! starts and stops instances, on a machine or in a cluster, follows the newest one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Reason;
use crate::{
    id::{OrgId, Role},
    time::Time,
};

/// A signal on `genbrain.org.system.scaling`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Signal {
    /// When it was said.
    pub at: Time,
    /// The org whose roles are meant.
    pub org_id: OrgId,
    /// The scaler that leads.
    pub by: String,
    /// Its term: a signal of a lower one than was seen before is void.
    pub term: u64,
    /// Every role of the team. One that is not named is not scaled by it.
    pub roles: Vec<RoleSignal>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What holds for one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleSignal {
    /// The role.
    pub role: Role,
    /// How many instances there are to be, whoever starts them.
    pub replicas: u32,
    /// Why.
    pub reason: Reason,
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Tasks that one instance works on at a time.
    pub concurrency: u32,
    /// Instances that show signs of life.
    pub running: u32,
    /// Instances that work on something.
    pub busy: u32,
    /// Tasks on the queue that nobody has begun.
    pub backlog: u64,
    /// Tasks that are worked on.
    pub in_flight: u64,
    /// Tasks that wait for a person.
    pub waiting: u64,
    /// Since when there is work and no instance; absent where that is not so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck_since: Option<Time>,
}

impl Signal {
    /// Whether it says anything else than `earlier`, but for when it was said.
    #[must_use]
    pub fn differs(&self, earlier: &Self) -> bool {
        let key = |it: &Self| (it.term, it.by.clone(), it.roles.clone());
        key(self) != key(earlier)
    }
}
