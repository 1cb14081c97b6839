//! Delegating tasks, answering their questions, judging their results, calling them off.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sinew_agent::{Cancelled, Delegation};
use sinew_model::{Band, Role, TaskId, Time};

use super::{
    Call, Entry, Kind,
    look::{Status, Which, current, no_task},
    tool,
};
use crate::mcp::{hub::Hub, reply::Told};

pub(super) fn tools() -> Vec<Entry> {
    vec![
        tool(
            (
                "assign_task",
                "Assign a task",
                "Gives a task to a role. It is stored before this returns, and will end visibly: \
                 its reports come to your inbox. Not for work that is part of a task that you \
                 hold: use delegate_task for that.",
            ),
            Kind::Adds,
            assign,
        ),
        tool(
            (
                "delegate_task",
                "Delegate part of a held task",
                "Gives part of a held task to a role, as a child of it. The same work is delegated \
                 once, however often the task is tried. wait_for_tasks waits for the children.",
            ),
            Kind::Sets,
            delegate,
        ),
        tool(
            (
                "answer_question",
                "Answer a question",
                "Answers the open question of a blocked task, which then goes on. \
                 get_blocked_tasks shows the questions that you are asked.",
            ),
            Kind::Sets,
            answer,
        ),
        tool(
            (
                "verify_task",
                "Accept or refuse a result",
                "Gives the verdict on a result that waits for one: accepted, the task is complete; \
                 refused, it goes back to a worker with your feedback. Never of your own work.",
            ),
            Kind::Ends,
            verify,
        ),
        tool(
            (
                "cancel_task",
                "Cancel a task",
                "Calls a task off, with all that it delegated. Says for each task of the tree \
                 whether it was stopped or had ended before.",
            ),
            Kind::Ends,
            cancel,
        ),
        tool(
            (
                "retry_task",
                "Revive a dead task",
                "Revives a task that was given up: it goes back onto its queue with its attempts \
                 counted anew.",
            ),
            Kind::Sets,
            retry,
        ),
    ]
}

/// How urgent a task is.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Priority {
    /// Before all others.
    #[serde(alias = "high")]
    Urgent,
    /// As most are.
    #[default]
    Normal,
    /// When there is nothing else to do.
    Low,
}

impl Priority {
    pub(super) const fn band(self) -> Band {
        match self {
            Self::Urgent => Band::Urgent,
            Self::Normal => Band::Normal,
            Self::Low => Band::Low,
        }
    }
}

/// A task to give to a role.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assign {
    /// What is to be done, in one line.
    title: String,
    /// The role that is to do it.
    #[serde(alias = "role")]
    assignee: Role,
    /// What the worker needs to know, in words.
    #[serde(default)]
    description: Option<String>,
    /// What the worker needs besides: any JSON.
    #[serde(default)]
    input: Value,
    /// How the worker and its verifier can tell that it is done.
    #[serde(default)]
    verification_steps: Vec<String>,
    /// How urgent it is.
    #[serde(default)]
    priority: Priority,
    /// When it ends as dead if it has not ended before, as 2026-05-10T14:23:01Z; 7 days from now
    /// if not given.
    #[serde(default)]
    deadline: Option<Time>,
    /// Tasks that must have completed before it begins.
    #[serde(default)]
    blocked_by: Vec<TaskId>,
    /// The role that must accept the result; never the assignee.
    #[serde(default)]
    verifier: Option<Role>,
    /// An id of your own, under which the same call happens once.
    #[serde(default)]
    id: Option<TaskId>,
}

