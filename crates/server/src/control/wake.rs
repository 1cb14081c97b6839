//! Moves tasks that wait as soon as what they wait for has ended: a parent, what comes after
//! others, a result whose verification is over.
//!
//! It follows the tail of the view, whose fold is the log itself, so no hint can get lost; and it
//! looks at all waiting tasks at its start, now and then, and whenever the view was made anew. The
//! view only says who is worth a look; what is done is decided by the logs. Two of these may run.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream::FuturesUnordered};
use sinew_agent::{AdvanceError, advance};
use sinew_bus::{Bus, TaskLog, clock};
use sinew_model::{
    IdError, TaskId,
    limits::{TRY_AGAIN, WAKE_AT_ONCE, WAKE_LOOK_EVERY, WAKE_QUEUED},
    task::Actor,
};
use sinew_views::{QueryError, Store, task::News};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sweep::CONTROLLERS;

/// Moves the waiting tasks of one org.
#[derive(Debug)]
pub struct Wake {
    bus: Bus,
    store: Store,
    by: Actor,
}

/// What is still to be looked at.
#[derive(Debug)]
struct Line {
    /// Tasks that wait for their turn.
    tasks: BTreeSet<TaskId>,
    /// Tasks that could not be moved now.
    again: BTreeSet<TaskId>,
    /// When these are tried again.
    retry_at: Instant,
    /// How far the tail of the view was looked at.
    seen: u64,
    /// When all waiting tasks are looked at.
    look_at: Instant,
}

impl Wake {
    /// Moves the tasks that `store` shows to be waiting; somebody else keeps the view up.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub fn new(bus: Bus, store: Store) -> Result<Self, IdError> {
        let by = Actor { role: CONTROLLERS.parse()?, instance: Some("wake".parse()?) };
        Ok(Self { bus, store, by })
    }

    /// Goes on until `shutdown`. A move that is left in the middle is found again.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.go_on() => {}
        }
    }

    async fn go_on(&self) {
        let now = clock::instant();
        let (tasks, again) = (BTreeSet::new(), BTreeSet::new());
        let mut line = Line { tasks, again, retry_at: now, seen: 0, look_at: now };
        let mut folded = self.store.watch_reached();
        let mut moving = FuturesUnordered::new();
        loop {
            folded.mark_unchanged();
            if let Err(error) = self.look(&mut line).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it is not known who waits; all are looked at again"
                );
                line.look_at = clock::instant() + TRY_AGAIN;
            }
            while moving.len() < WAKE_AT_ONCE
                && let Some(task) = line.tasks.pop_first()
            {
                moving.push(self.wake(task));
            }
            tokio::select! {
                changed = folded.changed() => if changed.is_err() { return },
                Some(moved) = moving.next(), if !moving.is_empty() => line.note(moved),
                () = tokio::time::sleep_until(line.due()) => {}
            }
        }
    }

    /// Takes into the line whom the news of the view, or a look at all, finds worth it.
    async fn look(&self, line: &mut Line) -> Result<(), QueryError> {
        let now = clock::instant();
        if now >= line.retry_at {
            line.tasks.append(&mut line.again);
        }
        // Who stands in line already is not looked for; the tail is read on when there is room.
        if line.tasks.len() >= WAKE_QUEUED {
            return Ok(());
        }
        let through = self.store.reached().await?;
        if now >= line.look_at || through < line.seen {
            let mut after = None;
            loop {
                let (found, next) = self.store.movable(after).await?;
                line.tasks.extend(found);
                if next.is_none() || line.tasks.len() >= WAKE_QUEUED {
                    break;
                }
                after = next;
            }
            line.look_at = now + WAKE_LOOK_EVERY;
        } else if through > line.seen {
            let news = News { after: line.seen, through };
            line.tasks.extend(self.store.moved_by(news).await?);
        }
        line.seen = through;
        Ok(())
    }

    async fn wake(&self, task: TaskId) -> (TaskId, Result<(), AdvanceError>) {
        let moved = async {
            let mut log = TaskLog::read(&self.bus, task.clone(), self.by.clone()).await?;
            advance(&self.bus, &self.by, &mut log).await
        };
        let moved = moved.await;
        (task, moved)
    }
}

impl Line {
    /// Remembers a task that could not be moved. Beyond the bound the sweep finds it.
    fn note(&mut self, (task, moved): (TaskId, Result<(), AdvanceError>)) {
        let Err(error) = moved else { return };
        tracing::warn!(%task, error = &error as &dyn std::error::Error,
            "a waiting task could not be moved on");
        if self.again.is_empty() {
            self.retry_at = clock::instant() + TRY_AGAIN;
        }
        if self.again.len() < WAKE_QUEUED {
            self.again.insert(task);
        }
    }

    /// When there is something to do even if nothing happens.
    fn due(&self) -> Instant {
        if self.again.is_empty() { self.look_at } else { self.look_at.min(self.retry_at) }
    }
}
