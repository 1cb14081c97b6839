//! A significant action of an agent, in the seed's own shape.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{OrgId, Role, TaskId},
    time::Time,
};

/// One event on `genbrain.org.{orgId}.events`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The kind of event: `agent.action`. Unknown kinds are kept.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it happened.
    pub timestamp: Time,
    /// The role that acted.
    pub agent_role: Role,
    /// The org in which it acted.
    pub org_id: OrgId,
    /// What it did: `file.write`.
    pub action: String,
    /// What belongs to the action.
    #[serde(default)]
    pub details: Value,
    /// The task for which it acted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The session of the agent, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The event of the founding document, byte for byte but for blanks.
    const SEED: &str = r#"{
      "type": "agent.action",
      "timestamp": "2026-05-10T14:23:01Z",
      "agentRole": "marketing",
      "orgId": "org_abc123",
      "action": "file.write",
      "details": { "path": "/workspace/blog/new-post.md", "sizeBytes": 4523 },
      "taskId": "task_xyz789",
      "sessionId": "sess_def456"
    }"#;

    #[test]
    fn the_seeds_event_is_read_and_written_unchanged() {
        let event: Event = serde_json::from_str(SEED).unwrap();
        assert_eq!(event.action, "file.write");
        let back = serde_json::to_value(&event).unwrap();
        assert_eq!(back, serde_json::from_str::<Value>(SEED).unwrap());
    }

    #[test]
    fn unknown_fields_survive() {
        let mut value: Value = serde_json::from_str(SEED).unwrap();
        value["tokens"] = 42.into();
        let event: Event = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap(), value);
    }
}