impl Assign {
    fn delegation(self) -> Delegation {
        let mut fields = serde_json::Map::new();
        if let Some(description) = self.description {
            fields.insert("description".to_owned(), description.into());
        }
        if !self.verification_steps.is_empty() {
            fields.insert("verificationSteps".to_owned(), self.verification_steps.into());
        }
        // What is in words stands beside the data; data alone stays as it is.
        let input = match (fields.is_empty(), self.input) {
            (true, input) => input,
            (false, Value::Null) => Value::Object(fields),
            (false, input) => {
                fields.insert("input".to_owned(), input);
                Value::Object(fields)
            }
        };
        let mut what = Delegation::new(self.assignee, self.title)
            .input(input)
            .priority(self.priority.band())
            .after(self.blocked_by);
        if let Some(deadline) = self.deadline {
            what = what.deadline(deadline);
        }
        if let Some(verifier) = self.verifier {
            what = what.verifier(verifier);
        }
        if let Some(id) = self.id {
            what = what.id(id);
        }
        what
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Assigned {
    task_id: TaskId,
    /// It had been delegated before; this call changed nothing.
    existed: bool,
    next: String,
}

async fn assign(call: Call, given: Assign) -> Result<Assigned, Told> {
    let done = call.hub.client().delegate(given.delegation()).await?;
    let next = "Go on with other work. Its reports come to your inbox; wait_for_task waits for \
                its end.";
    Ok(Assigned { task_id: done.id, existed: done.existed, next: next.to_owned() })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Delegate {
    /// The held task on whose behalf it is delegated; may be left out where one task is held.
    #[serde(default)]
    on_behalf_of: Option<TaskId>,
    /// A name of this piece of work among those of the held task: under it, another attempt finds
    /// the child that an earlier one delegated, also where it words the task differently.
    #[serde(default)]
    key: Option<String>,
    #[serde(flatten)]
    what: Assign,
}

async fn delegate(call: Call, given: Delegate) -> Result<Assigned, Told> {
    let context = match given.on_behalf_of {
        Some(id) => call.hub.attempt(&id)?,
        None => only(&call.hub)?,
    };
    let mut what = given.what.delegation();
    if let Some(key) = given.key {
        what = what.key(key);
    }
    let done = context.delegate(what).await?;
    let next = "Go on with your own part, or wait for it with wait_for_tasks.";
    Ok(Assigned { task_id: done.id, existed: done.existed, next: next.to_owned() })
}

/// The one task that is held.
fn only(hub: &Hub) -> Result<sinew_agent::Context, Told> {
    let mut held = hub.held();
    match (held.pop(), held.is_empty()) {
        (Some(context), true) => Ok(context),
        (Some(_), false) => Err(Told::new(
            "this session holds several tasks",
            "Say with on_behalf_of for which of them; list_my_tasks shows them.",
        )),
        (None, _) => Err(Told::new(
            "this session holds no task",
            "Use assign_task for work that is no part of a task, or take one with \
             get_my_next_task.",
        )),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Answer {
    /// The blocked task.
    task_id: TaskId,
    /// The answer: text, or any JSON; one of the choices where the question offers some.
    answer: Value,
    /// The question's key, where you want to be sure which is answered.
    #[serde(default)]
    key: Option<String>,
}

async fn answer(call: Call, given: Answer) -> Result<Status, Told> {
    let Answer { task_id, answer, key } = given;
    call.hub.client().answer(&task_id, key.as_deref(), answer).await?;
    current(&call.hub, &task_id).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Verify {
    /// The task whose result is judged.
    task_id: TaskId,
    /// Whether the result is accepted.
    verified: bool,
    /// On what evidence it is accepted, or why it is refused.
    #[serde(default)]
    feedback: String,
}

async fn verify(call: Call, given: Verify) -> Result<Status, Told> {
    let Verify { task_id, verified, feedback } = given;
    if verified {
        call.hub.client().accept(&task_id, feedback.into()).await?;
    } else if feedback.trim().is_empty() {
        return Err(Told::new(
            "a refusal needs a reason",
            "Nothing was changed. Say in `feedback` what is missing: the worker reads it.",
        ));
    } else {
        call.hub.client().refuse(&task_id, &feedback).await?;
    }
    current(&call.hub, &task_id).await
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cancel {
    /// The task to call off.
    task_id: TaskId,
    /// Why.
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CancelledRow {
    task_id: TaskId,
    /// stopped, too late, unknown.
    outcome: &'static str,
    /// How it had ended, or what is not known.
    detail: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CancelledTree {
    tasks: Vec<CancelledRow>,
}

async fn cancel(call: Call, given: Cancel) -> Result<CancelledTree, Told> {
    let told = call.hub.client().cancel(&given.task_id, &given.reason).await;
    if told.first().is_some_and(|first| first.outcome == Cancelled::NoTask) {
        return Err(no_task(&given.task_id));
    }
    let row = |it: sinew_agent::CancelledTask| {
        let (outcome, detail) = match it.outcome {
            Cancelled::Stopped => ("stopped", None),
            Cancelled::TooLate(how) => ("too late", Some(how.word().to_owned())),
            Cancelled::NoTask => ("unknown", Some("there is no such task".to_owned())),
            Cancelled::Unknown(why) => ("unknown", Some(why)),
        };
        CancelledRow { task_id: it.id, outcome, detail }
    };
    Ok(CancelledTree { tasks: told.into_iter().map(row).collect() })
}

async fn retry(call: Call, given: Which) -> Result<Status, Told> {
    call.hub.client().retry(&given.task_id).await?;
    current(&call.hub, &given.task_id).await
}
