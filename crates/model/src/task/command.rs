//! What may be asked of a task, and why it may be refused.

use std::time::Duration;

use serde_json::Value;

use super::{
    assignment::Assignment,
    entry::{
        DeadCause, Effect, EnqueueReason, EscalationReason, Question, ReleaseReason, Start,
        Transition,
    },
    question::QuestionError,
};
use crate::{
    claim::Claim,
    id::{InstanceId, Role, TaskId},
    time::Time,
};

/// A request to move a task.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Record that the queue took the assignment.
    Create {
        /// The assignment.
        assignment: Box<Assignment>,
        /// Its sequence in the queue; `None` while a schedule holds it.
        queue_seq: Option<u64>,
    },
    /// Begin an attempt with a delivery in hand.
    Start {
        /// The epoch of the assignment.
        epoch: u32,
        /// Its sequence in the queue.
        queue_seq: u64,
        /// Who begins.
        instance: InstanceId,
        /// The process that begins.
        incarnation: String,
        /// The delivery's ack subject.
        ack: Option<String>,
        /// The running attempt that it may take the task from; another one is left alone.
        over: Option<u32>,
    },
    /// Report how far the attempt is.
    Progress {
        /// The attempt.
        attempt: u32,
        /// One line for a person.
        message: String,
        /// How much is done, 0 to 100.
        percent: Option<u8>,
    },
    /// Record an effect before it is carried out.
    Effect {
        /// The attempt.
        attempt: u32,
        /// One key is one effect for the whole task.
        key: String,
        /// The effect.
        effect: Box<Effect>,
    },
    /// Ask a question, and let go of the task until it is answered.
    Block {
        /// The attempt.
        attempt: u32,
        /// The question.
        question: Box<Question>,
    },
    /// Answer the open question.
    Answer {
        /// The key of the question that is meant; `None`: whichever is open.
        key: Option<String>,
        /// The answer.
        answer: Value,
    },
    /// Let go of the task until others have ended.
    Wait {
        /// The attempt.
        attempt: u32,
        /// The others: 1 to [`crate::limits::WAITED_TASKS`].
        on: Vec<TaskId>,
    },
    /// End the wait.
    Resume {
        /// Where the tasks wait for each other: these, in order; else empty.
        cycle: Vec<TaskId>,
    },
    /// Accept a submitted result.
    Accept {
        /// The role that accepts it.
        by: Role,
        /// On what evidence.
        evidence: Value,
    },
    /// Refuse a submitted result.
    Refuse {
        /// The role that refuses it.
        by: Role,
        /// Why.
        reason: String,
    },
    /// Ask another role for the answer or the verdict that is missing.
    Escalate {
        /// Why.
        reason: EscalationReason,
    },
    /// Bring a dead task back to life.
    Revive,
    /// End the task with a result; where it asked for verification, submit the result.
    Complete {
        /// The attempt.
        attempt: u32,
        /// What came out.
        result: Value,
    },
    /// End the task with a result that lies in the object store.
    CompleteLarge {
        /// The attempt.
        attempt: u32,
        /// Where it lies.
        result_ref: Claim,
    },
    /// Give the task up, since the attempt found its input lost.
    LoseBody {
        /// The attempt.
        attempt: u32,
        /// What is wrong with it.
        detail: String,
    },
    /// Report that the attempt failed.
    Fail {
        /// The attempt.
        attempt: u32,
        /// Why.
        cause: String,
        /// How long to wait before the next attempt; `None`: no other attempt would help.
        retry: Option<Duration>,
    },
    /// Give the task back; not a failure.
    Release {
        /// The attempt.
        attempt: u32,
        /// Why.
        reason: ReleaseReason,
        /// How long to wait before the next attempt.
        retry: Option<Duration>,
    },
    /// Record that the task was put on its queue, or on a schedule, as the next epoch.
    Enqueue {
        /// The epoch.
        epoch: u32,
        /// Its sequence in the queue.
        queue_seq: Option<u64>,
        /// When its schedule fires.
        not_before: Option<Time>,
        /// Why.
        reason: EnqueueReason,
    },
    /// Call the task off.
    Cancel {
        /// Why.
        reason: String,
    },
    /// Give the task up.
    Bury {
        /// The kind of cause.
        cause: DeadCause,
        /// The cause in words.
        detail: String,
        /// The message itself in base64, where it could not be decoded.
        bytes: Option<String>,
    },
}

