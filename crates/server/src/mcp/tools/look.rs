//! Seeing where tasks stand, and what they wait for.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sinew_agent::body;
use sinew_bus::clock;
use sinew_model::{
    Role, TaskId, Time,
    limits::{MCP_RESULT_BYTES, MCP_ROWS, MCP_ROWS_MOST, MCP_WAIT, TASKS_READ_AT_ONCE},
    task::{Change, End, Phase, State},
};
use sinew_views::task::{Filter, TaskRow};

use super::{Call, Entry, Kind, tool};
use crate::mcp::{
    hub::Hub,
    reply::{Told, chain},
};

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "get_task_status",
                "Look at a task",
                "Says where a task stands, what its worker last reported, its result or the cause \
                 of its end, and what to do next.",
            ),
            Kind::Reads,
            look,
        ),
        tool(
            (
                "wait_for_task",
                "Wait for a task",
                "Waits until a task has ended or asks something, at most 50 seconds, and says \
                 where it stands. Progress is told meanwhile to hosts that want it.",
            ),
            Kind::Reads,
            wait,
        ),
        tool(
            (
                "get_task_tree",
                "Show a task tree",
                "Shows a task and all that was delegated on its behalf, parents first.",
            ),
            Kind::Reads,
            tree,
        ),
        tool(
            (
                "list_assigned_tasks",
                "List tasks",
                "Lists tasks, the newest first, by role, delegator, status or words in the title.",
            ),
            Kind::Reads,
            list,
        ),
        tool(
            (
                "get_blocked_tasks",
                "List open questions",
                "Lists the questions and verdicts for which tasks wait, of your role if not told \
                 otherwise. Answer them with answer_question and verify_task.",
            ),
            Kind::Reads,
            blocked,
        ),
    ]
}

/// Where a task stands.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct Status {
    task_id: Option<TaskId>,
    title: Option<String>,
    /// The role that works on it.
    role: Option<Role>,
    delegator: Option<Role>,
    /// queued, running, released, blocked, waiting, submitted, ready, completed, failed,
    /// cancelled or dead.
    status: String,
    /// Attempts that were begun.
    attempts: u32,
    /// Attempts that failed.
    failures: u32,
    /// What the worker last reported.
    progress: Option<String>,
    /// The open question.
    question: Option<Value>,
    /// What came out.
    result: Option<Value>,
    /// Why it failed, was called off or given up.
    cause: Option<String>,
    /// What to do next.
    next: String,
}

/// A task's state, for a model.
pub(super) fn status(state: &State, progress: Option<String>) -> Status {
    let assignment = state.assignment.as_deref();
    let (mut question, mut result, mut cause) = (None, None, None);
    match &state.phase {
        Phase::Blocked { question: open, .. } => question = serde_json::to_value(open).ok(),
        Phase::Submitted { result: it, .. } => result = Some(bounded(it)),
        Phase::Ended { end, .. } => match end {
            End::Completed { result: it, .. } => result = Some(bounded(it)),
            End::Failed { cause: why } => cause = Some(why.clone()),
            End::Cancelled { reason } => cause = Some(reason.clone()),
            End::Dead { detail, .. } => cause = Some(detail.clone()),
        },
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Waiting { .. }
        | Phase::Ready { .. } => {}
    }
    Status {
        task_id: assignment.map(|it| it.task_id.clone()),
        title: assignment.map(|it| it.title.clone()),
        role: assignment.map(|it| it.role.clone()),
        delegator: assignment.map(|it| it.delegator.clone()),
        status: state.word().to_owned(),
        attempts: state.attempts,
        failures: state.failures,
        progress,
        question,
        result,
        cause,
        next: advice(state).to_owned(),
    }
}

/// A result, where it is not too large for a model to read.
fn bounded(result: &Value) -> Value {
    let bytes = result.to_string().len();
    if bytes <= MCP_RESULT_BYTES {
        return result.clone();
    }
    json!({ "tooLarge": true, "bytes": bytes, "how": "sinew task show ID --json prints it" })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The task's id.
    pub(super) task_id: TaskId,
}

