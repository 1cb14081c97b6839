//! Where a task stands, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::entry::{
    Actor, DeadCause, EnqueueReason, Question, ReleaseReason, Start, Transition, Verified,
};
use crate::{
    id::{Role, TaskId},
    time::Time,
};

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// The question's text.
    pub question: String,
    /// The answer.
    pub answer: Value,
    /// Who gave it.
    pub by: Actor,
}

/// A result that was not accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedResult {
    /// The attempt whose result it was.
    pub attempt: u32,
    /// Why.
    pub reason: String,
    /// Who refused it.
    pub by: Actor,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// On its queue, or on the schedule that puts it there.
    Queued {
        /// Its sequence in the queue, once that is known.
        queue_seq: Option<u64>,
        /// When its schedule fires.
        not_before: Option<Time>,
    },
    /// An attempt works on it.
    Running {
        /// The attempt.
        start: Start,
        /// When it began.
        since: Time,
    },
    /// Between two attempts, its message still on the queue.
    Released {
        /// The message's sequence in the queue.
        queue_seq: u64,
        /// Why the last attempt gave it back.
        reason: ReleaseReason,
        /// When the next attempt may begin.
        retry_at: Option<Time>,
    },
    /// Its question is open. It has no message and holds no slot.
    Blocked {
        /// The attempt that asked.
        attempt: u32,
        /// The question.
        question: Box<Question>,
        /// The other role that was asked since.
        escalated_to: Option<Role>,
    },
    /// Other tasks must end first. It has no message and holds no slot.
    Waiting {
        /// Those tasks.
        on: Vec<TaskId>,
    },
    /// Its result waits for a verdict. It has no message and holds no slot.
    Submitted {
        /// The attempt whose result it is.
        attempt: u32,
        /// The result.
        result: Value,
        /// The person's role that decides, where the verifier did not.
        escalated_to: Option<Role>,
    },
    /// Nothing is in the way: it is to be put on its queue as the next epoch.
    Ready {
        /// Why.
        reason: EnqueueReason,
    },
    /// Over.
    Ended {
        /// How.
        end: End,
        /// The queue sequence of the message under which it ended, if one was in hand.
        queue_seq: Option<u64>,
    },
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum End {
    /// Done.
    Completed {
        /// What came out; null where [`State::result_ref`](super::State::result_ref) says where it
        /// lies.
        result: Value,
        /// Who accepted it, where the task asked for that.
        verified: Option<Verified>,
    },
    /// It can't be done.
    Failed {
        /// Why.
        cause: String,
    },
    /// Called off.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// Given up.
    Dead {
        /// The kind of cause.
        cause: DeadCause,
        /// In words.
        detail: String,
    },
}

impl End {
    /// Done, with this result, which nobody had to accept.
    #[must_use]
    pub const fn completed(result: Value) -> Self {
        Self::Completed { result, verified: None }
    }

    /// The transition that ended the task.
    #[must_use]
    pub const fn transition(&self) -> Transition {
        match self {
            Self::Completed { .. } => Transition::Completed,
            Self::Failed { .. } => Transition::Failed,
            Self::Cancelled { .. } => Transition::Cancelled,
            Self::Dead { .. } => Transition::Dead,
        }
    }
}
