//! The entries of a task's log, as they are written on the wire.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::assignment::Assignment;
use crate::{
    claim::Claim,
    id::{InstanceId, OrgId, Role, TaskId},
    mail::Mail,
    subject::{Address, Subjects},
    time::Time,
};

/// What happened to a task: the last token of its entry's subject.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "each is described at the variant of Change of the same name")]
pub enum Transition {
    Created,
    Enqueued,
    Started,
    Progress,
    Effect,
    Blocked,
    Answered,
    Waiting,
    Resumed,
    Submitted,
    Refused,
    Escalated,
    Released,
    Revived,
    Completed,
    Failed,
    Cancelled,
    Dead,
}

impl Transition {
    /// All transitions.
    pub const ALL: [Self; 18] = [
        Self::Created,
        Self::Enqueued,
        Self::Started,
        Self::Progress,
        Self::Effect,
        Self::Blocked,
        Self::Answered,
        Self::Waiting,
        Self::Resumed,
        Self::Submitted,
        Self::Refused,
        Self::Escalated,
        Self::Released,
        Self::Revived,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The transition as a subject's token.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Enqueued => "enqueued",
            Self::Started => "started",
            Self::Progress => "progress",
            Self::Effect => "effect",
            Self::Blocked => "blocked",
            Self::Answered => "answered",
            Self::Waiting => "waiting",
            Self::Resumed => "resumed",
            Self::Submitted => "submitted",
            Self::Refused => "refused",
            Self::Escalated => "escalated",
            Self::Released => "released",
            Self::Revived => "revived",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// The transition of that word; `None` for one that this version does not know.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }

    /// Whether a task ends with it.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Dead)
    }
}

/// Who wrote an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// The role.
    pub role: Role,
    /// The instance of it, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceId>,
}

/// One entry of a task's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The task.
    pub task_id: TaskId,
    /// The org in which it lives.
    pub org_id: OrgId,
    /// When it was written, by the writer's clock.
    pub at: Time,
    /// Who wrote it.
    pub by: Actor,
    /// What happened.
    #[serde(flatten)]
    pub change: Change,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "transition", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Change {
    /// The assignment was accepted by its queue.
    Created {
        /// The assignment as it was delegated.
        assignment: Box<Assignment>,
        /// Its sequence in the queue; absent while a schedule holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue_seq: Option<u64>,
    },
    /// The task was put on its queue again.
    Enqueued {
        /// The new epoch: one more than the one before.
        epoch: u32,
        /// Its sequence in the queue; absent while a schedule holds it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue_seq: Option<u64>,
        /// When the schedule puts it on the queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Time>,
        /// Why.
        reason: EnqueueReason,
    },
    /// An attempt began: the fence. Everything that the attempt appends stands or falls with it.
    Started(Start),
    /// An attempt reports how far it is.
    Progress {
        /// The attempt.
        attempt: u32,
        /// One line for a person.
        message: String,
        /// How much is done, 0 to 100.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
    },
    /// An attempt is about to act through Sinew: first this is stored, then it is carried out.
    Effect {
        /// The attempt.
        attempt: u32,
        /// The caller's key, or the call's ordinal. One key is one effect for the whole task.
        key: String,
        /// What is to be carried out.
        effect: Box<Effect>,
    },
    /// An attempt can't go on without an answer. It ends here, and holds no slot while it waits.
    Blocked {
        /// The attempt.
        attempt: u32,
        /// What it must know.
        question: Box<Question>,
    },
    /// Somebody answered: the task goes back onto its queue.
    Answered {
        /// The key of the question.
        key: String,
        /// The answer.
        answer: Value,
    },
    /// An attempt can't go on before other tasks have ended. It ends here, and holds no slot while
    /// it waits.
    Waiting {
        /// The attempt.
        attempt: u32,
        /// The tasks.
        on: Vec<TaskId>,
    },
    /// The wait is over: the task goes back onto its queue.
    Resumed {
        /// Where the wait could never have ended: the tasks that wait for each other, in order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cycle: Vec<TaskId>,
    },
    /// An attempt has a result, which is final only once another role has accepted it.
    Submitted {
        /// The attempt.
        attempt: u32,
        /// What came out.
        #[serde(default)]
        result: Value,
        /// Where the result lies that is too large for a message; `result` is then null.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result_ref: Option<Claim>,
    },
    /// A result was refused.
    Refused {
        /// The attempt whose result it was.
        attempt: u32,
        /// Why.
        reason: String,
        /// The role of the person who is to decide, where it was refused too often. Absent where
        /// the task goes back to a worker.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        escalated_to: Option<Role>,
    },
    /// Nobody answered or verified in time: another role is asked.
    Escalated {
        /// That role.
        to: Role,
        /// Why.
        reason: EscalationReason,
    },
    /// An attempt gave the task back without ending it.
    Released {
        /// The attempt.
        attempt: u32,
        /// Why.
        reason: ReleaseReason,
        /// What went wrong, if something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
        /// When the next attempt may begin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Time>,
    },
    /// A dead task goes back onto its queue, by hand.
    Revived {},
    /// The task was done.
    Completed {
        /// The attempt that did it.
        attempt: u32,
        /// What came out.
        #[serde(default)]
        result: Value,
        /// Where the result lies that is too large for a message; `result` is then null.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result_ref: Option<Claim>,
        /// Who accepted the result, where the task asked for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verified: Option<Verified>,
    },
    /// The worker says that the task can't be done, and that trying again would not help.
    Failed {
        /// The attempt that found out.
        attempt: u32,
        /// Why.
        cause: String,
    },
    /// Somebody called the task off.
    Cancelled {
        /// Why.
        reason: String,
    },
    /// Sinew gave the task up, visibly. It can be revived by hand.
    Dead {
        /// The kind of cause.
        cause: DeadCause,
        /// The cause in words.
        detail: String,
        /// The message itself in base64, where it could not be decoded.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<String>,
    },
}

