//! Finds tasks that nothing can move any more, and moves them: onto their queue as the next epoch,
//! or to an end. What to look up and how to judge it is `model`'s ([`sinew_model::task::sweep`]);
//! what is here goes round the tasks that have not ended, fairly and within bounds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use sinew_agent::{AdvanceError, Client, FinishError, advance, enqueue};
use sinew_bus::{Bus, ExecuteError, HistoryError, RawMessage, RequestError, TaskLog, clock};
use sinew_model::{
    Assignment, InstanceId, Role, TaskId,
    limits::{SWEEP_AT_ONCE, SWEEP_EVERY, SWEEP_GRACE, SWEEP_PAUSE, SWEEP_STEP, SWEEP_TASKS},
    stream::{AGENT_TASKS, TASK_SCHEDULES},
    task::{
        Actor, Command, DeadCause, EnqueueReason, EscalationReason, Phase, ReleaseReason, State,
        sweep::{self, Evidence, Look, Verdict},
    },
};
use sinew_views::{
    Projection, QueryError,
    task::{FollowError, Round, Unended},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{parked, presence::Presence};

/// The name under which controllers write.
pub(crate) const CONTROLLERS: &str = "sinew";

/// How often and how soon the sweep looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two rounds.
    pub every: Duration,
    /// Time for which nothing must have happened to a task before it is doubted.
    pub grace: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: SWEEP_EVERY, grace: SWEEP_GRACE }
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Tasks that were looked at.
    pub looked: usize,
    /// Tasks that were put on their queue again.
    pub requeued: usize,
    /// Tasks that were given up.
    pub buried: usize,
    /// Tasks that could not be judged or moved now.
    pub failed: usize,
}

/// Goes round the tasks of one org.
#[derive(Debug)]
pub struct Sweep {
    bus: Bus,
    projection: Projection,
    presence: Presence,
    pace: Pace,
    by: Actor,
    /// Whether consumers give messages up after so many deliveries.
    gives_up: bool,
    /// Tasks that were found well, and when to look at them again: the longer a task stays as it
    /// is, the more rarely.
    well: HashMap<TaskId, Well>,
}

#[derive(Clone, Copy, Debug)]
struct Well {
    last_seq: u64,
    pause: Duration,
    next: Instant,
}

