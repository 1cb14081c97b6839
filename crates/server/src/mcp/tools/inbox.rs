//! What was sent to a role: reports about the tasks that it delegated, and direct messages.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinew_model::{
    Role, TaskId, Time,
    limits::{MCP_ROWS, MCP_ROWS_MOST, MCP_SEARCHED},
    mail::Mail,
    stream::AGENT_MAIL,
};

use super::{Call, Entry, Kind, event::newest, tool};
use crate::mcp::{hub::Hub, reply::Told};

pub(super) fn tools() -> Vec<Entry> {
    vec![tool(
        (
            "get_agent_inbox",
            "Read the inbox",
            "Shows the newest messages to your role, the oldest of them first: reports about tasks \
             that it delegated, and direct messages. Reading takes nothing away.",
        ),
        Kind::Reads,
        read,
    )]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp) struct Read {
    /// At most so many; 20 if not given, at most 200.
    limit: Option<usize>,
    /// Only what came at this moment or later, as 2026-05-10T14:23:01Z.
    since: Option<Time>,
}

/// A message, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Message {
    id: String,
    /// task.completed, task.failed, task.progress, task.blocked, message, and others.
    kind: String,
    from: Role,
    at: Time,
    task_id: Option<TaskId>,
    body: Value,
}

/// An inbox, for a model.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::mcp) struct Inbox {
    messages: Vec<Message>,
}

/// The newest messages of the session's role.
pub(in crate::mcp) async fn inbox(hub: &Hub, given: Read) -> Result<Inbox, Told> {
    let limit = given.limit.unwrap_or(MCP_ROWS).clamp(1, MCP_ROWS_MOST);
    let filter = hub.bus().subjects().inbox(hub.role());
    let mut known = BTreeSet::new();
    let mut messages = Vec::new();
    for message in newest(hub, AGENT_MAIL, filter.as_str(), MCP_SEARCHED).await? {
        let Ok(mail) = serde_json::from_slice::<Mail>(&message.payload) else { continue };
        let is_late = given.since.is_none_or(|since| message.time >= since);
        // A report may be sent again after a crash, always under the same id.
        if is_late && known.insert(mail.id.clone()) {
            let Mail { id, kind, from, at, task_id, body, .. } = mail;
            messages.push(Message { id, kind, from, at, task_id, body });
        }
    }
    let surplus = messages.len().saturating_sub(limit);
    messages.drain(..surplus);
    Ok(Inbox { messages })
}

async fn read(call: Call, given: Read) -> Result<Inbox, Told> {
    inbox(&call.hub, given).await
}