/// How a task stands now, as its log tells it.
pub(in crate::mcp) async fn current(hub: &Hub, id: &TaskId) -> Result<Status, Told> {
    let history = hub.bus().history(id).await?;
    let Some(mut state) = history.task.state else { return Err(no_task(id)) };
    let progress = history.entries.iter().rev().find_map(|logged| {
        match (&logged.stored.entry.change, &logged.void) {
            (Change::Progress { message, percent, .. }, None) => Some(match percent {
                Some(percent) => format!("{message} ({percent} %)"),
                None => message.clone(),
            }),
            _ => None,
        }
    });
    let large = state.result_ref.as_ref().map(|claim| claim.bytes);
    let fits = large.is_some_and(|bytes| bytes <= MCP_RESULT_BYTES as u64);
    if fits
        && let Some(whole) = body::result(hub.bus(), &state).await?
        && let Phase::Ended { end: End::Completed { result, .. }, .. } = &mut state.phase
    {
        *result = whole;
    }
    let mut status = status(&state, progress);
    if let Some(bytes) = large.filter(|_| !fits) {
        status.result = Some(json!({ "tooLarge": true, "bytes": bytes }));
    }
    Ok(status)
}

pub(super) fn no_task(id: &TaskId) -> Told {
    Told::new(
        format!("there is no task {id}"),
        "list_assigned_tasks shows the tasks that there are, with their ids.",
    )
}

async fn look(call: Call, given: Which) -> Result<Status, Told> {
    current(&call.hub, &given.task_id).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    /// The task's id.
    task_id: TaskId,
    /// How long to wait, at most 50 seconds.
    #[serde(default = "half_a_minute")]
    wait_seconds: u64,
}

const fn half_a_minute() -> u64 {
    30
}

async fn wait(call: Call, given: Wait) -> Result<Status, Told> {
    let patience = Duration::from_secs(given.wait_seconds).min(MCP_WAIT);
    let end = clock::instant() + patience;
    let mut follow = call.hub.client().follow(&given.task_id).await?;
    while let Ok(entry) = tokio::time::timeout_at(end, follow.next()).await {
        let Some(entry) = entry? else { break };
        if let Change::Progress { message, percent, .. } = &entry.change {
            call.tell(percent.unwrap_or_default(), message).await;
        }
        let now = current(&call.hub, &given.task_id).await?;
        if now.question.is_some() || now.status == "submitted" {
            return Ok(now);
        }
    }
    current(&call.hub, &given.task_id).await
}

/// A task in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Row {
    task_id: TaskId,
    title: String,
    role: Option<Role>,
    delegator: Option<Role>,
    parent: Option<TaskId>,
    status: String,
    attempts: u32,
    /// What the worker last reported.
    message: Option<String>,
    percent: Option<u8>,
    created_at: Time,
    ended_at: Option<Time>,
    cause: Option<String>,
}