/// Why a task could not be moved.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("its log could not be read")]
    Read(#[from] HistoryError),
    #[error("the queue could not be looked at")]
    Look(#[from] RequestError),
    #[error("its log did not take the entry")]
    Execute(#[from] ExecuteError),
    #[error("it could not be put on its queue")]
    Enqueue(#[from] enqueue::EnqueueError),
    #[error("what it left outstanding is not done")]
    Finish(#[from] FinishError),
    #[error("it waits, and could not be moved")]
    Advance(#[from] AdvanceError),
    #[error("it is not known what it waits for")]
    Query(#[from] QueryError),
}

/// What became of one task.
enum Moved {
    Fine,
    Requeued,
    Buried,
}

impl Sweep {
    /// A sweep over the tasks that `projection` shows.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub fn new(
        bus: Bus,
        projection: Projection,
        presence: Presence,
        pace: Pace,
    ) -> Result<Self, sinew_model::IdError> {
        let role: Role = CONTROLLERS.parse()?;
        let instance: InstanceId = "sweep".parse()?;
        let by = Actor { role, instance: Some(instance) };
        Ok(Self { bus, projection, presence, pace, by, gives_up: false, well: HashMap::new() })
    }

    /// Looks for messages that their consumers have given up, too; nobody else need ask the server
    /// for that.
    #[must_use]
    pub const fn with_given_up(mut self, gives_up: bool) -> Self {
        self.gives_up = gives_up;
        self
    }

    /// Goes round until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock::pause(self.pace.every) => {}
            }
            // A round may wait for a server that is away, and whoever stops does not. Where it is
            // left in the middle, the next one finds the task as a crash would have left it.
            let round = tokio::select! {
                () = shutdown.cancelled() => return,
                round = self.round() => round,
            };
            match round {
                Ok(swept) if swept == (Swept { looked: swept.looked, ..Swept::default() }) => {
                    tracing::debug!(?swept, "the sweep found every task in good hands");
                }
                Ok(swept) => tracing::info!(?swept, "the sweep moved tasks"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the sweep could not go round"
                ),
            }
        }
    }

    /// Goes round once over all tasks that have not ended, up to the bound.
    ///
    /// # Errors
    /// When the view can't be read.
    pub async fn round(&mut self) -> Result<Swept, SweepError> {
        self.projection.catch_up(&self.bus).await?;
        let started = clock::instant();
        let mut swept = Swept::default();
        let mut after = 0;
        let mut seen: HashMap<TaskId, Well> = HashMap::new();
        while swept.looked < SWEEP_TASKS {
            let now = clock::now();
            let quiet_since = now.minus(self.pace.grace);
            let round = Round { after, limit: SWEEP_STEP, quiet_since, now };
            let tasks = self.projection.store().unended(round).await?;
            let Some(last) = tasks.last() else { break };
            after = last.first_seq;
            let due = tasks.into_iter().filter(|task| !self.is_well(task, started, &mut seen));
            let due: Vec<Unended> = due.collect();
            swept.looked += due.len();
            self.step(due, &mut swept, &mut seen).await;
        }
        self.well = seen;
        Ok(swept)
    }

    /// Whether a task was found well a while ago and nothing has happened to it since.
    fn is_well(&self, task: &Unended, now: Instant, seen: &mut HashMap<TaskId, Well>) -> bool {
        let known = self.well.get(&task.task_id).filter(|well| well.last_seq == task.last_seq);
        let Some(well) = known else { return false };
        seen.insert(task.task_id.clone(), *well);
        now < well.next && clock::now() < sweep::alarm(&task.state)
    }

    async fn step(&self, due: Vec<Unended>, swept: &mut Swept, seen: &mut HashMap<TaskId, Well>) {
        let this: Arc<&Self> = Arc::new(self);
        let mut moving = futures::stream::iter(due.into_iter().map(|task| {
            let this = Arc::clone(&this);
            async move {
                let moved = this.look_after(&task).await;
                (task, moved)
            }
        }))
        .buffer_unordered(SWEEP_AT_ONCE);
        while let Some((task, moved)) = moving.next().await {
            match moved {
                Ok(Moved::Fine) => {
                    let before = seen.get(&task.task_id).map(|well| well.pause);
                    let pause = before.map_or(self.pace.every, |pause| pause.saturating_mul(2));
                    let pause = pause.min(SWEEP_PAUSE);
                    let next = clock::instant() + pause;
                    let well = Well { last_seq: task.last_seq, pause, next };
                    seen.insert(task.task_id, well);
                }
                Ok(Moved::Requeued) => swept.requeued += 1,
                Ok(Moved::Buried) => swept.buried += 1,
                Err(error) => {
                    swept.failed += 1;
                    tracing::warn!(task = %task.task_id, error = &error as &dyn std::error::Error,
                        "a task that nothing moves could not be moved");
                }
            }
        }
    }

    /// Judges a task by the view; only where that finds it lost, its log is read and it is judged
    /// again, since the view may be behind.
    async fn look_after(&self, task: &Unended) -> Result<Moved, MoveError> {
        if self.judge(&task.task_id, &task.state).await? == Verdict::Fine {
            return Ok(Moved::Fine);
        }
        let mut log = TaskLog::read(&self.bus, task.task_id.clone(), self.by.clone()).await?;
        let Some(state) = log.state().cloned() else { return Ok(Moved::Fine) };
        let verdict = self.judge(&task.task_id, &state).await?;
        match self.carry_out(&mut log, &state, verdict).await {
            // Somebody moved it in the meantime, which is all that was wanted.
            Err(MoveError::Execute(ExecuteError::Refused(_))) => Ok(Moved::Fine),
            Err(MoveError::Enqueue(error)) if error.refusal().is_some() => Ok(Moved::Fine),
            moved => moved,
        }
    }

    async fn judge(&self, id: &TaskId, state: &State) -> Result<Verdict, MoveError> {
        let now = clock::now();
        let mut parked = false;
        let there = match sweep::look(state, now, self.pace.grace) {
            Look::Nowhere => true,
            Look::Queue(seq) => {
                let message = self.bus.at(AGENT_TASKS, seq).await?;
                // A queue that was made anew counts from 1 again, so it may be another's message.
                let is_own = |message: &RawMessage| {
                    Assignment::decode(&message.payload).is_ok_and(|it| it.task_id == *id)
                };
                match message.filter(is_own) {
                    Some(message) => {
                        parked = self.gives_up
                            && parked::is_given_up(&self.bus, &message.subject, seq).await?;
                        true
                    }
                    None => false,
                }
            }
            Look::Schedule => {
                let schedule = self.bus.subjects().schedule(id);
                self.bus.last(TASK_SCHEDULES, schedule.as_str()).await?.is_some()
            }
            // What the view does not rightly hold is looked at in the logs, all of it at once.
            Look::Others | Look::Verification => {
                self.projection.store().is_held(id.clone()).await?
            }
        };
        let alive = state
            .running()
            .is_some_and(|start| self.presence.is_alive(&start.instance, &start.incarnation));
        Ok(sweep::judge(state, Evidence { there, parked, alive }, now, self.pace.grace))
    }

    async fn carry_out(
        &self,
        log: &mut TaskLog,
        state: &State,
        verdict: Verdict,
    ) -> Result<Moved, MoveError> {
        match verdict {
            Verdict::Fine => return Ok(Moved::Fine),
            Verdict::Bury { cause, detail } => {
                log.execute(&Command::Bury { cause, detail, bytes: None }).await?;
                tracing::warn!(task = %log.id(), ?cause, "a task was given up");
                let client = Client::new(self.bus.clone(), self.by.role.clone());
                if let Some(state) = log.state() {
                    client.finish(state).await?;
                }
                if let (DeadCause::DeliveriesExhausted, Some(seq)) = (cause, state.queue_seq()) {
                    parked::remove(&self.bus, seq).await?;
                }
                return Ok(Moved::Buried);
            }
            Verdict::Resume | Verdict::Escalate(EscalationReason::Unverified) => {
                let before = log.last_seq();
                advance(&self.bus, &self.by, log).await?;
                return Ok(if log.last_seq() == before { Moved::Fine } else { Moved::Requeued });
            }
            Verdict::Escalate(reason) => {
                log.execute(&Command::Escalate { reason }).await?;
                advance(&self.bus, &self.by, log).await?;
                return Ok(Moved::Requeued);
            }
            Verdict::Requeue if matches!(state.phase, Phase::Ready { .. }) => {
                advance(&self.bus, &self.by, log).await?;
                return Ok(Moved::Requeued);
            }
            Verdict::Requeue => {}
            Verdict::ReleaseAndRequeue { attempt } => {
                let reason = ReleaseReason::Orphaned;
                log.execute(&Command::Release { attempt, reason, retry: None }).await?;
            }
        }
        enqueue::again(&self.bus, log, EnqueueReason::Lost, state.waits_until()).await?;
        tracing::warn!(task = %log.id(), "a task that nothing moved is on its queue again");
        Ok(Moved::Requeued)
    }
}

/// Why the sweep could not go round.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The view is not up with the log.
    #[error("the view of the tasks is not up with their log")]
    Follow(#[from] FollowError),
    /// The view can't be read.
    #[error("the view of the tasks can't be read")]
    Query(#[from] QueryError),
}
