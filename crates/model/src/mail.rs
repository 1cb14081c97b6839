//! What lies in an inbox: direct messages and reports about tasks.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::{Role, TaskId},
    task::Transition,
    time::Time,
};

/// One message in a role's inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mail {
    /// The message's id. A receiver drops an id that it has already handled: a report may be sent
    /// again after a crash, always under the same id.
    pub id: String,
    /// What it is: `task.completed`, `task.progress`, `message`. Unknown kinds are kept.
    #[serde(rename = "type")]
    pub kind: String,
    /// The role that sent it.
    pub from: Role,
    /// The role whose inbox it is.
    pub to: Role,
    /// When it was sent.
    pub at: Time,
    /// The task that it reports about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The thread that it belongs to: the id of the thread's first message, or a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// What it says. For a report: the fields of the log entry that it reports.
    #[serde(default)]
    pub body: Value,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Mail {
    /// The kind of a report about `transition`: `task.completed`.
    #[must_use]
    pub fn report_kind(transition: Transition) -> String {
        fmt::format(format_args!("task.{}", transition.word()))
    }

    /// The id of a report about the log entry that `label` names within the task.
    #[must_use]
    pub fn report_id(task: &TaskId, label: &str) -> String {
        format!("{task}:report:{label}")
    }
}