/// The begin of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The attempt, counted from 1 over the whole life of the task.
    pub attempt: u32,
    /// The epoch of the assignment that began it.
    pub epoch: u32,
    /// The sequence in the queue of that assignment.
    pub queue_seq: u64,
    /// The instance that works.
    pub instance: InstanceId,
    /// Its process.
    pub incarnation: String,
    /// Where the delivery can be ended, by whoever takes the task back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<String>,
}

/// What an attempt does through Sinew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Effect {
    /// Delegates a task of its own.
    Delegate {
        /// The child.
        assignment: Assignment,
    },
    /// Sends a message, to a role or to everybody.
    Send {
        /// The message.
        mail: Mail,
        /// The newest sequence of the stream of messages when this was written down: the message
        /// lies behind it, or was not sent.
        after: u64,
    },
}

/// What an attempt must know before it can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Question {
    /// One key is one question for the whole task: the next attempt finds its answer under it.
    pub key: String,
    /// The question, for a person or an agent; at most 8 KiB.
    pub text: String,
    /// The role that is asked.
    pub to: Role,
    /// Answers to choose from; empty where any will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// When another role is asked, if nobody has answered by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_at: Option<Time>,
}

/// Who accepted a result, and on what evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The role that accepted it: never the worker's.
    pub by: Role,
    /// On what evidence.
    #[serde(default)]
    pub evidence: Value,
}

/// Why another role is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EscalationReason {
    /// The question was not answered in time.
    Unanswered,
    /// The verification ended without a verdict.
    Unverified,
}

/// Why a task was put on its queue again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum EnqueueReason {
    /// An attempt failed.
    Retry,
    /// A worker met it on the queue before the log knew of it.
    Found,
    /// The sweep found it nowhere.
    Lost,
    /// It was dead, and somebody revived it.
    Revived,
    /// Its question was answered.
    Answered,
    /// What it waited for has ended.
    Resumed,
    /// Its result was refused.
    Refused,
}

/// Why an attempt gave its task back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ReleaseReason {
    /// The attempt failed: this one counts.
    Failed,
    /// The program asked for another try later; not counted as a failure.
    Postponed,
    /// The instance was told to stop.
    Drained,
    /// The instance restarted and released what its earlier process held.
    Restarted,
    /// The instance is gone, and somebody released on its behalf.
    Orphaned,
}

