//! Messages to every role, and who has acknowledged them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinew_agent::Message;
use sinew_bus::clock;
use sinew_model::{BroadcastId, Role, TaskId, Time, mail};

use super::{
    Call, Entry, Kind,
    inbox::{Sent, Shown, body, dispatch},
    tool,
};
use crate::mcp::reply::Told;

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "broadcast_message",
                "Write to everybody",
                "Sends a message to every role of the org. With `acknowledge_within_seconds`, each \
                 is asked to acknowledge it by then; get_acknowledgements shows who has.",
            ),
            Kind::Adds,
            broadcast,
        ),
        tool(
            (
                "acknowledge_broadcast",
                "Acknowledge a message to everybody",
                "Says that your role has taken note of a message to everybody, with a word about it \
                 if there is one. Once is enough for all agents of the role.",
            ),
            Kind::Sets,
            acknowledge,
        ),
        tool(
            (
                "get_acknowledgements",
                "Show who has acknowledged",
                "Shows for a message to everybody which roles have acknowledged it, which were asked \
                 to and have not, and whether its time is up.",
            ),
            Kind::Reads,
            roll,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Broadcast {
    /// What it says: a text, or any JSON.
    message: Value,
    /// One line about it.
    #[serde(default)]
    subject: Option<String>,
    /// What it is, in a word as warning; message if not given.
    #[serde(default)]
    kind: Option<String>,
    /// Within how many seconds it wants to be acknowledged.
    #[serde(default)]
    acknowledge_within_seconds: Option<u32>,
    /// Who is asked to; all roles that are known but yours, if not given.
    #[serde(default)]
    audience: Vec<Role>,
    /// The held task on whose behalf it is sent: then it is sent once, however often the task is
    /// tried.
    #[serde(default)]
    task_id: Option<TaskId>,
    /// An id of your own: the same message again under it is sent once.
    #[serde(default)]
    id: Option<String>,
}

async fn broadcast(call: Call, given: Broadcast) -> Result<Sent, Told> {
    let mut message = Message::to_everybody(body(given.message, given.subject))
        .kind(given.kind.unwrap_or_default())
        .audience(given.audience);
    if let Some(seconds) = given.acknowledge_within_seconds {
        let by = clock::now().plus(Duration::from_secs(seconds.into()));
        message = message.acknowledge_by(by);
    }
    if let Some(id) = given.id {
        message = message.id(id);
    }
    dispatch(&call.hub, given.task_id.as_ref(), message).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Acknowledge {
    /// The id of the message.
    #[serde(alias = "id")]
    message_id: BroadcastId,
    /// A word about it.
    #[serde(default)]
    note: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Noted {
    message_id: BroadcastId,
    acknowledged: bool,
    /// Whether it was the first time; the first one counts.
    first: bool,
}

async fn acknowledge(call: Call, given: Acknowledge) -> Result<Noted, Told> {
    let first = call.hub.client().acknowledge(&given.message_id, given.note.as_deref()).await?;
    Ok(Noted { message_id: given.message_id, acknowledged: true, first })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The id of the message.
    #[serde(alias = "id")]
    message_id: BroadcastId,
}

/// A role that has acknowledged, for a model.
#[derive(Debug, Serialize, JsonSchema)]
struct Acknowledged {
    role: Role,
    at: Time,
    /// Whether that was after the deadline.
    late: bool,
    /// Whether it was asked to.
    expected: bool,
    note: Option<String>,
}

impl From<mail::Acknowledged> for Acknowledged {
    fn from(it: mail::Acknowledged) -> Self {
        let mail::Acknowledged { role, at, late, expected, note } = it;
        Self { role, at, late, expected, note }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Roll {
    message: Shown,
    acknowledged: Vec<Acknowledged>,
    /// Roles that were asked to and have not.
    missing: Vec<Role>,
    /// Whether the deadline has passed.
    over: bool,
}

async fn roll(call: Call, given: Which) -> Result<Roll, Told> {
    let (mail, roll) = call.hub.client().acknowledgements(&given.message_id).await?;
    Ok(Roll {
        message: Shown::of(mail),
        acknowledged: roll.acknowledged.into_iter().map(Acknowledged::from).collect(),
        missing: roll.missing,
        over: roll.over,
    })
}
