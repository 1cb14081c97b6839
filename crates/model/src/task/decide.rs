//! What a command does to a task, if it applies: [`Task::decide`] gives the one entry to append,
//! or the reason why not. The entry that it gives is never void.

use serde_json::Value;

use super::{
    command::{Command, Refusal},
    entry::{Change, DeadCause, EnqueueReason, ReleaseReason, Start},
    state::{End, Phase, State, Task},
};
use crate::{
    claim::Claim,
    id::InstanceId,
    limits::{self, head, tail},
    time::Time,
};

/// How far a reader's clock may be behind the writer's before a wait seems not over yet.
const CLOCK_SLACK: std::time::Duration = std::time::Duration::from_millis(50);

impl Task {
    /// The entry that carries `command` out.
    ///
    /// # Errors
    /// Why the command does not apply.
    pub fn decide(&self, command: &Command, now: Time) -> Result<Change, Refusal> {
        let Some(state) = &self.state else { return without_state(command) };
        if let Command::Create { assignment, .. } = command {
            return Err(match &state.assignment {
                Some(known) if known.same_work(assignment) => Refusal::Exists,
                Some(_) | None => Refusal::IdReused,
            });
        }
        if let Command::Enqueue { .. } = command {
            return state.enqueue_change(command);
        }
        if let Some(end) = state.end() {
            return Err(Refusal::Ended(end.transition()));
        }
        state.decide(command, now)
    }
}

fn without_state(command: &Command) -> Result<Change, Refusal> {
    match command {
        Command::Create { assignment, queue_seq } => {
            Ok(Change::Created { assignment: assignment.clone(), queue_seq: *queue_seq })
        }
        Command::Bury { cause: DeadCause::Undecodable, .. } => Ok(bury(command)),
        Command::Start { .. }
        | Command::Progress { .. }
        | Command::Effect { .. }
        | Command::Complete { .. }
        | Command::CompleteLarge { .. }
        | Command::LoseBody { .. }
        | Command::Fail { .. }
        | Command::Release { .. }
        | Command::Enqueue { .. }
        | Command::Cancel { .. }
        | Command::Bury { .. } => Err(Refusal::NoTask),
    }
}

fn bury(command: &Command) -> Change {
    let Command::Bury { cause, detail, bytes } = command else {
        return Change::Dead { cause: DeadCause::Lost, detail: String::new(), bytes: None };
    };
    Change::Dead {
        cause: *cause,
        detail: tail(detail, limits::CAUSE_BYTES).to_owned(),
        bytes: bytes.clone(),
    }
}

const fn completed(attempt: u32, result: Value, result_ref: Option<Claim>) -> Change {
    Change::Completed { attempt, result, result_ref }
}

impl State {
    fn decide(&self, command: &Command, now: Time) -> Result<Change, Refusal> {
        match command {
            Command::Start { epoch, queue_seq, instance, incarnation, ack } => {
                self.start_check((*epoch, *queue_seq), (instance, incarnation), now)?;
                Ok(Change::Started(Start {
                    attempt: self.attempts.saturating_add(1),
                    epoch: *epoch,
                    queue_seq: *queue_seq,
                    instance: instance.clone(),
                    incarnation: incarnation.clone(),
                    ack: ack.clone(),
                }))
            }
            Command::Progress { attempt, message, percent } => {
                self.fenced(*attempt)?;
                bound(
                    "progress reports",
                    self.progress.into(),
                    limits::PROGRESS_PER_ATTEMPT.into(),
                )?;
                Ok(Change::Progress {
                    attempt: *attempt,
                    message: head(message, limits::PROGRESS_BYTES).to_owned(),
                    percent: percent.map(|percent| percent.min(100)),
                })
            }
            Command::Effect { attempt, key, effect } => {
                self.fenced(*attempt)?;
                if self.effects.contains_key(key) {
                    return Err(Refusal::EffectRecorded);
                }
                let count = u64::try_from(self.effects.len()).unwrap_or(u64::MAX);
                let most = u64::try_from(limits::EFFECTS_PER_TASK).unwrap_or(u64::MAX);
                bound("effects", count, most)?;
                Ok(Change::Effect { attempt: *attempt, key: key.clone(), effect: effect.clone() })
            }
            Command::Complete { attempt, result } => {
                self.fenced(*attempt)?;
                Ok(completed(*attempt, result.clone(), None))
            }
            Command::CompleteLarge { attempt, result_ref } => {
                self.fenced(*attempt)?;
                Ok(completed(*attempt, Value::Null, Some(result_ref.clone())))
            }
            Command::LoseBody { attempt, detail } => {
                self.fenced(*attempt)?;
                let detail = tail(detail, limits::CAUSE_BYTES).to_owned();
                Ok(Change::Dead { cause: DeadCause::BodyLost, detail, bytes: None })
            }
            Command::Fail { attempt, cause, retry } => {
                self.fenced(*attempt)?;
                Ok(self.failure(*attempt, cause, retry.map(|delay| now.plus(delay))))
            }
            Command::Release { attempt, reason, retry } => {
                self.fenced(*attempt)?;
                Ok(Change::Released {
                    attempt: *attempt,
                    reason: *reason,
                    cause: None,
                    retry_at: retry.map(|delay| now.plus(delay)),
                })
            }
            Command::Cancel { reason } => {
                Ok(Change::Cancelled { reason: head(reason, limits::CAUSE_BYTES).to_owned() })
            }
            Command::Bury { .. } => Ok(bury(command)),
            // Both were answered before, whatever the phase.
            Command::Create { .. } => Err(Refusal::Exists),
            Command::Enqueue { .. } => self.enqueue_change(command),
        }
    }

