//! `sinew agent list`: who shows signs of life, and which roles have work and nobody awake.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::Serialize;
use sinew_bus::{Bus, clock, read::DepthError};
use sinew_model::{
    Address, InstanceId, Role, TaskId, Time,
    presence::Heartbeat,
    stream::{AGENT_PRESENCE, AGENT_TASKS},
};

use crate::{args::Global, exit::Code, output::Out, target::Target, text};

/// How long is listened: every living instance shows itself once a second.
const LISTEN: Duration = Duration::from_millis(1_500);
/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Show who is alive, idle, busy, paused, draining, asleep or stale, and what they hold.
///
/// It listens for a moment. An agent that is not heard, and was a few minutes ago, is stale; a
/// role that has tasks on its queue and no agent that is heard is asleep. One that is paused or drains begins nothing new, and may
/// still hold what it had. QUEUED counts the tasks on
/// the queue of the role, with those that its agents hold.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew agent list")]
pub(crate) struct Args {}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceId>,
    state: &'static str,
    /// Tasks that wait on the queue of the role or are with one of its agents.
    queued: u64,
    holds: Vec<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_at: Option<Time>,
}

/// Prints the list.
///
/// # Errors
/// When the backbone can't be asked.
pub(crate) async fn run(_args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    let queues = queues(&bus).await?;
    let mut known = stored(&bus).await?;
    let heard = listen(&bus).await?;
    let awake: BTreeSet<InstanceId> = heard.keys().cloned().collect();
    known.extend(heard);
    let mut rows: Vec<Row> = known
        .into_values()
        // One that said goodbye is gone, and not stale.
        .filter(|it| awake.contains(&it.instance) || !it.leaving)
        .map(|it| row(it, &awake, &queues))
        .collect();
    let roles: BTreeSet<Role> =
        rows.iter().filter(|row| row.state != "stale").map(|row| row.role.clone()).collect();
    rows.extend(queues.iter().filter(|(role, _)| !roles.contains(role)).map(|(role, queued)| {
        Row {
            role: role.clone(),
            instance: None,
            state: "asleep",
            queued: *queued,
            holds: Vec::new(),
            concurrency: None,
            heard_at: None,
        }
    }));
    rows.sort_by(|a, b| (&a.role, &a.instance).cmp(&(&b.role, &b.instance)));
    if out.is_json() {
        out.document(&rows)?;
        return Ok(Code::Done);
    }
    if rows.is_empty() {
        out.note("nobody is there, and no task waits");
        return Ok(Code::Done);
    }
    let head = ["ROLE", "INSTANCE", "STATE", "QUEUED", "HOLDS", "HEARD"];
    out.line(text::table(&head, rows.iter().map(cells)))?;
    Ok(Code::Done)
}

fn row(it: Heartbeat, awake: &BTreeSet<InstanceId>, queues: &BTreeMap<Role, u64>) -> Row {
    let state = match &it {
        it if !awake.contains(&it.instance) => "stale",
        it if it.leaving => "leaving",
        it if it.draining => "draining",
        it if it.paused => "paused",
        it if it.holds.is_empty() => "idle",
        _ => "busy",
    };
    Row {
        queued: queues.get(&it.role).copied().unwrap_or_default(),
        role: it.role,
        instance: Some(it.instance),
        state,
        holds: it.holds.into_iter().map(|held| held.task_id).collect(),
        concurrency: Some(it.concurrency),
        heard_at: Some(it.at),
    }
}

fn cells(row: &Row) -> Vec<String> {
    let holds: Vec<&str> = row.holds.iter().map(TaskId::as_str).collect();
    vec![
        row.role.to_string(),
        row.instance.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        row.state.to_owned(),
        row.queued.to_string(),
        if holds.is_empty() { "-".to_owned() } else { holds.join(" ") },
        row.heard_at.map_or_else(|| "-".to_owned(), text::ago),
    ]
}

/// A heartbeat of somebody who takes tasks.
fn of_agent(payload: &[u8]) -> Option<Heartbeat> {
    serde_json::from_slice(payload).ok().filter(Heartbeat::is_of_agent)
}

/// The newest heartbeat of everybody who is heard within a moment.
pub(super) async fn listen(bus: &Bus) -> anyhow::Result<BTreeMap<InstanceId, Heartbeat>> {
    let filter = bus.subjects().heartbeats();
    let mut hints = bus.watch_subject(filter.as_str()).await.map_err(anyhow::Error::msg)?;
    let end = clock::instant() + LISTEN;
    let mut heard = BTreeMap::new();
    while let Ok(Some(hint)) = tokio::time::timeout_at(end, hints.next()).await {
        if let Some(heartbeat) = of_agent(hint.payload()) {
            heard.insert(heartbeat.instance.clone(), heartbeat);
        }
    }
    Ok(heard)
}

/// The newest heartbeats that are kept, which is for some minutes.
pub(super) async fn stored(bus: &Bus) -> anyhow::Result<BTreeMap<InstanceId, Heartbeat>> {
    let mut known = BTreeMap::new();
    let filter = bus.subjects().heartbeats();
    let mut scan = match bus.scan(AGENT_PRESENCE, filter.as_str(), 1).await {
        Err(error) if error.source.refusal() == Some(NO_STREAM) => return Ok(known),
        scan => scan?,
    };
    while scan.pending() > 0 {
        let message = scan.next().await?;
        if let Some(heartbeat) = of_agent(&message.payload) {
            known.insert(heartbeat.instance.clone(), heartbeat);
        }
    }
    Ok(known)
}

/// How many tasks each role has on its queue.
pub(super) async fn queues(bus: &Bus) -> anyhow::Result<BTreeMap<Role, u64>> {
    let mut queues = BTreeMap::new();
    for pattern in ["agents.*.tasks", "agents.*.tasks.*"] {
        let counts = match bus.depth(AGENT_TASKS, &bus.subjects().pattern(pattern)).await {
            Err(DepthError::Request { source, .. }) if source.refusal() == Some(NO_STREAM) => {
                continue;
            }
            counts => counts?,
        };
        for (subject, count) in counts {
            if let Some(Address::Tasks(role, _)) = bus.subjects().parse(&subject) {
                *queues.entry(role).or_default() += count;
            }
        }
    }
    Ok(queues)
}
