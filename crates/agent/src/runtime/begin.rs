//! From a delivery in hand to a begun attempt, or to the reason why none begins. What an earlier
//! writer left unsaid (a `created`, an epoch) is said here first.

use base64::Engine as _;
use sinew_bus::{Delivery, ExecuteError, TaskLog};
use sinew_model::{
    Assignment, TaskId, Time, header,
    limits::{DEAD_BYTES, START_STEPS},
    signature::Verdict,
    task::{Change, Command, DeadCause, End, EnqueueReason, Refusal, ReleaseReason, Start, State},
};

use super::{
    host::Host,
    presence,
    sender::{self, Checked},
};

/// What is to be done with a delivery.
pub(crate) enum Begin {
    /// An attempt has begun.
    Run(Box<Begun>),
    /// The task has ended: do what is left to do, then ack.
    Ended(TaskLog),
    /// It waits for something else than a worker: do what is left to do, then ack.
    Parked(TaskLog),
    /// It moves nothing: ack.
    Drop(String),
    /// This process works under it already: leave it to that.
    Own,
    /// Another process does: leave it to that.
    Held,
    /// The next attempt may begin later.
    Later(TaskLog, Time),
    /// Something that is not the task's fault stood in the way: try again.
    Again(String),
}

impl Begin {
    /// The same, with who delegated the task.
    fn of(mut self, delegator: Verdict) -> Self {
        if let Self::Run(begun) = &mut self {
            begun.delegator = delegator;
        }
        self
    }
}

/// A begun attempt.
pub(crate) struct Begun {
    pub(crate) log: TaskLog,
    pub(crate) assignment: Assignment,
    pub(crate) start: Start,
    /// The sequence of its `started` entry.
    pub(crate) fence: u64,
    /// Who delegated it, as far as that can be known.
    pub(crate) delegator: Verdict,
}

/// A message that is no assignment.
struct Unusable {
    /// The task that it says it is, if it says one.
    id: Option<TaskId>,
    why: String,
}

/// Begins an attempt on a delivery, if one may begin.
pub(crate) async fn begin(host: &Host, delivery: &Delivery) -> Begin {
    let outcome = match decode(host, delivery) {
        Ok((assignment, epoch)) => {
            match Box::pin(sender::check(host, delivery, &assignment, epoch)).await {
                Ok(Checked::Good(delegator)) => {
                    let begin = start(host, delivery, assignment, epoch).await;
                    begin.map(|begin| begin.of(delegator))
                }
                Ok(Checked::Refused(why)) => Ok(Begin::Drop(why)),
                Err(error) => Err(error.into()),
            }
        }
        Err(unusable) => bury(host, delivery, unusable).await,
    };
    outcome.unwrap_or_else(|error| Begin::Again(chain(&error)))
}

fn decode(host: &Host, delivery: &Delivery) -> Result<(Assignment, u32), Unusable> {
    let body = delivery.payload();
    let id = || {
        let value: serde_json::Value = serde_json::from_slice(body).ok()?;
        value.get("taskId")?.as_str()?.parse().ok()
    };
    let unusable = |why: String| Unusable { id: id(), why };
    let assignment = Assignment::decode(body).map_err(|fault| unusable(fault.to_string()))?;
    assignment
        .check_route(host.bus.subjects().org(), &host.settings.role)
        .map_err(|fault| unusable(fault.to_string()))?;
    let epoch = header::epoch(
        &assignment.task_id,
        delivery.header(header::EPOCH),
        delivery.header(header::MSG_ID),
    );
    let epoch = epoch.ok_or_else(|| unusable("its epoch is not a number from 1".to_owned()))?;
    Ok((assignment, epoch))
}

