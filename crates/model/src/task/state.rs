//! A task as its log tells it: [`Task::apply`] folds one stored entry after the other. What
//! breaks the law of the log is void: it is counted, and changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    assignment::Assignment,
    entry::{Change, DeadCause, Effect, EnqueueReason, Entry, ReleaseReason, Start, Transition},
};
use crate::{claim::Claim, id::TaskId, limits, time::Time};

/// An entry as the stream stored it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its sequence in the stream.
    pub seq: u64,
    /// The sequence that its writer expected the task's newest entry to have; `None` where the
    /// writer did not say, which the law forbids.
    pub expected: Option<u64>,
    /// The word that only its writer knows, by which it recognises its own entry.
    pub token: Option<String>,
    /// What it says.
    pub entry: Entry,
}

/// Everything that the log says about one task id.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The task's state; `None` before its first lawful entry.
    pub state: Option<State>,
    /// The sequence of the newest message on the task's subjects, lawful or not: what the next
    /// append must expect. 0 where there is none.
    pub last_seq: u64,
    /// Entries that broke the law.
    pub voids: u32,
}

/// What a task is like after its last lawful entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What was delegated. `None` only for a message that could not be decoded.
    pub assignment: Option<Box<Assignment>>,
    /// How often it was put on its queue.
    pub epoch: u32,
    /// Where it stands.
    pub phase: Phase,
    /// Attempts begun over its whole life: the number of the newest one.
    pub attempts: u32,
    /// Failed attempts since it was delegated or revived.
    pub failures: u32,
    /// Attempts begun before it was last revived; they no longer count against its limit.
    pub attempts_forgiven: u32,
    /// Progress entries of the newest attempt.
    pub progress: u32,
    /// When it ends in `dead` if it has not ended before.
    pub due: Time,
    /// Effects that were recorded, by key.
    pub effects: BTreeMap<String, Effect>,
    /// Where its result lies, if that is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ref: Option<Claim>,
    /// When its newest lawful entry was written.
    pub last_at: Time,
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
        /// What came out; null where [`State::result_ref`] says where it lies.
        result: Value,
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

/// How an entry broke the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Void {
    /// It was not appended by compare-and-set over the whole task, or its expectation is not
    /// what the log held.
    #[error("it was not guarded by the task's newest entry")]
    Unguarded,
    /// The task had ended before.
    #[error("the task had ended")]
    AfterEnd,
    /// The task was not created, or is created a second time.
    #[error("the task was not created, or was created twice")]
    Creation,
    /// It is of an attempt that the log does not name.
    #[error("the attempt had no fence")]
    Fence,
    /// Its epoch is not newer, or the task could not be enqueued.
    #[error("the task could not be enqueued with that epoch")]
    Epoch,
    /// The entry's assignment is of another task.
    #[error("the assignment is of another task")]
    Alien,
}

impl State {
    /// How it ended, if it has.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Ended { end, .. } => Some(end),
            Phase::Queued { .. } | Phase::Running { .. } | Phase::Released { .. } => None,
        }
    }

    /// The attempt that runs, if one does.
    #[must_use]
    pub const fn running(&self) -> Option<&Start> {
        match &self.phase {
            Phase::Running { start, .. } => Some(start),
            Phase::Queued { .. } | Phase::Released { .. } | Phase::Ended { .. } => None,
        }
    }

    /// The message under which the task lies on its queue or runs, as far as the log knows it.
    #[must_use]
    pub const fn queue_seq(&self) -> Option<u64> {
        match &self.phase {
            Phase::Queued { queue_seq, .. } | Phase::Ended { queue_seq, .. } => *queue_seq,
            Phase::Running { start, .. } => Some(start.queue_seq),
            Phase::Released { queue_seq, .. } => Some(*queue_seq),
        }
    }

    /// The phase as one word for a person: `queued`, `scheduled`, `running`, `retrying`, or how
    /// it ended.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match &self.phase {
            // A longer wait between two attempts is a schedule too.
            Phase::Queued { queue_seq: None, not_before: Some(_) }
                if self.attempts > self.attempts_forgiven =>
            {
                "retrying"
            }
            Phase::Queued { queue_seq: None, not_before: Some(_) } => "scheduled",
            Phase::Queued { .. } => "queued",
            Phase::Running { .. } => "running",
            Phase::Released { .. } => "retrying",
            Phase::Ended { end, .. } => end.transition().word(),
        }
    }

    /// Whether another attempt may begin at all.
    #[must_use]
    pub const fn may_start_again(&self) -> bool {
        self.attempts.saturating_sub(self.attempts_forgiven) < limits::STARTS
    }
}

impl Task {
    /// Folds what the log stored next for this id.
    ///
    /// # Errors
    /// What makes the entry [`Void`]; it is counted then, and the state stays as it was.
    pub fn apply(&mut self, id: &TaskId, stored: &Stored) -> Result<(), Void> {
        let guarded = stored.expected == Some(self.last_seq);
        self.last_seq = stored.seq;
        let outcome = if guarded { self.fold(id, &stored.entry) } else { Err(Void::Unguarded) };
        if outcome.is_err() {
            self.voids = self.voids.saturating_add(1);
        }
        outcome
    }

