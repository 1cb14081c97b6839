//! Moves a task that waits for something else than a worker: asks its question, looks whether what
//! it waits for has ended, has its result judged, puts it on its queue again. All of it is decided
//! by compare-and-set on the task and may be repeated, so it is done by whoever comes first: the
//! runtime that let go of the task, a client that answers, the controllers, a worker that finds
//! the task's old message.

use std::collections::VecDeque;

use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_bus::{Bus, ExecuteError, HistoryError, PublishError, TaskLog, clock};
use sinew_model::{
    Role, TaskId,
    claim::Side,
    limits::{ADVANCE_STEPS, TASKS_READ_AT_ONCE, TITLE_BYTES, WAITS_FOLLOWED, head},
    task::{
        Actor, Assignment, Command, DeadCause, End, EscalationReason, Phase, Refusal, State,
        wait::{self, Ends, Waits},
    },
};

use crate::{
    body::{self, Body, BodyError},
    client::{Client, DelegateError, FinishError},
    enqueue::{self, EnqueueError},
    report,
};

/// Why a task that could be moved was not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvanceError {
    /// The log of it, or of a task that it waits for, could not be read.
    #[error("a task's log could not be read")]
    Read(#[from] HistoryError),
    /// The log did not take the entry.
    #[error("the log did not take the entry")]
    Execute(#[from] ExecuteError),
    /// It could not be put on its queue.
    #[error("it could not be put on its queue")]
    Enqueue(#[from] EnqueueError),
    /// Nobody was asked.
    #[error("the question was not sent")]
    Ask(#[from] PublishError),
    /// What it had recorded, or its end's report, is outstanding.
    #[error("what it left outstanding is not done")]
    Finish(#[from] FinishError),
    /// Its input or result, which is to be judged, could not be had.
    #[error("what is to be judged could not be had")]
    Body(#[from] BodyError),
    /// Its verification was not delegated.
    #[error("its verification could not be delegated")]
    Verify(#[from] DelegateError),
}

impl AdvanceError {
    /// The log's refusal, if it is one: somebody else moved the task first.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Execute(error) => error.refusal(),
            Self::Enqueue(error) => error.refusal(),
            Self::Read(_) | Self::Ask(_) | Self::Finish(_) | Self::Body(_) | Self::Verify(_) => {
                None
            }
        }
    }
}

/// Moves a task as far as it can be moved now. Where it waits for what has not come yet, nothing
/// happens; who is to be asked is asked again, under the same id.
///
/// # Errors
/// See [`AdvanceError`]. A refusal of the log means that somebody else was faster, and is none.
pub async fn advance(bus: &Bus, by: &Actor, log: &mut TaskLog) -> Result<(), AdvanceError> {
    for _ in 0..ADVANCE_STEPS {
        let Some(state) = log.state().cloned() else { return Ok(()) };
        let moved = match step(bus, by, log, &state).await {
            Ok(moved) => moved,
            // Somebody was faster: what the log says now is to be looked at.
            Err(error) if error.refusal().is_some() => {
                log.refresh().await?;
                log.state().is_some_and(|now| now.phase != state.phase)
            }
            Err(error) => return Err(error),
        };
        if !moved {
            return Ok(());
        }
    }
    Ok(())
}

/// One step; `false` where there is none to take.
async fn step(
    bus: &Bus,
    by: &Actor,
    log: &mut TaskLog,
    state: &State,
) -> Result<bool, AdvanceError> {
    match &state.phase {
        Phase::Ready { reason } => {
            enqueue::again(bus, log, *reason, state.waits_until()).await?;
            Ok(false)
        }
        Phase::Blocked { .. } => {
            report::question(bus, &by.role, state).await?;
            Ok(false)
        }
        Phase::Waiting { on } => waiting(bus, by, log, (state, on)).await,
        Phase::Submitted { escalated_to: Some(_), .. } => {
            report::question(bus, &by.role, state).await?;
            Ok(false)
        }
        Phase::Submitted { result, .. } => {
            carry_out_effects(bus, state, |_| false).await?;
            submitted(bus, log, (state, result)).await
        }
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Ended { .. } => Ok(false),
    }
}

/// A task that waits for others counts on what it has delegated to exist.
async fn carry_out_effects(
    bus: &Bus,
    state: &State,
    exists: impl Fn(&TaskId) -> bool,
) -> Result<(), AdvanceError> {
    let Some(assignment) = &state.assignment else { return Ok(()) };
    let client = Client::new(bus.clone(), assignment.role.clone());
    Ok(Box::pin(client.carry_out_others(state, exists)).await?)
}

async fn waiting(
    bus: &Bus,
    by: &Actor,
    log: &mut TaskLog,
    (state, on): (&State, &[TaskId]),
) -> Result<bool, AdvanceError> {
    let survey = Survey::of(bus, log.id(), on).await?;
    carry_out_effects(bus, state, |child| survey.states.contains_key(child)).await?;
    match wait::judge(state, &survey.ends) {
        None => Ok(false),
        Some(wait::Outcome::Over) => {
            log.execute(&Command::Resume { cycle: Vec::new() }).await?;
            Ok(true)
        }
        Some(wait::Outcome::Broken { cause, detail }) => {
            bury(bus, by, log, cause, detail).await?;
            Ok(false)
        }
        Some(wait::Outcome::Still(_)) => match wait::cycle(log.id(), &survey.waits) {
            Some(cycle) => break_cycle(bus, by, log, cycle).await,
            None => Ok(false),
        },
    }
}

async fn bury(
    bus: &Bus,
    by: &Actor,
    log: &mut TaskLog,
    cause: DeadCause,
    detail: String,
) -> Result<(), AdvanceError> {
    tracing::warn!(task = %log.id(), detail, "a task is dead");
    log.execute(&Command::Bury { cause, detail, bytes: None }).await?;
    if let Some(state) = log.state() {
        Client::new(bus.clone(), by.role.clone()).finish(state).await?;
    }
    Ok(())
}

/// Two tasks may have begun to wait for each other at the same moment, each before the other's
/// entry was stored. Of those in the circle the one with the lowest id goes on, whoever finds out;
/// where its handler waits again, it is refused with the circle.
async fn break_cycle(
    bus: &Bus,
    by: &Actor,
    log: &mut TaskLog,
    cycle: Vec<TaskId>,
) -> Result<bool, AdvanceError> {
    let Some(first) = cycle.iter().min().cloned() else { return Ok(false) };
    tracing::warn!(?cycle, "tasks wait for each other; the first of them goes on");
    if &first == log.id() {
        log.execute(&Command::Resume { cycle }).await?;
        return Ok(true);
    }
    let mut other = TaskLog::read(bus, first, by.clone()).await?;
    other.execute(&Command::Resume { cycle }).await?;
    Box::pin(advance(bus, by, &mut other)).await?;
    Ok(false)
}

/// Has a result judged by a task of the verifier's; once that has ended, its verdict counts.
async fn submitted(
    bus: &Bus,
    log: &mut TaskLog,
    (state, result): (&State, &Value),
) -> Result<bool, AdvanceError> {
    let Some((assignment, id)) = state.assignment.as_deref().zip(state.verification()) else {
        return Ok(false);
    };
    let Some(verifier) = assignment.verifier.clone() else { return Ok(false) };
    let client = Client::new(bus.clone(), assignment.role.clone());
    let judging = match client.state(&id).await? {
        Some(judging) => judging,
        None => {
            let result = body::result(bus, state).await?.unwrap_or_else(|| result.clone());
            let assignment = body::whole(bus, assignment.clone()).await?;
            let (judging, body) = verification(assignment, (id, verifier), &result);
            client.carry_out(judging, body, false).await?;
            return Ok(false);
        }
    };
    let command = match judging.end() {
        None => return Ok(false),
        Some(End::Completed { result, .. }) => verdict(&verifier, result),
        Some(_) => None,
    };
    let escalate = Command::Escalate { reason: EscalationReason::Unverified };
    log.execute(&command.unwrap_or(escalate)).await?;
    if let Some(state) = log.state()
        && state.end().is_some()
    {
        client.finish(state).await?;
    }
    Ok(true)
}

/// What a verifier's result says; `None` where it says neither yes nor no.
fn verdict(verifier: &Role, result: &Value) -> Option<Command> {
    let by = verifier.clone();
    // A program prints its verdict as text.
    let parsed = result.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    let result = parsed.as_ref().unwrap_or(result);
    if result.get("accepted")?.as_bool()? {
        let evidence = result.get("evidence").cloned().unwrap_or_default();
        return Some(Command::Accept { by, evidence });
    }
    let reason = result.get("reason").and_then(Value::as_str).unwrap_or("without a reason");
    Some(Command::Refuse { by, reason: reason.to_owned() })
}

/// The task that judges a result.
fn verification(
    assignment: Assignment,
    (task_id, role): (TaskId, Role),
    result: &Value,
) -> (Assignment, Option<Body>) {
    let title = format!("Verify: {}", assignment.title);
    let input = json!({
        "verify": assignment.task_id,
        "title": assignment.title,
        "input": assignment.input,
        "result": result,
    });
    let (input, body) = Body::split(&task_id, Side::Input, input);
    let judging = Assignment {
        task_id,
        role,
        title: head(&title, TITLE_BYTES).to_owned(),
        input,
        input_ref: body.as_ref().map(|body| body.claim.clone()),
        parent: Some(assignment.task_id.clone()),
        created_at: clock::now(),
        deadline: assignment.deadline,
        not_before: None,
        after: Vec::new(),
        after_any: false,
        verifier: None,
        // The delegator did not sign this one; see how a runtime finds out for whom it is.
        proof: None,
        ..assignment
    };
    (judging, body)
}

impl Client {
    /// Answers the question of a blocked task, which goes back onto its queue. `key` names the
    /// question that is meant; `None`: whichever is open.
    ///
    /// # Errors
    /// See [`AdvanceError`]; a refusal says that the task has no such question, or that the answer
    /// is none of its choices. After any other error the answer may have been taken; then the
    /// controllers go on.
    pub async fn answer(
        &self,
        id: &TaskId,
        key: Option<&str>,
        answer: Value,
    ) -> Result<(), AdvanceError> {
        self.move_on(id, &Command::Answer { key: key.map(ToOwned::to_owned), answer }).await
    }

    /// Accepts a submitted result on behalf of this client's role: the task is completed.
    ///
    /// # Errors
    /// See [`AdvanceError`]; a refusal says that there is no such result, or that it is the role's
    /// own work.
    pub async fn accept(&self, id: &TaskId, evidence: Value) -> Result<(), AdvanceError> {
        let by = self.role().clone();
        self.move_on(id, &Command::Accept { by, evidence }).await
    }

    /// Refuses a submitted result on behalf of this client's role: the task goes back to a worker
    /// with the reason, or after three refusals in a row to a person.
    ///
    /// # Errors
    /// As [`Client::accept`].
    pub async fn refuse(&self, id: &TaskId, reason: &str) -> Result<(), AdvanceError> {
        let by = self.role().clone();
        self.move_on(id, &Command::Refuse { by, reason: reason.to_owned() }).await
    }

    /// Revives a dead task: it goes back onto its queue, with its attempts counted anew and at
    /// least 7 days of time.
    ///
    /// # Errors
    /// See [`AdvanceError`]; a refusal says that the task is not dead.
    pub async fn retry(&self, id: &TaskId) -> Result<(), AdvanceError> {
        self.move_on(id, &Command::Revive).await
    }

    async fn move_on(&self, id: &TaskId, command: &Command) -> Result<(), AdvanceError> {
        let mut log = TaskLog::read(self.bus(), id.clone(), self.by().clone()).await?;
        log.execute(command).await?;
        match log.state() {
            Some(state) if state.end().is_some() => Ok(self.finish(state).await?),
            _ => advance(self.bus(), self.by(), &mut log).await,
        }
    }
}

/// What the logs of the tasks say that one waits for, and of those that they wait for.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) ends: Ends,
    pub(crate) waits: Waits,
    /// The states of those that the task itself waits for.
    pub(crate) states: std::collections::BTreeMap<TaskId, State>,
}

impl Survey {
    /// Reads the tasks that `id` waits for, and on along their waits, up to
    /// [`WAITS_FOLLOWED`] tasks.
    pub(crate) async fn of(bus: &Bus, id: &TaskId, on: &[TaskId]) -> Result<Self, HistoryError> {
        let mut survey = Self::default();
        survey.waits.insert(id.clone(), on.to_vec());
        let mut open: VecDeque<TaskId> = on.iter().cloned().collect();
        let mut own = true;
        while !open.is_empty() && survey.ends.len() < WAITS_FOLLOWED {
            let layer = std::mem::take(&mut open);
            let mut reading = futures::stream::iter(layer.into_iter().map(|task| async move {
                let state = bus.history(&task).await?.task.state;
                Ok::<_, HistoryError>((task, state))
            }))
            .buffer_unordered(TASKS_READ_AT_ONCE);
            while let Some(read) = reading.next().await {
                let (task, state) = read?;
                let end = state.as_ref().and_then(|state| state.end());
                survey.ends.insert(task.clone(), end.map(End::transition));
                let Some(state) = state else { continue };
                if let Phase::Waiting { on } = &state.phase {
                    survey.waits.insert(task.clone(), on.clone());
                    let known = |next: &&TaskId| !survey.ends.contains_key(*next);
                    open.extend(on.iter().filter(known).cloned());
                }
                if own {
                    survey.states.insert(task, state);
                }
            }
            own = false;
        }
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_a_yes_or_a_no_and_nothing_else() {
        let verifier: Role = "qa".parse().unwrap();
        let says = |result: Value| verdict(&verifier, &result);
        let yes = Some(Command::Accept { by: verifier.clone(), evidence: json!("ran it") });
        assert_eq!(says(json!({ "accepted": true, "evidence": "ran it" })), yes);
        assert_eq!(says(json!(r#"{"accepted": true, "evidence": "ran it"}"#)), yes);
        let no = says(json!({ "accepted": false, "reason": "it fails" }));
        assert_eq!(no, Some(Command::Refuse { by: verifier.clone(), reason: "it fails".into() }));
        assert_eq!(says(json!("looks good")), None);
        assert_eq!(says(json!({ "accepted": "yes" })), None);
    }
}