/// Why a command does not apply. A refusal is an answer, not a fault.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such task.
    #[error("there is no such task")]
    NoTask,
    /// The task exists already, with the same content.
    #[error("the task exists already")]
    Exists,
    /// The id belongs to a task with another content.
    #[error("the id belongs to another task")]
    IdReused,
    /// The task has ended.
    #[error("the task has already ended: {}", .0.word())]
    Ended(Transition),
    /// The assignment is of another epoch than the task.
    #[error("the assignment is of epoch {got}, the task is at {current}")]
    StaleEpoch {
        /// The epoch of the assignment.
        got: u32,
        /// The epoch of the task.
        current: u32,
    },
    /// The assignment is of a later epoch: it was put on the queue, and whoever did so has not
    /// written that down. Record it, then start.
    #[error("the assignment is of a later epoch than {current}")]
    Ahead {
        /// The epoch of the task.
        current: u32,
    },
    /// No attempt may begin any more: give the task up.
    #[error("no attempt may begin any more")]
    Doomed(DeadCause),
    /// The task lies on its queue, or runs, under another sequence.
    #[error("the task belongs to the assignment at sequence {current}, not {got}")]
    OtherMessage {
        /// The sequence of the message in hand.
        got: u64,
        /// The sequence that the log names.
        current: u64,
    },
    /// The same process works on the task already.
    #[error("this process works on the task already")]
    Own {
        /// Its attempt.
        attempt: u32,
    },
    /// Another process works on the task. Whoever finds that it does so no more names its attempt
    /// and starts again.
    #[error("attempt {} runs, of {}", .0.attempt, .0.instance)]
    Held(Box<Start>),
    /// The attempt is not the one that the log names: the fence is lost.
    #[error("attempt {got} has lost its fence")]
    Fenced {
        /// The attempt that asked.
        got: u32,
        /// The attempt that runs, if one does.
        current: Option<u32>,
    },
    /// The next attempt may not begin yet.
    #[error("the next attempt may begin at {until}")]
    NotDue {
        /// When it may.
        until: Time,
    },
    /// The key belongs to an effect that is already recorded: that one stands.
    #[error("the effect is already recorded")]
    EffectRecorded,
    /// A bound of the task is reached.
    #[error("the task has reached its limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: u64,
    },
    /// The task waits for something else than a worker.
    #[error("the task is {0}, so no attempt may begin")]
    Parked(&'static str),
    /// Nobody could answer the question.
    #[error("the question can't be asked: {0}")]
    Question(QuestionError),
    /// The task has no such open question.
    #[error("the task has no such open question")]
    NotAsked,
    /// The answer is none of those that the question offers.
    #[error("the answer is none of: {}", .choices.join(", "))]
    NoChoice {
        /// What it offers.
        choices: Vec<String>,
    },
    /// The question was answered before: use that answer.
    #[error("the question was answered before")]
    Answered,
    /// The task waits for no other tasks.
    #[error("the task waits for no other task")]
    NotWaiting,
    /// The tasks would wait for each other for ever.
    #[error("the tasks would wait for each other: {}", chain(.0))]
    Cycle(Vec<TaskId>),
    /// The task has no result that waits for a verdict.
    #[error("the task has no result that waits for a verdict")]
    NotSubmitted,
    /// A role does not judge its own work.
    #[error("a role does not judge its own work")]
    OwnVerdict,
    /// The task is not dead.
    #[error("only a dead task with an assignment can be revived")]
    NotDead,
    /// The task runs, so it can't be put on its queue.
    #[error("the task is running")]
    Running,
}

/// Tasks in the order in which they wait, for a person.
fn chain(tasks: &[TaskId]) -> String {
    let names: Vec<&str> = tasks.iter().map(TaskId::as_str).collect();
    names.join(" waits for ")
}
