//! A task as its log tells it: [`Task::apply`] folds one stored entry after the other. What
//! breaks the law of the log is void: it is counted, and changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    assignment::Assignment,
    entry::{Actor, Change, DeadCause, Effect, EnqueueReason, Entry, ReleaseReason, Start},
    phase::{Answered, End, Phase, RefusedResult},
};
use crate::{
    claim::Claim,
    id::{Role, TaskId},
    limits,
    time::Time,
};

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
    /// When the server stored it; `None` where that is not known, as right after an own append.
    pub time: Option<Time>,
    /// What it says.
    pub entry: Entry,
}

impl Stored {
    /// When it happened: by the server's clock where that is known, since one clock for all
    /// writers is worth more than theirs, which may be set wrong.
    #[must_use]
    pub fn at(&self) -> Time {
        self.time.unwrap_or(self.entry.at)
    }
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
    /// Attempts begun before it was last revived, or before it last let go of its task lawfully (to
    /// ask, to wait, to submit); they no longer count against its limit.
    pub attempts_forgiven: u32,
    /// Its epoch when it was last revived; what came before no longer counts against the limit.
    pub epochs_forgiven: u32,
    /// Progress entries of the newest attempt.
    pub progress: u32,
    /// When it ends in `dead` if it has not ended before.
    pub due: Time,
    /// Effects that were recorded, by key.
    pub effects: BTreeMap<String, Effect>,
    /// Questions that were answered, by key.
    pub answers: BTreeMap<String, Answered>,
    /// The newest refusals of its results, at most [`limits::REFUSALS`], the newest last.
    pub refusals: Vec<RefusedResult>,
    /// Refusals in a row since the last time that a person decided.
    pub refused: u32,
    /// Where its result lies, if that is too large for a message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_ref: Option<Claim>,
    /// When its newest lawful entry was stored, by the server's clock where that is known.
    pub last_at: Time,
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
    /// It answers, resumes, judges or escalates what the task does not wait for.
    #[error("the task did not wait for that")]
    Park,
    /// The entry's assignment is of another task.
    #[error("the assignment is of another task")]
    Alien,
    /// It is not from who it says.
    #[error("it is not signed by who it says")]
    Forged,
}

impl State {
    /// How it ended, if it has.
    #[must_use]
    pub const fn end(&self) -> Option<&End> {
        if let Phase::Ended { end, .. } = &self.phase { Some(end) } else { None }
    }

    /// The attempt that runs, if one does.
    #[must_use]
    pub const fn running(&self) -> Option<&Start> {
        if let Phase::Running { start, .. } = &self.phase { Some(start) } else { None }
    }

    /// The message under which the task lies on its queue or runs, as far as the log knows it.
    #[must_use]
    pub const fn queue_seq(&self) -> Option<u64> {
        match &self.phase {
            Phase::Queued { queue_seq, .. } | Phase::Ended { queue_seq, .. } => *queue_seq,
            Phase::Running { start, .. } => Some(start.queue_seq),
            Phase::Released { queue_seq, .. } => Some(*queue_seq),
            Phase::Blocked { .. }
            | Phase::Waiting { .. }
            | Phase::Submitted { .. }
            | Phase::Ready { .. } => None,
        }
    }

