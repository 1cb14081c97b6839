//! What a model is told when a call came to nothing: what went wrong, and what to do next. These
//! are results of the tool and not errors of the protocol, because hosts keep the latter from the
//! model.

mod team;

use std::{error::Error, fmt};

use rmcp::model::{CallToolResult, ContentBlock};
use sinew_agent::{AdvanceError, BodyError, DelegateError, EmitError, FollowError, TakeError};
use sinew_bus::{ExecuteError, HistoryError};
use sinew_model::{TaskId, task::Refusal};

pub(crate) use crate::told::chain;

/// An error for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    what: String,
    next: String,
}

const AGAIN: &str = "Nothing was changed. Call the tool again in a moment; if it goes on, tell a \
                     person to run `sinew doctor`.";
const SAME_AGAIN: &str = "It is not known whether it was done. The same call again is safe: it \
                          happens once.";

impl Told {
    pub(crate) fn new(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { what: what.into(), next: next.into() }
    }

    /// Something that passes stood in the way.
    pub(crate) fn passing(error: &dyn Error, what: &str) -> Self {
        Self::new(format!("{what}: {}", chain(error)), AGAIN)
    }

    /// The session has no attempt of the task.
    pub(crate) fn not_held(id: &TaskId) -> Self {
        Self::new(
            format!("this session does not hold the task {id}"),
            "Only a task that get_my_next_task gave to this session can be worked on. \
             list_my_tasks shows what it holds; get_task_status shows who works on another.",
        )
    }

    /// The attempt has lost its task.
    pub(crate) fn lost(id: &TaskId) -> Self {
        Self::new(
            format!("this session does not hold the task {id} any more"),
            "It was called off, has ended, or was given to another worker. Stop working on it; \
             get_task_status says what became of it, get_my_next_task gives another task.",
        )
    }

    fn no_task(text: impl Into<String>) -> Self {
        Self::new(text, "list_assigned_tasks shows the tasks that there are, with their ids.")
    }

    pub(crate) fn into_result(self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text(self.to_string())])
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nnext: {}", self.what, self.next)
    }
}

impl From<DelegateError> for Told {
    fn from(error: DelegateError) -> Self {
        let next = match &error {
            DelegateError::Invalid(_) | DelegateError::Key => {
                "Nothing was delegated. Mend the arguments and call again."
            }
            DelegateError::IdReused { .. } => {
                "An id belongs to one piece of work for ever. Leave `id` out, or take another."
            }
            DelegateError::QueueFull { .. }
            | DelegateError::SchedulesFull { .. }
            | DelegateError::BodiesFull(_) => {
                "Nothing was delegated: there is no room. Wait until agents have caught up \
                 (check_team_capacity), then call again."
            }
            DelegateError::Unknown { .. } | DelegateError::Log(ExecuteError::Unknown(_)) => {
                SAME_AGAIN
            }
            DelegateError::Parent(_) => {
                "The task on whose behalf this was delegated is not yours any more: stop working \
                 on it."
            }
            DelegateError::NoTask { .. } => {
                "Name tasks that exist in `blocked_by`; list_assigned_tasks shows them."
            }
            DelegateError::TooDeep { .. } => {
                "Nothing was delegated. Do the work yourself, or report a blocker: agents seem to \
                 delegate to each other."
            }
            DelegateError::Body(_)
            | DelegateError::Failed(_)
            | DelegateError::Log(_)
            | DelegateError::Unreadable(_)
            | _ => AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

impl From<HistoryError> for Told {
    fn from(error: HistoryError) -> Self {
        Self::new(chain(&error), AGAIN)
    }
}

impl From<BodyError> for Told {
    fn from(error: BodyError) -> Self {
        Self::new(chain(&error), AGAIN)
    }
}

impl From<FollowError> for Told {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::NoTask { .. } => Self::no_task(error.to_string()),
            FollowError::Read(_) | FollowError::Result(_) | _ => Self::new(chain(&error), AGAIN),
        }
    }
}

impl From<AdvanceError> for Told {
    fn from(error: AdvanceError) -> Self {
        let Some(refusal) = error.refusal() else {
            return Self::new(chain(&error), "It may have been done; get_task_status says so.");
        };
        if matches!(refusal, Refusal::NoTask) {
            return Self::no_task(chain(&error));
        }
        Self::new(
            chain(&error),
            "Nothing was changed. get_task_status says where the task stands; get_blocked_tasks \
             shows the questions and verdicts that are open.",
        )
    }
}

impl From<EmitError> for Told {
    fn from(error: EmitError) -> Self {
        let next = match &error {
            EmitError::Words | EmitError::TooLarge { .. } => "Mend the arguments and call again.",
            EmitError::Publish(_) | _ => SAME_AGAIN,
        };
        Self::new(chain(&error), next)
    }
}

impl From<TakeError> for Told {
    fn from(error: TakeError) -> Self {
        let next = match error {
            TakeError::Full(_) => {
                "Complete, fail or release one of them first; list_my_tasks shows them."
            }
            TakeError::Crowded => "Wait for the calls in flight.",
            TakeError::Closed | _ => {
                "Take no more tasks here: end those that you hold, and tell a person. A new \
                 session takes tasks again."
            }
        };
        Self::new(error.to_string(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do_next() {
        let id: TaskId = "t1".parse().unwrap();
        let text = Told::not_held(&id).to_string();
        assert!(text.contains("does not hold the task t1"), "{text}");
        assert!(text.contains("\nnext: ") && text.contains("get_my_next_task"), "{text}");
    }
}
