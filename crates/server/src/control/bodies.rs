//! Deletes large bodies that no task claims any more: those of tasks whose log was purged, those
//! of a delegation or an attempt that broke off before the log had its claim, and chunks that no
//! object names. What may go is `model`'s to say ([`sinew_model::claim::may_go`]). It may run twice:
//! a version of an object is deleted by compare-and-set, and one that was stored again stays.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use sinew_agent::body::NOTE_PARENT;
use sinew_bus::{Bus, CollectError, HistoryError, Object, RequestError, clock};
use sinew_model::{
    Assignment, TaskId,
    claim::{self, Evidence},
    limits::{BODIES_EVERY, BODIES_KEPT},
    stream::{AGENT_TASKS, TASK_SCHEDULES},
    task::State,
};
use tokio_util::sync::CancellationToken;

/// How often it looks, and what it leaves alone.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two rounds.
    pub every: Duration,
    /// How long an object is kept that nobody claims.
    pub keep: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: BODIES_EVERY, keep: BODIES_KEPT }
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were looked at.
    pub looked: usize,
    /// Objects that were deleted.
    pub deleted: usize,
    /// Bodies that were deleted which no object named.
    pub strays: usize,
}

/// Why it could not go round.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodiesError {
    /// The object store or a queue could not be read.
    #[error("the object store or a queue could not be read")]
    Read(#[from] RequestError),
    /// A task's log could not be read.
    #[error("the log of a task could not be read")]
    Log(#[from] HistoryError),
    /// An object could not be deleted.
    #[error("an object could not be deleted")]
    Collect(#[from] CollectError),
}

/// Goes round the object store of one org.
#[derive(Debug)]
pub struct Collector {
    bus: Bus,
    pace: Pace,
}

/// What one round has looked up, since several objects may ask for the same.
#[derive(Default)]
struct Seen {
    logs: HashMap<TaskId, Option<State>>,
    /// The tasks that wait; `None` before somebody asked.
    waiting: Option<BTreeSet<TaskId>>,
}

impl Collector {
    /// A collector for the object store of the connection's org.
    #[must_use]
    pub const fn new(bus: Bus, pace: Pace) -> Self {
        Self { bus, pace }
    }

    /// Goes round until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = clock::pause(self.pace.every) => {}
            }
            // What a round leaves half done, the next one ends.
            let round = tokio::select! {
                () = shutdown.cancelled() => return,
                round = self.round() => round,
            };
            match round {
                Ok(Collected { deleted: 0, strays: 0, .. }) => {}
                Ok(collected) => tracing::info!(?collected, "large bodies were deleted"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "large bodies could not be collected"
                ),
            }
        }
    }

    /// Goes once through all objects.
    ///
    /// # Errors
    /// See [`BodiesError`].
    pub async fn round(&self) -> Result<Collected, BodiesError> {
        let (mut collected, mut seen) = (Collected::default(), Seen::default());
        for object in self.bus.objects().await? {
            collected.looked += 1;
            let goes = object.is_deleted() || self.may_go(&object, &mut seen).await?;
            if goes && self.bus.delete_object(&object).await? {
                collected.deleted += 1;
                tracing::info!(object = object.name, "a large body that nobody claims is deleted");
            }
        }
        let before = clock::now().minus(self.pace.keep);
        collected.strays = self.bus.drop_strays(before).await?;
        Ok(collected)
    }

    async fn may_go(&self, object: &Object, seen: &mut Seen) -> Result<bool, BodiesError> {
        let age = clock::now().since(object.stored_at);
        // Whoever put something else there knows when it may go.
        let Some(id) = claim::owner(&object.name) else { return Ok(false) };
        if age < self.pace.keep {
            return Ok(false);
        }
        let (logged, mut claimed) = self.claims(&id, object, seen).await?;
        if let Some(parent) = object.notes.get(NOTE_PARENT).and_then(|id| id.parse().ok()) {
            claimed |= self.claims(&parent, object, seen).await?.1;
        }
        let queued = !claimed && !logged && self.waits(&id, seen).await?;
        Ok(claim::may_go(Evidence { age, claimed, logged, queued }, self.pace.keep))
    }

    /// Whether the task has a log, and whether that claims the object.
    async fn claims(
        &self,
        id: &TaskId,
        object: &Object,
        seen: &mut Seen,
    ) -> Result<(bool, bool), BodiesError> {
        if !seen.logs.contains_key(id) {
            let state = self.bus.history(id).await?.task.state;
            seen.logs.insert(id.clone(), state);
        }
        let state = seen.logs.get(id).and_then(Option::as_ref);
        Ok((state.is_some(), state.is_some_and(|state| state.claims(&object.name))))
    }

    /// Whether an assignment of the task waits on a queue or a schedule.
    async fn waits(&self, id: &TaskId, seen: &mut Seen) -> Result<bool, BodiesError> {
        if seen.waiting.is_none() {
            seen.waiting = Some(self.waiting().await?);
        }
        Ok(seen.waiting.as_ref().is_some_and(|waiting| waiting.contains(id)))
    }

    /// Every task that waits, on a schedule, between the two, or on a queue: in that order, so
    /// that one which moves on meanwhile is seen. Rarely asked: only where an old object has a
    /// task without a log.
    async fn waiting(&self) -> Result<BTreeSet<TaskId>, BodiesError> {
        let mut tasks = BTreeSet::new();
        for stream in [TASK_SCHEDULES, AGENT_TASKS] {
            let mut from = 1;
            while let Some(message) = self.bus.first_from(stream, ">", from).await? {
                from = message.seq.saturating_add(1);
                if let Ok(assignment) = Assignment::decode(&message.payload) {
                    tasks.insert(assignment.task_id);
                }
            }
        }
        Ok(tasks)
    }
}