/// Why Sinew gave a task up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DeadCause {
    /// Every attempt that it was allowed failed.
    AttemptsExhausted,
    /// It was started too often without a report: it may kill its worker.
    StartsExhausted,
    /// It grew older than its deadline.
    DeadlinePassed,
    /// The message could not be decoded.
    Undecodable,
    /// It could not be put on its queue again.
    Lost,
    /// A task that it depends on did not complete.
    DependencyFailed,
    /// Its message was delivered as often as the server allows.
    DeliveriesExhausted,
    /// Its input is no longer in the object store, or is not what was delegated.
    BodyLost,
}

/// Why bytes in a log are no entry.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The subject is none of a task's log.
    #[error("{0:?} is not the subject of a log entry")]
    Subject(String),
    /// A transition of a later version: it is skipped and counted.
    #[error("the transition {0:?} is not known to this version")]
    Unknown(String),
    /// The JSON is malformed.
    #[error("the entry is not readable: {0}")]
    Malformed(String),
    /// The body names another task, org or transition than its subject.
    #[error("the entry contradicts its subject {0:?}")]
    Alien(String),
}

impl Change {
    /// The transition that this is.
    #[must_use]
    pub const fn transition(&self) -> Transition {
        match self {
            Self::Created { .. } => Transition::Created,
            Self::Enqueued { .. } => Transition::Enqueued,
            Self::Started(_) => Transition::Started,
            Self::Progress { .. } => Transition::Progress,
            Self::Effect { .. } => Transition::Effect,
            Self::Blocked { .. } => Transition::Blocked,
            Self::Answered { .. } => Transition::Answered,
            Self::Waiting { .. } => Transition::Waiting,
            Self::Resumed { .. } => Transition::Resumed,
            Self::Submitted { .. } => Transition::Submitted,
            Self::Refused { .. } => Transition::Refused,
            Self::Escalated { .. } => Transition::Escalated,
            Self::Released { .. } => Transition::Released,
            Self::Revived {} => Transition::Revived,
            Self::Completed { .. } => Transition::Completed,
            Self::Failed { .. } => Transition::Failed,
            Self::Cancelled { .. } => Transition::Cancelled,
            Self::Dead { .. } => Transition::Dead,
        }
    }
}

impl Entry {
    /// Reads the entry that was stored on `subject`.
    ///
    /// # Errors
    /// What is wrong with it, see [`DecodeError`].
    pub fn decode(subjects: &Subjects, subject: &str, bytes: &[u8]) -> Result<Self, DecodeError> {
        let Some(Address::Entry(org, task, word)) = subjects.parse(subject) else {
            return Err(DecodeError::Subject(subject.to_owned()));
        };
        let Some(transition) = Transition::of_word(&word) else {
            return Err(DecodeError::Unknown(word));
        };
        let entry: Self = serde_json::from_slice(bytes)
            .map_err(|fault| DecodeError::Malformed(fault.to_string()))?;
        if entry.task_id != task || entry.org_id != org || entry.change.transition() != transition {
            return Err(DecodeError::Alien(subject.to_owned()));
        }
        Ok(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_must_agree_with_its_subject() {
        let subjects = Subjects::new(crate::id::Root::default(), "acme".parse().unwrap());
        let body = br#"{"taskId":"T1","orgId":"acme","at":"2026-05-10T14:23:01Z",
            "by":{"role":"cto"},"transition":"progress","attempt":1,"message":"half","later":true}"#;
        let read = |subject: &str| Entry::decode(&subjects, subject, body);
        let entry = read("genbrain.org.acme.tasks.T1.progress").unwrap();
        let back = serde_json::to_vec(&entry).unwrap();
        assert_eq!(serde_json::from_slice::<Entry>(&back).unwrap(), entry);
        for alien in
            ["acme.tasks.T2.progress", "acme.tasks.T1.completed", "other.tasks.T1.progress"]
        {
            let fault = read(&format!("genbrain.org.{alien}")).unwrap_err();
            assert!(matches!(fault, DecodeError::Alien(_)), "{alien}: {fault}");
        }
        let unknown = read("genbrain.org.acme.tasks.T1.pondered");
        assert_eq!(unknown, Err(DecodeError::Unknown("pondered".to_owned())));
        assert!(matches!(read("genbrain.org.acme.events"), Err(DecodeError::Subject(_))));
    }
}
