//! Gives back what a process held that is gone. The server tells which deliveries of a role are
//! still open; the log tells which of them belong to the dead: these are released, and only what
//! the log has released is handed out again. A delivery that was taken and not yet begun, or ended
//! in the log and not yet acked, is nobody's by the log. Whoever has it moves within moments, unless
//! it is gone: where nothing has moved after a grace, it is handed out again. The cost is that of
//! the open deliveries, however long the log is.

use sinew_bus::{AckError, AckSubject, Bus, ExecuteError, HistoryError, RequestError, TaskLog};
use sinew_model::{
    Assignment, Band, Role, TaskId,
    limits::ACK_PENDING,
    stream::{AGENT_TASKS, work_consumer_name},
    task::{Actor, Command, ReleaseReason, Start, State},
};

/// Gives back tasks of one role.
#[derive(Clone, Debug)]
pub struct Reclaim {
    bus: Bus,
    role: Role,
    by: Actor,
    reason: ReleaseReason,
}

/// A delivery that is open, and nobody works on it.
#[derive(Debug)]
pub struct Idle {
    /// The task's log; `None` where the message is no assignment.
    log: Option<TaskLog>,
    seq: u64,
    /// Where it is ended.
    ack: AckSubject,
}

impl Idle {
    /// The sequence of its message in the queue.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }
}

/// Why something was not given back. It comes back when its ack wait is over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReclaimError {
    /// The queue could not be looked at.
    #[error("the open deliveries could not be looked at")]
    Look(#[from] RequestError),
    /// A log could not be read.
    #[error("the log of an open task could not be read")]
    Read(#[from] HistoryError),
    /// A log did not take the release.
    #[error("an attempt could not be released")]
    Execute(#[from] ExecuteError),
    /// The delivery could not be made again.
    #[error("an open delivery could not be handed out again")]
    Nak(#[from] AckError),
}

impl Reclaim {
    /// For the tasks of a role, in the name of `by`, who says why.
    #[must_use]
    pub const fn new(bus: Bus, role: Role, by: Actor, reason: ReleaseReason) -> Self {
        Self { bus, role, by, reason }
    }

    /// Releases the open attempts of a band for which `is_gone` holds, and gives what is open and
    /// belongs to nobody.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub async fn release_band(
        &self,
        band: Band,
        is_gone: impl Fn(&Start) -> bool + Send + Sync,
    ) -> Result<Vec<Idle>, ReclaimError> {
        let mut idle = Vec::new();
        let consumer = work_consumer_name(&self.role, band);
        let Some(open) = self.bus.open_deliveries(AGENT_TASKS, &consumer).await? else {
            return Ok(idle);
        };
        let subject = self.bus.subjects().tasks(&self.role, band);
        let mut from = open.first;
        for _ in 0..ACK_PENDING {
            let next = self.bus.first_from(AGENT_TASKS, subject.as_str(), from).await?;
            let Some(message) = next else { break };
            let seq = message.seq;
            if seq > open.last {
                break;
            }
            from = seq.saturating_add(1);
            let ack = AckSubject::of_open(AGENT_TASKS, &consumer, seq, open.newest_delivery);
            let Ok(assignment) = Assignment::decode(&message.payload) else {
                idle.push(Idle { log: None, seq, ack });
                continue;
            };
            let log = TaskLog::read(&self.bus, assignment.task_id, self.by.clone()).await?;
            if log.state().is_none_or(|state| is_idle(state, seq)) {
                idle.push(Idle { log: Some(log), seq, ack });
            } else {
                let is_its = |start: &Start| start.queue_seq == seq && is_gone(start);
                self.release(log, Some(ack), is_its).await?;
            }
        }
        Ok(idle)
    }

    /// Releases the attempt of a task if `is_gone` holds for it.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub async fn release_task(
        &self,
        id: TaskId,
        is_gone: impl Fn(&Start) -> bool + Send + Sync,
    ) -> Result<(), ReclaimError> {
        let log = TaskLog::read(&self.bus, id, self.by.clone()).await?;
        self.release(log, None, is_gone).await
    }

    /// The nak follows only what the log took: of two that release an attempt, one naks.
    async fn release(
        &self,
        mut log: TaskLog,
        open: Option<AckSubject>,
        is_gone: impl Fn(&Start) -> bool + Send + Sync,
    ) -> Result<(), ReclaimError> {
        let running = log.state().and_then(State::running).filter(|start| is_gone(start));
        let Some(start) = running.cloned() else { return Ok(()) };
        let (attempt, reason) = (start.attempt, self.reason);
        match log.execute(&Command::Release { attempt, reason, retry: None }).await {
            Ok(_) => {}
            Err(ExecuteError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        tracing::info!(task = %log.id(), attempt, instance = %start.instance,
            "released what a process held that is gone");
        // Where the consumer was made anew meanwhile, only what is open now is where it says.
        let told = start.ack.and_then(|ack| ack.parse::<AckSubject>().ok());
        if let Some(ack) = open.or(told) {
            self.bus.nak_on_behalf(&ack).await?;
        }
        Ok(())
    }

    /// Has a delivery made again on which nobody has worked since it was found, and says whether
    /// that was so. Where somebody begins at this very moment, another one finds that it works.
    ///
    /// # Errors
    /// See [`ReclaimError`].
    pub async fn hand_out(&self, open: Idle) -> Result<bool, ReclaimError> {
        let Idle { log, seq, ack } = open;
        if let Some(mut log) = log {
            let before = log.last_seq();
            log.refresh().await?;
            if log.last_seq() != before {
                return Ok(false);
            }
        }
        if self.bus.at(AGENT_TASKS, seq).await?.is_none() {
            return Ok(false);
        }
        tracing::info!(
            seq,
            "nobody works on what was taken from the queue; it is handed out again"
        );
        self.bus.nak_on_behalf(&ack).await?;
        Ok(true)
    }
}

/// Whether nobody works on the task, and this is its message.
fn is_idle(state: &State, seq: u64) -> bool {
    state.running().is_none() && state.queue_seq().is_none_or(|queue_seq| queue_seq == seq)
}
