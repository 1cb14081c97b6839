//! What a command does to a task, if it applies: [`Task::decide`] gives the one entry to append,
//! or the reason why not. The entry that it gives is never void.

use serde_json::Value;

use super::{
    command::{Command, Refusal},
    entry::{Change, DeadCause, EscalationReason, Question, ReleaseReason, Start, Verified},
    phase::{End, Phase},
    state::{State, Task},
};
use crate::{
    claim::Claim,
    id::{InstanceId, Role, TaskId},
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
        if let Command::Revive = command {
            return state.revival();
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
        | Command::Block { .. }
        | Command::Answer { .. }
        | Command::Wait { .. }
        | Command::Resume { .. }
        | Command::Accept { .. }
        | Command::Refuse { .. }
        | Command::Escalate { .. }
        | Command::Revive
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

/// The attempt that a command speaks for, where only the one that holds the fence may.
const fn of_attempt(command: &Command) -> Option<(u32, &Command)> {
    match command {
        Command::Progress { attempt, .. }
        | Command::Effect { attempt, .. }
        | Command::Block { attempt, .. }
        | Command::Wait { attempt, .. }
        | Command::Complete { attempt, .. }
        | Command::CompleteLarge { attempt, .. }
        | Command::LoseBody { attempt, .. }
        | Command::Fail { attempt, .. }
        | Command::Release { attempt, .. } => Some((*attempt, command)),
        Command::Create { .. }
        | Command::Start { .. }
        | Command::Answer { .. }
        | Command::Resume { .. }
        | Command::Accept { .. }
        | Command::Refuse { .. }
        | Command::Escalate { .. }
        | Command::Revive
        | Command::Enqueue { .. }
        | Command::Cancel { .. }
        | Command::Bury { .. } => None,
    }
}

impl State {
    fn decide(&self, command: &Command, now: Time) -> Result<Change, Refusal> {
        if let Some((attempt, work)) = of_attempt(command) {
            self.fenced(attempt)?;
            return self.work(attempt, work, now);
        }
        match command {
            Command::Start { epoch, queue_seq, instance, incarnation, ack, over } => {
                self.start_check((*epoch, *queue_seq), (instance, incarnation), *over, now)?;
                Ok(Change::Started(Start {
                    attempt: self.attempts.saturating_add(1),
                    epoch: *epoch,
                    queue_seq: *queue_seq,
                    instance: instance.clone(),
                    incarnation: incarnation.clone(),
                    ack: ack.clone(),
                }))
            }
            Command::Answer { key, answer } => self.answered(key.as_deref(), answer),
            Command::Resume { cycle } => {
                let Phase::Waiting { .. } = &self.phase else { return Err(Refusal::NotWaiting) };
                Ok(Change::Resumed { cycle: cycle.clone() })
            }
            Command::Accept { by, evidence } => self.accepted(by, evidence),
            Command::Refuse { by, reason } => self.refused(by, reason),
            Command::Escalate { reason } => self.escalated(*reason),
            Command::Cancel { reason } => {
                Ok(Change::Cancelled { reason: head(reason, limits::CAUSE_BYTES).to_owned() })
            }
            Command::Bury { .. } => Ok(bury(command)),
            Command::Enqueue { .. } => self.enqueue_change(command),
            // These were answered before: by the creation, the revival or the fence.
            Command::Create { .. }
            | Command::Revive
            | Command::Progress { .. }
            | Command::Effect { .. }
            | Command::Block { .. }
            | Command::Wait { .. }
            | Command::Complete { .. }
            | Command::CompleteLarge { .. }
            | Command::LoseBody { .. }
            | Command::Fail { .. }
            | Command::Release { .. } => Err(Refusal::Exists),
        }
    }

    /// What an attempt that holds the fence does.
    fn work(&self, attempt: u32, command: &Command, now: Time) -> Result<Change, Refusal> {
        match command {
            Command::Progress { message, percent, .. } => {
                let most = limits::PROGRESS_PER_ATTEMPT.into();
                bound("progress reports", self.progress.into(), most)?;
                let message = head(message, limits::PROGRESS_BYTES).to_owned();
                let percent = percent.map(|percent| percent.min(100));
                Ok(Change::Progress { attempt, message, percent })
            }
            Command::Effect { key, effect, .. } => {
                if self.effects.contains_key(key) {
                    return Err(Refusal::EffectRecorded);
                }
                bound_len("effects", self.effects.len(), limits::EFFECTS_PER_TASK)?;
                Ok(Change::Effect { attempt, key: key.clone(), effect: effect.clone() })
            }
            Command::Block { question, .. } => self.blocked(attempt, question),
            Command::Wait { on, .. } => self.waiting(attempt, on),
            Command::Complete { result, .. } => Ok(self.done(attempt, result.clone(), None)),
            Command::CompleteLarge { result_ref, .. } => {
                Ok(self.done(attempt, Value::Null, Some(result_ref.clone())))
            }
            Command::LoseBody { detail, .. } => {
                let detail = tail(detail, limits::CAUSE_BYTES).to_owned();
                Ok(Change::Dead { cause: DeadCause::BodyLost, detail, bytes: None })
            }
            Command::Fail { cause, retry, .. } => {
                Ok(self.failure(attempt, cause, retry.map(|delay| now.plus(delay))))
            }
            Command::Release { reason, retry, .. } => Ok(Change::Released {
                attempt,
                reason: *reason,
                cause: None,
                retry_at: retry.map(|delay| now.plus(delay)),
            }),
            // No attempt speaks in these.
            Command::Create { .. }
            | Command::Start { .. }
            | Command::Answer { .. }
            | Command::Resume { .. }
            | Command::Accept { .. }
            | Command::Refuse { .. }
            | Command::Escalate { .. }
            | Command::Revive
            | Command::Enqueue { .. }
            | Command::Cancel { .. }
            | Command::Bury { .. } => Err(Refusal::Fenced { got: attempt, current: None }),
        }
    }

    /// The attempt has a result: the task's, or one that is to be judged first.
    fn done(&self, attempt: u32, result: Value, result_ref: Option<Claim>) -> Change {
        let verifier = self.assignment.as_ref().and_then(|it| it.verifier.as_ref());
        match verifier {
            Some(_) => Change::Submitted { attempt, result, result_ref },
            None => Change::Completed { attempt, result, result_ref, verified: None },
        }
    }

    fn blocked(&self, attempt: u32, question: &Question) -> Result<Change, Refusal> {
        if self.answers.contains_key(&question.key) {
            return Err(Refusal::Answered);
        }
        bound_len("questions", self.answers.len(), limits::QUESTIONS_PER_TASK)?;
        let question = question.clone().checked().map_err(Refusal::Question)?;
        Ok(Change::Blocked { attempt, question: Box::new(question) })
    }

    fn answered(&self, key: Option<&str>, answer: &Value) -> Result<Change, Refusal> {
        let Phase::Blocked { question, .. } = &self.phase else { return Err(Refusal::NotAsked) };
        if key.is_some_and(|key| key != question.key) {
            return Err(Refusal::NotAsked);
        }
        let choices = &question.choices;
        let offered = |text: &str| choices.iter().any(|choice| choice == text);
        if !choices.is_empty() && !answer.as_str().is_some_and(offered) {
            return Err(Refusal::NoChoice { choices: choices.clone() });
        }
        let bytes = answer.to_string().len();
        bound_len("bytes of an answer", bytes.saturating_sub(1), limits::ANSWER_BYTES)?;
        Ok(Change::Answered { key: question.key.clone(), answer: answer.clone() })
    }

    fn waiting(&self, attempt: u32, on: &[TaskId]) -> Result<Change, Refusal> {
        let own = self.assignment.as_ref().map(|assignment| &assignment.task_id);
        if let Some(own) = own.filter(|own| on.contains(own)) {
            return Err(Refusal::Cycle(vec![own.clone(), own.clone()]));
        }
        bound_len("tasks to wait for", on.len().saturating_sub(1), limits::WAITED_TASKS)?;
        Ok(Change::Waiting { attempt, on: on.to_vec() })
    }

    /// The result that waits for a verdict, if `by` may judge it.
    fn judged(&self, by: &Role) -> Result<(u32, &Value, bool), Refusal> {
        let Phase::Submitted { attempt, result, escalated_to } = &self.phase else {
            return Err(Refusal::NotSubmitted);
        };
        if self.assignment.as_ref().is_some_and(|assignment| &assignment.role == by) {
            return Err(Refusal::OwnVerdict);
        }
        Ok((*attempt, result, escalated_to.is_some()))
    }

    fn accepted(&self, by: &Role, evidence: &Value) -> Result<Change, Refusal> {
        let (attempt, result, _) = self.judged(by)?;
        let verified = Verified { by: by.clone(), evidence: evidence.clone() };
        Ok(Change::Completed {
            attempt,
            result: result.clone(),
            result_ref: self.result_ref.clone(),
            verified: Some(verified),
        })
    }

    fn refused(&self, by: &Role, reason: &str) -> Result<Change, Refusal> {
        let (attempt, _, by_person) = self.judged(by)?;
        let too_often = !by_person && self.refused.saturating_add(1) >= limits::REFUSALS;
        let person = self.assignment.as_ref().map(|assignment| assignment.escalates_to());
        Ok(Change::Refused {
            attempt,
            reason: head(reason, limits::CAUSE_BYTES).to_owned(),
            escalated_to: person.filter(|_| too_often).cloned(),
        })
    }

    fn escalated(&self, reason: EscalationReason) -> Result<Change, Refusal> {
        let (open, none) = match (&self.phase, reason) {
            (Phase::Blocked { escalated_to, .. }, EscalationReason::Unanswered) => {
                (escalated_to.is_none(), Refusal::NotAsked)
            }
            (Phase::Submitted { escalated_to, .. }, EscalationReason::Unverified) => {
                (escalated_to.is_none(), Refusal::NotSubmitted)
            }
            (_, EscalationReason::Unanswered) => (false, Refusal::NotAsked),
            (_, EscalationReason::Unverified) => (false, Refusal::NotSubmitted),
        };
        match &self.assignment {
            Some(assignment) if open => {
                Ok(Change::Escalated { to: assignment.escalates_to().clone(), reason })
            }
            Some(_) | None => Err(none),
        }
    }

    fn revival(&self) -> Result<Change, Refusal> {
        match self.end() {
            Some(End::Dead { .. }) if self.assignment.is_some() => Ok(Change::Revived {}),
            Some(_) | None => Err(Refusal::NotDead),
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
        over: Option<u32>,
        now: Time,
    ) -> Result<(), Refusal> {
        if epoch < self.epoch {
            return Err(Refusal::StaleEpoch { got: epoch, current: self.epoch });
        }
        if epoch > self.epoch {
            let current = self.epoch;
            return Err(match &self.phase {
                Phase::Running { .. } => Refusal::Running,
                // Somebody put it there who did not know that the task waits for something else.
                Phase::Blocked { .. } => Refusal::Parked("blocked"),
                Phase::Waiting { .. } => Refusal::Parked("waiting"),
                Phase::Submitted { .. } => Refusal::Parked("submitted"),
                Phase::Queued { .. }
                | Phase::Released { .. }
                | Phase::Ready { .. }
                | Phase::Ended { .. } => Refusal::Ahead { current },
            });
        }
        if let Some(word) = self.parked() {
            return Err(Refusal::Parked(word));
        }
        if let Some(current) = self.queue_seq().filter(|current| *current != queue_seq) {
            return Err(Refusal::OtherMessage { got: queue_seq, current });
        }
        if let Some(start) = self.running() {
            if &start.instance == instance && start.incarnation == incarnation {
                return Err(Refusal::Own { attempt: start.attempt });
            }
            // Before all doubts about another attempt: none is to begin while this one goes on.
            if over != Some(start.attempt) {
                return Err(Refusal::Held(Box::new(start.clone())));
            }
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
            // What waited for others may have been delegated for later, too.
            Phase::Ready { .. } if self.attempts == 0 => match &self.assignment {
                Some(assignment) => assignment.not_before,
                None => None,
            },
            Phase::Running { .. }
            | Phase::Blocked { .. }
            | Phase::Waiting { .. }
            | Phase::Submitted { .. }
            | Phase::Ready { .. }
            | Phase::Ended { .. } => None,
        }
    }

    /// Whether the task may be put on its queue as it stands. To be asked before anything is
    /// published: the queue takes whatever it gets.
    ///
    /// # Errors
    /// Why not: it runs, has ended, or waits for something else than a worker.
    pub const fn may_be_enqueued(&self) -> Result<(), Refusal> {
        match &self.phase {
            Phase::Ended { end, .. } => Err(Refusal::Ended(end.transition())),
            Phase::Running { .. } => Err(Refusal::Running),
            Phase::Blocked { .. } => Err(Refusal::Parked("blocked")),
            Phase::Waiting { .. } => Err(Refusal::Parked("waiting")),
            Phase::Submitted { .. } => Err(Refusal::Parked("submitted")),
            Phase::Queued { .. } | Phase::Released { .. } | Phase::Ready { .. } => Ok(()),
        }
    }

    fn enqueue_change(&self, command: &Command) -> Result<Change, Refusal> {
        let Command::Enqueue { epoch, queue_seq, not_before, reason } = command else {
            return Err(Refusal::Running);
        };
        self.may_be_enqueued()?;
        if *epoch <= self.epoch {
            return Err(Refusal::StaleEpoch { got: *epoch, current: self.epoch });
        }
        let spent = epoch.saturating_sub(self.epochs_forgiven);
        bound("epochs", spent.into(), u64::from(limits::EPOCHS) + 1)?;
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

fn bound_len(what: &'static str, count: usize, limit: usize) -> Result<(), Refusal> {
    let wide = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    bound(what, wide(count), wide(limit))
}
