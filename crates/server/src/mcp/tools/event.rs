//! Telling the org what was done, and searching what it was told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinew_agent::Emission;
use sinew_bus::RawMessage;
use sinew_model::{
    Role, TaskId, Time,
    event::Event,
    limits::{MCP_ROWS, MCP_ROWS_MOST, MCP_SEARCHED},
    stream::ORG_EVENTS,
};

use super::{Call, Entry, Kind, tool};
use crate::mcp::{hub::Hub, reply::Told};

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "publish_event",
                "Tell the org of an action",
                "Tells the org that you did something of note, as file.write or deploy.done, for \
                 audit and for agents that listen.",
            ),
            Kind::Adds,
            publish,
        ),
        tool(
            (
                "search_events",
                "Search events",
                "Shows the newest events of the org, the oldest of them first: all, or those of a \
                 role, a task, a moment, or with some text.",
            ),
            Kind::Reads,
            search,
        ),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Publish {
    /// What was done, as file.write.
    #[serde(alias = "event_type")]
    action: String,
    /// What belongs to it: any JSON.
    #[serde(default, alias = "payload")]
    details: Value,
    /// The type of the event; agent.action if not given.
    #[serde(default, rename = "type")]
    kind: Option<String>,
    /// The held task for which it was done.
    #[serde(default)]
    task_id: Option<TaskId>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Published {
    published: String,
}

async fn publish(call: Call, given: Publish) -> Result<Published, Told> {
    let Publish { action, details, kind, task_id } = given;
    let mut event = Emission::new(action.as_str()).details(details);
    if let Some(kind) = kind {
        event = event.kind(kind);
    }
    match task_id {
        Some(task) => call.hub.attempt(&task)?.emit(event).await?,
        None => {
            let ensured = call.hub.topology().ensure_stream(call.hub.bus(), ORG_EVENTS).await;
            ensured.map_err(|error| Told::passing(&error, "there is no stream of events"))?;
            call.hub.client().emit(event).await?;
        }
    }
    Ok(Published { published: action })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Search {
    /// Only what this role did.
    role: Option<Role>,
    /// Only what was done for this task.
    task_id: Option<TaskId>,
    /// Only events in which this text is.
    text: Option<String>,
    /// Only what happened at this moment or later, as 2026-05-10T14:23:01Z.
    since: Option<Time>,
    /// At most so many; 20 if not given, at most 200.
    limit: Option<usize>,
}

/// An event, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Row {
    kind: String,
    at: Time,
    role: Role,
    action: String,
    details: Value,
    task_id: Option<TaskId>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    events: Vec<Row>,
    /// How many of the newest events were searched.
    searched: usize,
}

async fn search(call: Call, given: Search) -> Result<Found, Told> {
    let filter = call.hub.bus().subjects().events();
    let stored = newest(&call.hub, ORG_EVENTS, filter.as_str(), MCP_SEARCHED).await?;
    let searched = stored.len();
    let mut events: Vec<Row> = stored.iter().filter_map(|message| found(message, &given)).collect();
    let limit = given.limit.unwrap_or(MCP_ROWS).clamp(1, MCP_ROWS_MOST);
    events.drain(..events.len().saturating_sub(limit));
    Ok(Found { events, searched })
}

fn found(message: &RawMessage, given: &Search) -> Option<Row> {
    let event: Event = serde_json::from_slice(&message.payload).ok()?;
    let suits = given.role.as_ref().is_none_or(|role| *role == event.agent_role)
        && given.task_id.as_ref().is_none_or(|task| Some(task) == event.task_id.as_ref())
        && given.since.is_none_or(|since| event.timestamp >= since)
        && given.text.as_ref().is_none_or(|text| {
            String::from_utf8_lossy(&message.payload).to_lowercase().contains(&text.to_lowercase())
        });
    suits.then_some(Row {
        kind: event.kind,
        at: event.timestamp,
        role: event.agent_role,
        action: event.action,
        details: event.details,
        task_id: event.task_id,
    })
}

/// The newest messages of a filter subject, the oldest of them first: those among the last `most`
/// of the stream. Where there is no stream there are none.
pub(super) async fn newest(
    hub: &Hub,
    stream: &str,
    filter: &str,
    most: u64,
) -> Result<Vec<RawMessage>, Told> {
    let told = |error: &dyn std::error::Error| Told::passing(error, "the stream can't be read now");
    let last = match hub.bus().stream_state(stream).await {
        Ok(state) => state.last_seq,
        Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(Vec::new()),
        Err(error) => return Err(told(&error)),
    };
    let from = last.saturating_add(1).saturating_sub(most).max(1);
    let scan = hub.bus().scan(stream, filter, from).await;
    let mut scan = scan.map_err(|error| told(&error))?;
    let mut found = Vec::new();
    while scan.pending() > 0 {
        let message = scan.next().await.map_err(|error| told(&error))?;
        let is_last = message.seq >= last;
        found.push(message);
        // What comes in meanwhile is not waited for.
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// The server's number for a stream that it has not.
pub(super) const NO_STREAM: u32 = 10_059;
