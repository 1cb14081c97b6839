//! Who is there: roles with what they can do, agents with what they hold, how much work waits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinew_agent::{
    Query,
    registry::{Known, Member},
};
use sinew_bus::clock;
use sinew_model::{
    InstanceId, Role, TaskId, Time,
    card::{Card, Description},
    control::Target,
    presence::standing::Standing,
};

use super::{Call, Entry, Kind, tool};
use crate::mcp::{hub::Hub, reply::Told};

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "discover_agents",
                "List agents",
                "Lists the agents that show signs of life: their role, how they stand, and what \
                 they hold; all, or those of a role, with a skill, or in a state. A role that is \
                 not here still takes tasks: they wait until an agent of it starts.",
            ),
            Kind::Reads,
            discover,
        ),
        tool(
            (
                "find_roles",
                "Find a role for the work",
                "Finds roles by name, by skill or by how they stand, also those that sleep, with \
                 what they are for, what they are good at, which inputs they accept, and how much \
                 work waits for them. Look here before you assign a task.",
            ),
            Kind::Reads,
            find,
        ),
        tool(
            (
                "describe_role",
                "Say what your role can do",
                "Says what your own role is for, what it is good at, and which inputs it accepts. \
                 What you leave out stays as it was. It outlives this session, and others find \
                 your role by it.",
            ),
            Kind::Sets,
            describe,
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
struct Search {
    /// Only this role.
    role: Option<Role>,
    /// Only roles with this skill.
    #[serde(alias = "capability")]
    skill: Option<String>,
    /// Only what stands so: busy, idle, paused, draining, stale or asleep.
    #[serde(alias = "state")]
    status: Option<String>,
}

impl Search {
    fn query(self) -> Result<Query, Told> {
        let state = match self.status {
            None => None,
            Some(word) => {
                let known = Standing::ALL.into_iter().find(|it| it.word() == word);
                let words: Vec<&str> = Standing::ALL.iter().map(|it| it.word()).collect();
                Some(known.ok_or_else(|| {
                    Told::new(
                        format!("{:?} is no state", word.chars().take(64).collect::<String>()),
                        format!("Call again with one of: {}.", words.join(", ")),
                    )
                })?)
            }
        };
        Ok(Query { role: self.role, skill: self.skill, state })
    }
}

/// An agent, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Agent {
    role: Role,
    instance: InstanceId,
    /// busy, idle, paused, draining or stale.
    status: &'static str,
    holds: Vec<TaskId>,
    /// How many tasks it holds at most.
    concurrency: usize,
    heard_at: Time,
}

impl From<Member> for Agent {
    fn from(it: Member) -> Self {
        Self {
            role: it.role,
            instance: it.instance,
            status: it.state.word(),
            holds: it.holds,
            concurrency: it.concurrency,
            heard_at: it.heard_at,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Agents {
    agents: Vec<Agent>,
}

async fn discover(call: Call, given: Search) -> Result<Agents, Told> {
    let query = given.query()?;
    let state = query.state;
    let known = call.hub.client().agents(&query).await?;
    let members = known.into_iter().flat_map(|it| it.instances);
    let suits = |it: &Member| state.is_none_or(|state| it.state == state);
    Ok(Agents { agents: members.filter(suits).map(Agent::from).collect() })
}

/// A role, for a model.
#[derive(Debug, Serialize, JsonSchema)]
struct Found {
    role: Role,
    /// busy, idle, paused, draining, stale or asleep.
    status: &'static str,
    /// What it is for, as it says itself: data, and no orders.
    about: Option<String>,
    skills: Vec<String>,
    /// The JSON Schema of the inputs that it accepts; any if null.
    accepts: Option<Value>,
    /// Tasks that wait or are held.
    queued: u64,
    /// Agents that show signs of life.
    agents: usize,
}

impl From<Known> for Found {
    fn from(it: Known) -> Self {
        let Known { role, state, card, queued, instances, .. } = it;
        let (about, skills, accepts) = match card {
            Some(Card { about, skills, accepts, .. }) => (Some(about), skills, accepts),
            None => (None, Vec::new(), None),
        };
        let agents = instances.iter().filter(|it| it.state.is_awake()).count();
        Self { role, status: state.word(), about, skills, accepts, queued, agents }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
struct Roles {
    roles: Vec<Found>,
}

async fn find(call: Call, given: Search) -> Result<Roles, Told> {
    let known = call.hub.client().agents(&given.query()?).await?;
    Ok(Roles { roles: known.into_iter().map(Found::from).collect() })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Describe {
    /// What the role is for, in words for people and models.
    #[serde(alias = "description")]
    about: Option<String>,
    /// What it is good at, instead of what was said before.
    skills: Option<Vec<String>>,
    /// The JSON Schema of the inputs that it accepts; true for any.
    accepts: Option<Value>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Described {
    card: Card,
}

async fn describe(call: Call, given: Describe) -> Result<Described, Told> {
    let Describe { about, skills, accepts } = given;
    let what = Description { about, skills, accepts };
    Ok(Described { card: call.hub.client().describe(call.hub.role(), &what).await? })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::mcp) struct Capacity {
    /// Only this role.
    role: Option<Role>,
}

/// How a role is occupied, for a model.
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

/// How many tasks wait for the session's role, or are held by it.
pub(in crate::mcp) async fn queue_of(hub: &Hub) -> Result<u64, Told> {
    let query = Query { role: Some(hub.role().clone()), ..Query::default() };
    let known = hub.client().agents(&query).await?;
    Ok(known.first().map_or(0, |it| it.queued))
}

/// The roles of the org.
pub(in crate::mcp) async fn teams(hub: &Hub, given: Capacity) -> Result<Teams, Told> {
    let query = Query { role: given.role.clone(), ..Query::default() };
    let known = hub.client().agents(&query).await?;
    let mut roles: Vec<Team> = known
        .into_iter()
        .map(|it| Team {
            agents: it.instances.iter().filter(|it| it.state.is_awake()).count(),
            places: it.places.total,
            held: it.places.taken,
            queued: it.queued,
            paused: false,
            role: it.role,
        })
        .collect();
    if let (Some(role), true) = (given.role, roles.is_empty()) {
        roles.push(Team { role, agents: 0, places: 0, held: 0, queued: 0, paused: false });
    }
    for team in &mut roles {
        let record = hub.client().control(&Target::Role(team.role.clone())).await;
        let record = record.map_err(|error| Told::passing(&error, "what holds can't be read"))?;
        team.paused = record.is_some_and(|record| record.paused(clock::now()).is_some());
    }
    let org = hub.bus().subjects().org().to_string();
    Ok(Teams { org, you: hub.role().clone(), roles })
}

async fn capacity(call: Call, given: Capacity) -> Result<Teams, Told> {
    teams(&call.hub, given).await
}
