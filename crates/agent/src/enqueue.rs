//! Putting a task on its queue: the first time, and every later time as the next epoch. What is
//! published comes first and what the log says second, so that a crash in between leaves a
//! message that a worker can make sense of, and never a log that names a message that is not there.

use sinew_bus::{Bus, ExecuteError, Outgoing, PublishError, RequestError, TaskLog, clock};
use sinew_model::{
    Assignment, Time, header,
    limits::{self, EPOCHS, SCHEDULES_STORED, SCHEDULES_TAKEN},
    stream::{AGENT_TASKS, TASK_SCHEDULES},
    task::{AssignmentError, Command, EnqueueReason, Refusal},
};

/// Why a task is not on its queue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The task does not exist, or what it was delegated with could not be decoded.
    #[error("there is no assignment to put on the queue")]
    NoAssignment,
    /// The assignment breaks a rule.
    #[error("the assignment is not acceptable")]
    Assignment(#[from] AssignmentError),
    /// The queue did not take it.
    #[error("the queue did not take the task")]
    Publish(#[from] PublishError),
    /// There are nearly as many schedules as their stream holds; one more might push an older one
    /// out. Try again when some have fired.
    #[error("there are {stored} schedules, and no more than {taken} are taken")]
    SchedulesFull {
        /// How many there are.
        stored: u64,
        /// How many are taken.
        taken: u64,
    },
    /// The queue could not be read.
    #[error("the queue could not be read")]
    Read(#[from] RequestError),
    /// The log did not take the epoch.
    #[error("the log did not take the epoch")]
    Execute(#[from] ExecuteError),
}

impl EnqueueError {
    /// The log's refusal, if it is one: somebody else moved the task first.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Execute(error) => error.refusal(),
            Self::NoAssignment
            | Self::Assignment(_)
            | Self::Publish(_)
            | Self::SchedulesFull { .. }
            | Self::Read(_) => None,
        }
    }
}

/// Where an assignment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Its sequence in the queue; `None` while a schedule holds it.
    pub(crate) queue_seq: Option<u64>,
    /// It was there before, under the same id.
    pub(crate) duplicate: bool,
}

/// Publishes one epoch of an assignment: on its queue, or on a schedule if `not_before` is still
/// to come.
pub(crate) async fn place(
    bus: &Bus,
    assignment: &Assignment,
    epoch: u32,
    not_before: Option<Time>,
) -> Result<Placed, EnqueueError> {
    let body = assignment.encode()?;
    let id = header::assignment_id(&assignment.task_id, epoch);
    let (role, band) = (&assignment.role, assignment.priority);
    let subjects = bus.subjects();
    if let Some(at) = not_before.filter(|at| *at > clock::now()) {
        if let Some((stored, taken)) = full(bus).await? {
            return Err(EnqueueError::SchedulesFull { stored, taken });
        }
        let out = Outgoing::new(TASK_SCHEDULES, subjects.schedule(&assignment.task_id), body)
            .id(id)
            .header(header::EPOCH, epoch.to_string())
            .header(header::SCHEDULE, format!("@at {at}"))
            .header(header::SCHEDULE_TARGET, subjects.due(role, band).to_string())
            .header(header::SCHEDULE_TTL, format!("{}s", limits::FIRED_KEPT.as_secs()))
            .read_on(subjects.tasks(role, band), at);
        let accepted = bus.publish(out).await?;
        return Ok(Placed { queue_seq: None, duplicate: accepted.duplicate });
    }
    let out = Outgoing::new(AGENT_TASKS, subjects.tasks(role, band), body)
        .id(id)
        .header(header::EPOCH, epoch.to_string());
    let accepted = bus.publish(out).await?;
    Ok(Placed { queue_seq: Some(accepted.seq), duplicate: accepted.duplicate })
}

/// How many schedules there are and are taken, where no further one is. The share is that of the
/// standard limit, whatever limit the stream was given.
pub(crate) async fn full(bus: &Bus) -> Result<Option<(u64, u64)>, RequestError> {
    let state = bus.stream_state(TASK_SCHEDULES).await?;
    let standard = u64::try_from(SCHEDULES_STORED).unwrap_or(SCHEDULES_TAKEN);
    let most = state.most.unwrap_or(standard);
    let part = u128::from(most) * u128::from(SCHEDULES_TAKEN) / u128::from(standard.max(1));
    let taken = u64::try_from(part).unwrap_or(u64::MAX);
    Ok((state.messages >= taken).then_some((state.messages, taken)))
}

/// Puts a task on its queue again, as its next epoch, and records it.
///
/// # Errors
/// See [`EnqueueError`]. Where the log refuses, somebody else moved the task first; what was
/// published is then of no epoch that counts, and whoever takes it drops it.
pub async fn again(
    bus: &Bus,
    log: &mut TaskLog,
    reason: EnqueueReason,
    not_before: Option<Time>,
) -> Result<(), EnqueueError> {
    let state = log.state().ok_or(EnqueueError::NoAssignment)?;
    state.may_be_enqueued().map_err(ExecuteError::Refused)?;
    let assignment = state.assignment.clone().ok_or(EnqueueError::NoAssignment)?;
    let mut epoch = state.epoch.saturating_add(1);
    let not_before = not_before.filter(|at| *at > clock::now());
    loop {
        let placed = place(bus, &assignment, epoch, not_before).await?;
        // The queue remembers an id longer than it keeps the message of it. A message of this
        // epoch that was taken already moves nothing, so the epoch is spent: take the next.
        if placed.duplicate && !still_there(bus, placed).await? && epoch < EPOCHS {
            epoch = epoch.saturating_add(1);
            continue;
        }
        let queue_seq = placed.queue_seq;
        log.execute(&Command::Enqueue { epoch, queue_seq, not_before, reason }).await?;
        return Ok(());
    }
}

async fn still_there(bus: &Bus, placed: Placed) -> Result<bool, RequestError> {
    match placed.queue_seq {
        Some(seq) => Ok(bus.at(AGENT_TASKS, seq).await?.is_some()),
        None => Ok(true),
    }
}
