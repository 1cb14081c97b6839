//! Who is there: agents, what they hold, which roles are paused, how much work waits.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinew_bus::clock;
use sinew_bus::read::DepthError;
use sinew_model::{
    Address, InstanceId, Role, TaskId,
    control::Target,
    limits::HEARTBEAT_SILENCE,
    presence::Heartbeat,
    stream::{AGENT_PRESENCE, AGENT_TASKS},
};

use super::{
    Call, Entry, Kind,
    event::{NO_STREAM, newest},
    tool,
};
use crate::mcp::{hub::Hub, reply::Told};

/// Heartbeats that are looked at: those of a thousand instances within the last moments.
const HEARTBEATS: u64 = 5_000;

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "discover_agents",
                "List agents",
                "Lists the agents that show signs of life: their role, whether they are idle, \
                 busy, paused or draining, and what they hold. A role that is not here still takes \
                 tasks: they wait until an agent of it starts.",
            ),
            Kind::Reads,
            discover,
        ),
        tool(
            (
                "check_team_capacity",
                "Show roles and their queues",
                "Shows for each role how many agents are there, how many tasks wait or are worked \
                 on, and whether a person has paused it.",
            ),
            Kind::Reads,
            capacity,
        ),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Discover {
    /// Only agents of this role.
    role: Option<Role>,
    /// Only agents in this state: idle, busy, paused or draining.
    status: Option<String>,
}

/// An agent, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Agent {
    role: Role,
    instance: InstanceId,
    /// idle, busy, paused or draining.
    status: &'static str,
    holds: Vec<TaskId>,
    /// How many tasks it holds at most.
    concurrency: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Agents {
    agents: Vec<Agent>,
}

fn state(beat: &Heartbeat) -> &'static str {
    match (beat.draining, beat.paused, beat.holds.is_empty()) {
        (true, _, _) => "draining",
        (false, true, _) => "paused",
        (false, false, true) => "idle",
        (false, false, false) => "busy",
    }
}

/// The newest heartbeat of everybody who was heard a moment ago.
async fn living(hub: &Hub) -> Result<Vec<Heartbeat>, Told> {
    let filter = hub.bus().subjects().heartbeats();
    let now = clock::now();
    let mut heard: BTreeMap<InstanceId, Heartbeat> = BTreeMap::new();
    for message in newest(hub, AGENT_PRESENCE, filter.as_str(), HEARTBEATS).await? {
        let Ok(beat) = serde_json::from_slice::<Heartbeat>(&message.payload) else { continue };
        let is_fresh = now.since(message.time) < HEARTBEAT_SILENCE;
        if beat.leaving || !beat.is_of_agent() || !is_fresh {
            heard.remove(&beat.instance);
        } else {
            heard.insert(beat.instance.clone(), beat);
        }
    }
    Ok(heard.into_values().collect())
}

async fn discover(call: Call, given: Discover) -> Result<Agents, Told> {
    let agents = living(&call.hub).await?.into_iter().map(|beat| Agent {
        status: state(&beat),
        holds: beat.holds.iter().map(|held| held.task_id.clone()).collect(),
        concurrency: beat.concurrency,
        role: beat.role,
        instance: beat.instance,
    });
    let suits = |agent: &Agent| {
        given.role.as_ref().is_none_or(|role| *role == agent.role)
            && given.status.as_ref().is_none_or(|status| *status == agent.status)
    };
    Ok(Agents { agents: agents.filter(suits).collect() })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp) struct Capacity {
    /// Only this role.
    role: Option<Role>,
}

/// A role, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Team {
    role: Role,
    /// Agents that show signs of life.
    agents: usize,
    /// How many tasks they may hold together.
    places: usize,
    /// Tasks that they hold.
    held: usize,
    /// Tasks that wait or are held.
    queued: u64,
    /// Whether a person has stopped the flow of work to it.
    paused: bool,
}

/// The org, for a model.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::mcp) struct Teams {
    org: String,
    /// Your own role.
    you: Role,
    roles: Vec<Team>,
}

/// How many tasks each role has on its queue.
async fn queues(hub: &Hub) -> Result<BTreeMap<Role, u64>, Told> {
    let mut queues = BTreeMap::new();
    let subjects = hub.bus().subjects();
    for pattern in ["agents.*.tasks", "agents.*.tasks.*"] {
        let counts = match hub.bus().depth(AGENT_TASKS, &subjects.pattern(pattern)).await {
            Err(DepthError::Request { source, .. }) if source.refusal() == Some(NO_STREAM) => {
                continue;
            }
            counts => counts
                .map_err(|error| Told::passing(&error, "the queues can't be looked at now"))?,
        };
        for (subject, count) in counts {
            if let Some(Address::Tasks(role, _)) = subjects.parse(&subject) {
                let sum: &mut u64 = queues.entry(role).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }
    Ok(queues)
}

/// How many tasks wait for the session's role, or are held by it.
pub(in crate::mcp) async fn queue_of(hub: &Hub) -> Result<u64, Told> {
    Ok(queues(hub).await?.remove(hub.role()).unwrap_or_default())
}

/// The roles of the org.
pub(in crate::mcp) async fn teams(hub: &Hub, given: Capacity) -> Result<Teams, Told> {
    let queues = queues(hub).await?;
    let team = |role: &Role, queued: u64| Team {
        role: role.clone(),
        agents: 0,
        places: 0,
        held: 0,
        queued,
        paused: false,
    };
    let mut roles: BTreeMap<Role, Team> =
        queues.iter().map(|(role, queued)| (role.clone(), team(role, *queued))).collect();
    for beat in living(hub).await? {
        let own = roles.entry(beat.role.clone()).or_insert_with(|| team(&beat.role, 0));
        own.agents = own.agents.saturating_add(1);
        own.places = own.places.saturating_add(beat.concurrency);
        own.held = own.held.saturating_add(beat.holds.len());
    }
    roles.retain(|role, _| given.role.as_ref().is_none_or(|wanted| wanted == role));
    if let Some(role) = &given.role {
        roles.entry(role.clone()).or_insert_with(|| team(role, 0));
    }
    for (role, team) in &mut roles {
        let record = hub.client().control(&Target::Role(role.clone())).await;
        let record = record.map_err(|error| Told::passing(&error, "what holds can't be read"))?;
        team.paused = record.is_some_and(|record| record.paused(clock::now()).is_some());
    }
    let org = hub.bus().subjects().org().to_string();
    Ok(Teams { org, you: hub.role().clone(), roles: roles.into_values().collect() })
}

async fn capacity(call: Call, given: Capacity) -> Result<Teams, Told> {
    teams(&call.hub, given).await
}