    /// The attempt failed: another one, no other one, or the end of all attempts.
    fn failure(&self, attempt: u32, cause: &str, retry_at: Option<Time>) -> Change {
        let cause = tail(cause, limits::CAUSE_BYTES).to_owned();
        if retry_at.is_none() {
            return Change::Failed { attempt, cause };
        }
        let allowed = self.assignment.as_ref().map_or(1, |assignment| assignment.attempts());
        if self.failures.saturating_add(1) >= allowed {
            return Change::Dead {
                cause: DeadCause::AttemptsExhausted,
                detail: cause,
                bytes: None,
            };
        }
        Change::Released { attempt, reason: ReleaseReason::Failed, cause: Some(cause), retry_at }
    }

    fn fenced(&self, attempt: u32) -> Result<(), Refusal> {
        let current = self.running().map(|start| start.attempt);
        if current == Some(attempt) {
            return Ok(());
        }
        Err(Refusal::Fenced { got: attempt, current })
    }

    /// Whether a delivery of the assignment may begin an attempt.
    fn start_check(
        &self,
        (epoch, queue_seq): (u32, u64),
        (instance, incarnation): (&InstanceId, &str),
        now: Time,
    ) -> Result<(), Refusal> {
        if epoch < self.epoch {
            return Err(Refusal::StaleEpoch { got: epoch, current: self.epoch });
        }
        if epoch > self.epoch {
            let running = self.running().is_some();
            let current = self.epoch;
            return Err(if running { Refusal::Running } else { Refusal::Ahead { current } });
        }
        if let Some(current) = self.queue_seq().filter(|current| *current != queue_seq) {
            return Err(Refusal::OtherMessage { got: queue_seq, current });
        }
        if let Some(start) = self.running()
            && &start.instance == instance
            && start.incarnation == incarnation
        {
            return Err(Refusal::Own { attempt: start.attempt });
        }
        if now >= self.due {
            return Err(Refusal::Doomed(DeadCause::DeadlinePassed));
        }
        if !self.may_start_again() {
            return Err(Refusal::Doomed(DeadCause::StartsExhausted));
        }
        match self.waits_until() {
            Some(until) if until > now.plus(CLOCK_SLACK) => Err(Refusal::NotDue { until }),
            Some(_) | None => Ok(()),
        }
    }

    /// The moment before which no attempt may begin.
    #[must_use]
    pub const fn waits_until(&self) -> Option<Time> {
        match &self.phase {
            Phase::Queued { not_before, .. } => *not_before,
            Phase::Released { retry_at, .. } => *retry_at,
            Phase::Running { .. } | Phase::Ended { .. } => None,
        }
    }

    fn enqueue_change(&self, command: &Command) -> Result<Change, Refusal> {
        let Command::Enqueue { epoch, queue_seq, not_before, reason } = command else {
            return Err(Refusal::Running);
        };
        match (&self.phase, reason) {
            (Phase::Ended { end: End::Dead { .. }, .. }, EnqueueReason::Revived)
                if self.assignment.is_some() => {}
            (Phase::Ended { end, .. }, _) => return Err(Refusal::Ended(end.transition())),
            (Phase::Running { .. }, _) => return Err(Refusal::Running),
            (Phase::Queued { .. } | Phase::Released { .. }, _) => {}
        }
        if *epoch <= self.epoch {
            return Err(Refusal::StaleEpoch { got: *epoch, current: self.epoch });
        }
        bound("epochs", (*epoch).into(), u64::from(limits::EPOCHS) + 1)?;
        Ok(Change::Enqueued {
            epoch: *epoch,
            queue_seq: *queue_seq,
            not_before: *not_before,
            reason: *reason,
        })
    }
}

/// Refuses one more of what there are `count` of already.
fn bound(what: &'static str, count: u64, limit: u64) -> Result<(), Refusal> {
    if count < limit { Ok(()) } else { Err(Refusal::Limit { what, limit }) }
}