impl From<TaskRow> for Row {
    fn from(row: TaskRow) -> Self {
        Self {
            task_id: row.task_id,
            title: row.title,
            role: row.role,
            delegator: row.delegator,
            parent: row.parent,
            status: row.phase,
            attempts: row.attempts,
            message: row.message,
            percent: row.percent,
            created_at: row.created_at,
            ended_at: row.ended_at,
            cause: row.cause,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Rows {
    tasks: Vec<Row>,
    /// Give this as `after` for the next page; null where there is none.
    next: Option<u64>,
}

async fn tree(call: Call, given: Which) -> Result<Rows, Told> {
    let tree = call.hub.views().await?.tree(given.task_id.clone()).await;
    let tree = tree.map_err(|error| unreadable(&error))?;
    if tree.tasks.is_empty() {
        return Err(no_task(&given.task_id));
    }
    let tasks = tree.tasks.into_iter().map(Row::from).take(MCP_ROWS_MOST).collect();
    Ok(Rows { tasks, next: None })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct List {
    /// Only tasks of this role.
    #[serde(alias = "assignee")]
    role: Option<Role>,
    /// Only tasks that this role delegated.
    delegator: Option<Role>,
    /// Only tasks that stand so: queued, running, released, blocked, waiting, submitted, ready,
    /// completed, failed, cancelled, dead.
    status: Vec<String>,
    /// Only tasks with these words in the title.
    search: Option<String>,
    /// At most so many; 20 if not given, at most 200.
    limit: Option<usize>,
    /// The page after this one: the `next` of the last answer.
    after: Option<u64>,
}

async fn list(call: Call, given: List) -> Result<Rows, Told> {
    let List { role, delegator, status, search, limit, after } = given;
    let limit = Some(limit.unwrap_or(MCP_ROWS).clamp(1, MCP_ROWS_MOST));
    let filter =
        Filter { role, delegator, phases: status, search, limit, after, ..Filter::default() };
    let page = call.hub.views().await?.list(filter).await;
    let page = page.map_err(|error| {
        Told::new(error.to_string(), "Mend the arguments, or call again in a moment.")
    })?;
    Ok(Rows { tasks: page.tasks.into_iter().map(Row::from).collect(), next: page.next })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Blocked {
    /// Whom they ask; your own role if not given.
    role: Option<Role>,
}

/// Something that a task waits to be told.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Open {
    task_id: TaskId,
    title: String,
    /// The role that works on it.
    role: Role,
    /// The question; null where a verdict is missing.
    question: Option<Value>,
    /// The result to judge; null where it is a question.
    result: Option<Value>,
    /// The tool that goes on.
    tool: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Opens {
    open: Vec<Open>,
}

async fn blocked(call: Call, given: Blocked) -> Result<Opens, Told> {
    let role = given.role.unwrap_or_else(|| call.hub.role().clone());
    let phases = vec!["blocked".to_owned(), "submitted".to_owned()];
    let filter = Filter { phases, limit: Some(MCP_ROWS_MOST), ..Filter::default() };
    let page = call.hub.views().await?.list(filter).await.map_err(|error| unreadable(&error))?;
    let asked = page.tasks.into_iter().filter(|row| row.asked.as_ref() == Some(&role));
    let client = call.hub.client().clone();
    let reading = futures::stream::iter(asked.map(move |row| {
        let client = client.clone();
        async move { client.state(&row.task_id).await }
    }));
    let states: Vec<Option<State>> =
        reading.boxed().buffered(TASKS_READ_AT_ONCE).try_collect().await?;
    Ok(Opens { open: states.iter().flatten().filter_map(open).collect() })
}

fn open(state: &State) -> Option<Open> {
    let assignment = state.assignment.as_deref()?;
    let (question, result, tool) = match &state.phase {
        Phase::Blocked { question, .. } => {
            (serde_json::to_value(question).ok(), None, "answer_question")
        }
        Phase::Submitted { result, .. } => (None, Some(bounded(result)), "verify_task"),
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Waiting { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => return None,
    };
    Some(Open {
        task_id: assignment.task_id.clone(),
        title: assignment.title.clone(),
        role: assignment.role.clone(),
        question,
        result,
        tool,
    })
}

/// What the worker of a task that stands so may do about it.
fn advice(state: &State) -> &'static str {
    match &state.phase {
        Phase::Queued { .. } | Phase::Ready { .. } | Phase::Released { .. } => {
            "It waits for a worker of its role."
        }
        Phase::Running { .. } => "A worker is on it. wait_for_task waits for news.",
        Phase::Blocked { .. } => {
            "Its question is open: whoever knows answers it with answer_question."
        }
        Phase::Waiting { .. } => {
            "It goes on by itself once the tasks that it waits for have ended."
        }
        Phase::Submitted { .. } => {
            "Its result waits for a verdict: the verifier gives it, or verify_task."
        }
        Phase::Ended { end: End::Dead { .. }, .. } => {
            "It was given up. retry_task revives it, after its cause was mended."
        }
        Phase::Ended { .. } => "It has ended. Nothing is left to do.",
    }
}

/// An error of reading the log, for a model.
fn unreadable(error: &dyn std::error::Error) -> Told {
    Told::new(chain(error), "Call again in a moment.")
}