    /// The phase as one word for a person: `queued`, `scheduled`, `running`, `retrying`, `blocked`,
    /// `waiting`, `submitted`, or how it ended.
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
            Phase::Queued { .. } | Phase::Ready { .. } => "queued",
            Phase::Blocked { .. } => "blocked",
            Phase::Waiting { .. } => "waiting",
            Phase::Submitted { .. } => "submitted",
            Phase::Running { .. } => "running",
            Phase::Released { .. } => "retrying",
            Phase::Ended { end, .. } => end.transition().word(),
        }
    }

    /// What it waits for, where that is no worker: then no attempt may begin.
    #[must_use]
    pub const fn parked(&self) -> Option<&'static str> {
        match &self.phase {
            Phase::Blocked { .. } => Some("blocked"),
            Phase::Waiting { .. } => Some("waiting"),
            Phase::Submitted { .. } => Some("submitted"),
            Phase::Ready { .. } => Some("between two epochs"),
            Phase::Queued { .. }
            | Phase::Running { .. }
            | Phase::Released { .. }
            | Phase::Ended { .. } => None,
        }
    }

    /// The tasks that it delegated, as far as the log has recorded them. Its verification is one.
    #[must_use]
    pub fn children(&self) -> Vec<TaskId> {
        let delegated = self.effects.values().filter_map(|effect| match effect {
            Effect::Delegate { assignment } => Some(assignment.task_id.clone()),
            Effect::Send { .. } => None,
        });
        delegated.chain(self.verification()).collect()
    }

    /// The task that judges the result which waits for a verdict, where a verifier is asked.
    #[must_use]
    pub fn verification(&self) -> Option<TaskId> {
        let Phase::Submitted { .. } = &self.phase else { return None };
        self.newest_verification()
    }

    /// The task that judges, judged or would have judged the result of the newest attempt, whether
    /// there was one or not; `None` where no verifier is asked.
    #[must_use]
    pub fn newest_verification(&self) -> Option<TaskId> {
        let assignment = self.assignment.as_deref()?;
        assignment.verifier.as_ref()?;
        let key = format!("verify:{}", self.attempts);
        (self.attempts > 0).then(|| TaskId::of_effect(&assignment.task_id, &key))
    }

    /// Whether another epoch may begin.
    #[must_use]
    pub const fn may_enqueue_again(&self) -> bool {
        self.epoch.saturating_sub(self.epochs_forgiven) < limits::EPOCHS
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
        let outcome = if guarded { self.fold(id, stored) } else { Err(Void::Unguarded) };
        if outcome.is_err() {
            self.voids = self.voids.saturating_add(1);
        }
        outcome
    }

    /// Passes over an entry that was refused for its signature.
    pub const fn refuse(&mut self, seq: u64) -> Void {
        self.last_seq = seq;
        self.voids = self.voids.saturating_add(1);
        Void::Forged
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

    fn fold(&mut self, id: &TaskId, stored: &Stored) -> Result<(), Void> {
        let entry = &stored.entry;
        match &mut self.state {
            Some(state) => {
                state.fold(entry)?;
                state.last_at = stored.at();
            }
            None => self.state = Some(State { last_at: stored.at(), ..first(id, entry)? }),
        }
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
        epochs_forgiven: 0,
        progress: 0,
        due,
        effects: BTreeMap::new(),
        answers: BTreeMap::new(),
        refusals: Vec::new(),
        refused: 0,
        result_ref: None,
        last_at: entry.at,
    };
    if let Change::Created { assignment, queue_seq } = &entry.change {
        if &assignment.task_id != id || assignment.org_id != entry.org_id {
            return Err(Void::Alien);
        }
        // What comes after others is on no queue before they have ended.
        let phase = if queue_seq.is_none() && !assignment.after.is_empty() {
            Phase::Waiting { on: assignment.after.clone() }
        } else {
            Phase::Queued { queue_seq: *queue_seq, not_before: assignment.not_before }
        };
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
    fn fold(&mut self, entry: &Entry) -> Result<(), Void> {
        let at = entry.at;
        match &entry.change {
            Change::Revived {} => self.revive(at),
            _ if self.end().is_some() => Err(Void::AfterEnd),
            Change::Created { .. } => Err(Void::Creation),
            Change::Enqueued { epoch, queue_seq, not_before, .. } => {
                self.enqueue(*epoch, *queue_seq, *not_before)
            }
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
            Change::Blocked { attempt, question } => {
                let (attempt, question) = (*attempt, question.clone());
                self.let_go(attempt, Phase::Blocked { attempt, question, escalated_to: None })
            }
            Change::Waiting { attempt, on } => {
                self.let_go(*attempt, Phase::Waiting { on: on.clone() })
            }
            Change::Submitted { attempt, result, result_ref } => {
                let (attempt, result) = (*attempt, result.clone());
                self.let_go(attempt, Phase::Submitted { attempt, result, escalated_to: None })?;
                self.result_ref.clone_from(result_ref);
                Ok(())
            }
            Change::Answered { key, answer } => self.answer(key, answer, &entry.by),
            Change::Resumed { cycle: _ } => self.resume(),
            Change::Refused { attempt, reason, escalated_to } => {
                let (attempt, reason, by) = (*attempt, reason.clone(), entry.by.clone());
                self.refuse(RefusedResult { attempt, reason, by }, escalated_to.as_ref())
            }
            Change::Escalated { to, .. } => self.escalate(to),
            Change::Completed { attempt, result, result_ref, verified } => {
                let submitted =
                    matches!(&self.phase, Phase::Submitted { attempt: of, .. } if of == attempt);
                if !(submitted && verified.is_some()) {
                    self.fence(*attempt)?;
                }
                self.result_ref.clone_from(result_ref);
                let (result, verified) = (result.clone(), verified.clone());
                self.finish(End::Completed { result, verified })
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
        if start.epoch != self.epoch
            || start.attempt != self.attempts.saturating_add(1)
            || self.parked().is_some()
        {
            return Err(Void::Fence);
        }
        self.attempts = start.attempt;
        self.progress = 0;
        self.phase = Phase::Running { start: start.clone(), since: at };
        Ok(())
    }

    /// The attempt lets go of its task without having failed.
    fn let_go(&mut self, attempt: u32, phase: Phase) -> Result<(), Void> {
        self.fence(attempt)?;
        self.attempts_forgiven = self.attempts;
        self.phase = phase;
        Ok(())
    }

    fn answer(&mut self, key: &str, answer: &Value, by: &Actor) -> Result<(), Void> {
        let Phase::Blocked { question, .. } = &self.phase else { return Err(Void::Park) };
        if question.key != key {
            return Err(Void::Park);
        }
        let question = question.text.clone();
        let answered = Answered { question, answer: answer.clone(), by: by.clone() };
        self.answers.insert(key.to_owned(), answered);
        self.phase = Phase::Ready { reason: EnqueueReason::Answered };
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Void> {
        let Phase::Waiting { .. } = &self.phase else { return Err(Void::Park) };
        self.phase = Phase::Ready { reason: EnqueueReason::Resumed };
        Ok(())
    }

    fn refuse(&mut self, refused: RefusedResult, to: Option<&Role>) -> Result<(), Void> {
        let Phase::Submitted { attempt, escalated_to, .. } = &mut self.phase else {
            return Err(Void::Park);
        };
        if *attempt != refused.attempt || (to.is_some() && escalated_to.is_some()) {
            return Err(Void::Park);
        }
        let decided_by_person = escalated_to.is_some();
        match to {
            Some(role) => *escalated_to = Some(role.clone()),
            None => {
                self.phase = Phase::Ready { reason: EnqueueReason::Refused };
                self.result_ref = None;
            }
        }
        self.refused = if decided_by_person { 0 } else { self.refused.saturating_add(1) };
        self.refusals.push(refused);
        let most = usize::try_from(limits::REFUSALS).unwrap_or(usize::MAX);
        let surplus = self.refusals.len().saturating_sub(most);
        self.refusals.drain(..surplus);
        Ok(())
    }

    fn escalate(&mut self, to: &Role) -> Result<(), Void> {
        let (Phase::Blocked { escalated_to, .. } | Phase::Submitted { escalated_to, .. }) =
            &mut self.phase
        else {
            return Err(Void::Park);
        };
        if escalated_to.is_some() {
            return Err(Void::Park);
        }
        *escalated_to = Some(to.clone());
        Ok(())
    }

    fn revive(&mut self, at: Time) -> Result<(), Void> {
        let Phase::Ended { end: End::Dead { .. }, .. } = &self.phase else {
            return Err(Void::AfterEnd);
        };
        let Some(assignment) = &self.assignment else { return Err(Void::AfterEnd) };
        // What it depends on is judged anew: it may have been revived too.
        self.phase = if self.attempts == 0 && !assignment.after.is_empty() {
            Phase::Waiting { on: assignment.after.clone() }
        } else {
            Phase::Ready { reason: EnqueueReason::Revived }
        };
        self.failures = 0;
        self.attempts_forgiven = self.attempts;
        self.epochs_forgiven = self.epoch;
        self.due = self.due.max(at.plus(limits::DEADLINE));
        Ok(())
    }

    fn enqueue(
        &mut self,
        epoch: u32,
        queue_seq: Option<u64>,
        not_before: Option<Time>,
    ) -> Result<(), Void> {
        let lies = matches!(
            &self.phase,
            Phase::Queued { .. } | Phase::Released { .. } | Phase::Ready { .. }
        );
        if !lies || epoch <= self.epoch {
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