async fn start(
    host: &Host,
    delivery: &Delivery,
    assignment: Assignment,
    epoch: u32,
) -> Result<Begin, ExecuteError> {
    let id = assignment.task_id.clone();
    // A glimpse that is behind is found out by the append that follows.
    let log = TaskLog::glimpse(&host.bus, id, host.by.clone()).await?;
    let mut log = log.not_before(delivery.stored());
    let queue_seq = Some(delivery.queue_seq());
    if log.state().is_some_and(|state| !is_of(state, &assignment)) {
        return bury_alien(host, delivery).await;
    }
    if log.state().is_none() {
        let create = Command::Create { assignment: Box::new(assignment), queue_seq };
        match log.execute(&create).await {
            Ok(_) | Err(ExecuteError::Refused(Refusal::Exists)) => {}
            Err(ExecuteError::Refused(Refusal::IdReused)) => {
                return bury_alien(host, delivery).await;
            }
            Err(error) => return Err(error),
        }
    }
    let mut over = None;
    for _ in 0..START_STEPS {
        let command = Command::Start {
            epoch,
            queue_seq: delivery.queue_seq(),
            instance: host.instance.clone(),
            incarnation: host.incarnation.clone(),
            ack: Some(delivery.ack_subject().to_string()),
            over,
        };
        match log.execute(&command).await {
            Ok(done) => return Ok(begun(log, done.seq, done.entry.change)),
            // The server hands over again what somebody works on where the lease was not renewed
            // in time, or where the consumer was deleted and made again.
            Err(ExecuteError::Refused(Refusal::Held(holder))) => {
                if presence::holds(host, log.id(), &holder).await {
                    return Ok(Begin::Held);
                }
                over = Some(holder.attempt);
            }
            Err(ExecuteError::Refused(refusal)) => {
                match heal(host, &mut log, &refusal, (epoch, delivery.queue_seq())).await? {
                    Healed::Retry => {}
                    Healed::Begin(begin) => return Ok(settle_on(begin, log)),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Begin::Again("the task moved on each time it was about to start".to_owned()))
}

/// Whether the task is the one that was delegated with this assignment.
fn is_of(state: &State, assignment: &Assignment) -> bool {
    state.assignment.as_deref().is_some_and(|known| known.same_work(assignment))
}

/// Keeps other work that came under the id of a task: acked away, it would be lost without a word.
async fn bury_alien(host: &Host, delivery: &Delivery) -> Result<Begin, ExecuteError> {
    let why = "its id belongs to another task".to_owned();
    bury(host, delivery, Unusable { id: None, why }).await
}

enum Healed {
    /// Ask again.
    Retry,
    /// It is decided.
    Begin(Decided),
}

enum Decided {
    Ended,
    Parked,
    Drop(String),
    Own,
    Later(Time),
}

fn settle_on(decided: Decided, log: TaskLog) -> Begin {
    match decided {
        Decided::Ended => Begin::Ended(log),
        Decided::Parked => Begin::Parked(log),
        Decided::Drop(why) => Begin::Drop(why),
        Decided::Own => Begin::Own,
        Decided::Later(until) => Begin::Later(log, until),
    }
}

/// What a refusal to start means for the delivery.
async fn heal(
    host: &Host,
    log: &mut TaskLog,
    refusal: &Refusal,
    (epoch, queue_seq): (u32, u64),
) -> Result<Healed, ExecuteError> {
    let decided = |decided| Ok(Healed::Begin(decided));
    match refusal {
        Refusal::Ended(_) => decided(Decided::Ended),
        Refusal::Parked(_) => decided(Decided::Parked),
        Refusal::Own { .. } if host.holds(log.id()) => decided(Decided::Own),
        Refusal::Own { attempt } => {
            // Its `started` was stored, but the answer got lost: nobody works on it.
            let (attempt, reason) = (*attempt, ReleaseReason::Orphaned);
            retry(log.execute(&Command::Release { attempt, reason, retry: None }).await)
        }
        Refusal::NotDue { until } => decided(Decided::Later(*until)),
        Refusal::Ahead { .. } => {
            let reason = EnqueueReason::Found;
            let queue_seq = Some(queue_seq);
            let found = Command::Enqueue { epoch, queue_seq, not_before: None, reason };
            retry(log.execute(&found).await)
        }
        Refusal::Doomed(cause) => {
            let detail = match cause {
                DeadCause::StartsExhausted => {
                    "it was started too often without a report; it may kill its worker"
                }
                DeadCause::DeadlinePassed
                | DeadCause::AttemptsExhausted
                | DeadCause::Undecodable
                | DeadCause::DependencyFailed
                | DeadCause::DeliveriesExhausted
                | DeadCause::BodyLost
                | DeadCause::Lost => "its deadline passed before it could start",
            };
            let detail = detail.to_owned();
            retry(log.execute(&Command::Bury { cause: *cause, detail, bytes: None }).await)
        }
        Refusal::NoTask
        | Refusal::Exists
        | Refusal::IdReused
        | Refusal::StaleEpoch { .. }
        | Refusal::OtherMessage { .. }
        | Refusal::Fenced { .. }
        | Refusal::EffectRecorded
        | Refusal::Limit { .. }
        | Refusal::Running
        | _ => decided(Decided::Drop(refusal.to_string())),
    }
}

/// Whether the heal took or somebody was faster, the next step sees it.
fn retry(healed: Result<sinew_bus::Done, ExecuteError>) -> Result<Healed, ExecuteError> {
    match healed {
        Ok(_) | Err(ExecuteError::Refused(_)) => Ok(Healed::Retry),
        Err(error) => Err(error),
    }
}

fn begun(log: TaskLog, fence: u64, change: Change) -> Begin {
    let assignment = log.state().and_then(|state| state.assignment.as_deref().cloned());
    match (assignment, change) {
        (Some(assignment), Change::Started(start)) => Begin::Run(Box::new(Begun {
            log,
            assignment,
            start,
            fence,
            delegator: Verdict::Unsigned,
        })),
        // A start is only ever answered by `started`, and only of a task with an assignment.
        _ => Begin::Again("the log answered a start with something else".to_owned()),
    }
}

/// Keeps a message that is no assignment: as `dead`, with its bytes, under the id that it claims
/// where that is free, else under one made from its content.
async fn bury(
    host: &Host,
    delivery: &Delivery,
    Unusable { id, why }: Unusable,
) -> Result<Begin, ExecuteError> {
    let body = delivery.payload();
    let kept = body.get(..DEAD_BYTES).unwrap_or(body);
    let which = format!("the message at {} of {}: ", delivery.queue_seq(), delivery.subject());
    let command = Command::Bury {
        cause: DeadCause::Undecodable,
        detail: format!("{which}{why}"),
        bytes: Some(base64::engine::general_purpose::STANDARD.encode(kept)),
    };
    let spare = TaskId::of_undecodable(delivery.queue_seq(), body);
    for id in id.into_iter().chain([spare.clone()]) {
        let mut log = TaskLog::read(&host.bus, id, host.by.clone()).await?;
        if log.state().is_some_and(|state| log.id() == &spare || keeps(state, &which)) {
            return Ok(Begin::Drop("it is kept as dead already".to_owned()));
        }
        if log.state().is_some() {
            continue;
        }
        match log.execute(&command).await {
            Ok(_) => {
                host.count(|counts| &counts.undecodable);
                tracing::warn!(task = %log.id(), %why, "a message that is no assignment is dead");
                return Ok(Begin::Drop(why));
            }
            Err(ExecuteError::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Begin::Again("no id was free to keep the message under".to_owned()))
}

/// Whether this is the dead task under which that message is kept. A message comes again where its
/// ack got lost.
fn keeps(state: &State, which: &str) -> bool {
    match state.end() {
        Some(End::Dead { cause: DeadCause::Undecodable, detail }) => detail.starts_with(which),
        Some(_) | None => false,
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