    /// Passes over a message on the task's subjects that this version does not understand.
    pub const fn skip(&mut self, seq: u64) {
        self.last_seq = seq;
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.end().is_some())
    }

    fn fold(&mut self, id: &TaskId, entry: &Entry) -> Result<(), Void> {
        let Some(state) = &mut self.state else {
            self.state = Some(first(id, entry)?);
            return Ok(());
        };
        state.fold(&entry.change, entry.at)?;
        state.last_at = entry.at;
        Ok(())
    }
}

/// The state after a task's first entry.
fn first(id: &TaskId, entry: &Entry) -> Result<State, Void> {
    let state = |assignment: Option<Box<Assignment>>, phase, due| State {
        assignment,
        epoch: 1,
        phase,
        attempts: 0,
        failures: 0,
        attempts_forgiven: 0,
        progress: 0,
        due,
        effects: BTreeMap::new(),
        result_ref: None,
        last_at: entry.at,
    };
    if let Change::Created { assignment, queue_seq } = &entry.change {
        if &assignment.task_id != id || assignment.org_id != entry.org_id {
            return Err(Void::Alien);
        }
        let phase = Phase::Queued { queue_seq: *queue_seq, not_before: assignment.not_before };
        return Ok(state(Some(assignment.clone()), phase, assignment.due()));
    }
    // A message that is no assignment has no other entry than its end.
    if let Change::Dead { cause: DeadCause::Undecodable, detail, .. } = &entry.change {
        let end = End::Dead { cause: DeadCause::Undecodable, detail: detail.clone() };
        return Ok(state(None, Phase::Ended { end, queue_seq: None }, entry.at));
    }
    Err(Void::Creation)
}

impl State {
    fn fold(&mut self, change: &Change, at: Time) -> Result<(), Void> {
        match change {
            Change::Enqueued { epoch, queue_seq, not_before, reason } => {
                self.enqueue(*epoch, *queue_seq, *not_before, (*reason, at))
            }
            _ if self.end().is_some() => Err(Void::AfterEnd),
            Change::Created { .. } => Err(Void::Creation),
            Change::Started(start) => self.begin(start, at),
            Change::Progress { attempt, .. } => {
                self.fence(*attempt)?;
                self.progress = self.progress.saturating_add(1);
                Ok(())
            }
            Change::Effect { attempt, key, effect } => {
                self.fence(*attempt)?;
                self.effects.entry(key.clone()).or_insert_with(|| (**effect).clone());
                Ok(())
            }
            Change::Released { attempt, reason, retry_at, .. } => {
                let queue_seq = self.fence(*attempt)?;
                if *reason == ReleaseReason::Failed {
                    self.failures = self.failures.saturating_add(1);
                }
                self.phase = Phase::Released { queue_seq, reason: *reason, retry_at: *retry_at };
                Ok(())
            }
            Change::Completed { attempt, result, result_ref } => {
                self.fence(*attempt)?;
                self.result_ref.clone_from(result_ref);
                self.finish(End::Completed { result: result.clone() })
            }
            Change::Failed { attempt, cause } => {
                self.fence(*attempt)?;
                self.finish(End::Failed { cause: cause.clone() })
            }
            Change::Cancelled { reason } => self.finish(End::Cancelled { reason: reason.clone() }),
            Change::Dead { cause, detail, .. } => {
                self.finish(End::Dead { cause: *cause, detail: detail.clone() })
            }
        }
    }

    /// The queue sequence of the running attempt, if `attempt` is that.
    fn fence(&self, attempt: u32) -> Result<u64, Void> {
        match self.running() {
            Some(start) if start.attempt == attempt => Ok(start.queue_seq),
            Some(_) | None => Err(Void::Fence),
        }
    }

    fn begin(&mut self, start: &Start, at: Time) -> Result<(), Void> {
        if start.epoch != self.epoch || start.attempt != self.attempts.saturating_add(1) {
            return Err(Void::Fence);
        }
        self.attempts = start.attempt;
        self.progress = 0;
        self.phase = Phase::Running { start: start.clone(), since: at };
        Ok(())
    }

    fn enqueue(
        &mut self,
        epoch: u32,
        queue_seq: Option<u64>,
        not_before: Option<Time>,
        (reason, at): (EnqueueReason, Time),
    ) -> Result<(), Void> {
        match (&self.phase, reason) {
            (Phase::Ended { end: End::Dead { .. }, .. }, EnqueueReason::Revived)
                if self.assignment.is_some() =>
            {
                self.failures = 0;
                self.attempts_forgiven = self.attempts;
                self.due = self.due.max(at.plus(limits::DEADLINE));
            }
            (Phase::Ended { .. }, _) => return Err(Void::AfterEnd),
            (Phase::Running { .. }, _) => return Err(Void::Epoch),
            (Phase::Queued { .. } | Phase::Released { .. }, _) => {}
        }
        if epoch <= self.epoch {
            return Err(Void::Epoch);
        }
        self.epoch = epoch;
        self.phase = Phase::Queued { queue_seq, not_before };
        Ok(())
    }

    fn finish(&mut self, end: End) -> Result<(), Void> {
        self.phase = Phase::Ended { queue_seq: self.queue_seq(), end };
        Ok(())
    }
}
