//! Reports the end of tasks whose result was accepted, where whoever accepted did not live to do so.
//!
//! A worker that ends a task reports it before it lets go of the message, so another worker finds
//! what one left undone. A submitted result has no message any more: a controller, or a person,
//! writes that it is accepted, and may be gone before the report. What the log says of this is
//! reported here once more, under the same id, as soon as its writer has had time to do it: at most
//! [`DEDUP_WINDOW`] later, so that the server drops it as the duplicate that it mostly is. After a
//! restart it goes on where the view had been, so nothing is passed over while no controller runs.

use std::time::Duration;

use sinew_agent::{Client, FinishError};
use sinew_bus::{Bus, HistoryError, clock};
use sinew_model::{IdError, Role, TaskId, limits::DEDUP_WINDOW};
use sinew_views::{QueryError, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sweep::{CONTROLLERS, Pace};

/// Reports the accepted results of one org.
#[derive(Debug)]
pub(crate) struct Accepted {
    bus: Bus,
    store: Store,
    by: Role,
    pace: Pace,
    /// What the view held when the process began; 0 where it was new.
    began: u64,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Everything up to here is reported.
    done: u64,
    /// Up to here the writers have had time since.
    noted: u64,
    since: Instant,
}

/// Why a round was not gone to its end.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the view can't be asked")]
    Query(#[from] QueryError),
    #[error("the log of task {task} could not be read")]
    Read { task: TaskId, source: HistoryError },
    #[error("the end of task {task} is not reported")]
    Finish { task: TaskId, source: FinishError },
}

impl Accepted {
    /// Reports what `store` shows, which somebody else keeps up, and which held everything up to
    /// `began` before anybody kept it up in this process.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub(crate) fn new(bus: Bus, store: Store, pace: Pace, began: u64) -> Result<Self, IdError> {
        Ok(Self { bus, store, by: CONTROLLERS.parse()?, pace, began })
    }

    /// Goes on until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let all = async {
            let mut mark = None;
            loop {
                clock::pause(self.pace.every).await;
                if let Err(error) = self.round(&mut mark).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an accepted result may not be reported yet"
                    );
                }
            }
        };
        shutdown.run_until_cancelled(Box::pin(all)).await;
    }

    async fn round(&self, mark: &mut Option<Mark>) -> Result<(), RoundError> {
        let reached = self.store.reached().await?;
        let now = clock::instant();
        let known = match *mark {
            Some(known) if reached >= known.noted => known,
            None if self.began > 0 => self.begin((self.began, reached), now).await?,
            // The view is new or was made anew, or the log was, and counts from 1 again.
            Some(_) | None => self.begin((reached, reached), now).await?,
        };
        let known = mark.insert(known);
        if now.duration_since(known.since) < grace(self.pace) {
            return Ok(());
        }
        while known.done < known.noted {
            let found = self.store.accepted(known.done, known.noted).await?;
            if found.is_empty() {
                known.done = known.noted;
            }
            for (task, seq) in found {
                self.report(task).await?;
                known.done = seq;
            }
        }
        (known.noted, known.since) = (reached, now);
        Ok(())
    }

    /// An earlier process may have been gone before it had reported what it accepted last.
    async fn begin(&self, (began, reached): (u64, u64), now: Instant) -> Result<Mark, RoundError> {
        let done = self.store.before(began, DEDUP_WINDOW).await?;
        Ok(Mark { done, noted: reached, since: now })
    }

    async fn report(&self, task: TaskId) -> Result<(), RoundError> {
        let history = self.bus.history(&task).await;
        let history = history.map_err(|source| RoundError::Read { task: task.clone(), source })?;
        let Some(state) = history.task.state.filter(|state| state.end().is_some()) else {
            return Ok(());
        };
        let client = Client::new(self.bus.clone(), self.by.clone());
        client.finish(&state).await.map_err(|source| RoundError::Finish { task, source })
    }
}

/// How long a writer has time, well within [`DEDUP_WINDOW`] with the rounds that it takes.
fn grace(pace: Pace) -> Duration {
    pace.grace.min(DEDUP_WINDOW / 4)
}
