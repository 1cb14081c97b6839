//! Reports the end of tasks whose result was accepted, where whoever accepted did not live to do so.
//!
//! A worker that ends a task reports it before it lets go of the message, so another worker finds
//! what one left undone. A submitted result has no message any more: a controller, or a person,
//! writes that it is accepted, and may be gone before the report. What the log says of this is
//! reported here once more, under the same id, as soon as its writer has had time to do it: at most
//! [`DEDUP_WINDOW`] later, so that the server drops it as the duplicate that it mostly is. After a
//! restart it goes on where the view had been, so nothing is passed over while no controller runs.

use std::{collections::BTreeSet, time::Duration};

use sinew_agent::{Client, FinishError};
use sinew_bus::{Bus, HistoryError, clock};
use sinew_model::{
    IdError, Role, TaskId,
    limits::{ACCEPTED_AGAIN, DEDUP_WINDOW},
};
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
#[derive(Debug)]
struct Mark {
    /// Everything up to here is reported, or in the line of those that are tried again.
    done: u64,
    /// Up to here the writers have had time since.
    noted: u64,
    since: Instant,
    /// What could not be reported. It holds up nobody else, until there are [`ACCEPTED_AGAIN`].
    again: BTreeSet<TaskId>,
}

/// Why an end is not reported.
#[derive(Debug, thiserror::Error)]
enum ReportError {
    #[error("its log could not be read")]
    Read(#[from] HistoryError),
    #[error("what it left outstanding is not done")]
    Finish(#[from] FinishError),
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
                        "it is not known which results were accepted; it is looked again"
                    );
                }
            }
        };
        shutdown.run_until_cancelled(Box::pin(all)).await;
    }

    async fn round(&self, mark: &mut Option<Mark>) -> Result<(), QueryError> {
        let reached = self.store.reached().await?;
        let now = clock::instant();
        let is_on = mark.as_ref().is_some_and(|mark| reached >= mark.noted);
        if !is_on {
            // An earlier process may have been gone before it had reported what it accepted last.
            // Where the view is new or was made anew, or the log was, it is not known how far.
            let began = if mark.is_none() && self.began > 0 { self.began } else { reached };
            let done = self.store.before(began, DEDUP_WINDOW).await?;
            let again = mark.take().map(|mark| mark.again).unwrap_or_default();
            *mark = Some(Mark { done, noted: reached, since: now, again });
        }
        let Some(mark) = mark else { return Ok(()) };
        if now.duration_since(mark.since) < grace(self.pace) {
            return Ok(());
        }
        for task in std::mem::take(&mut mark.again) {
            self.try_to(task, mark).await;
        }
        while mark.done < mark.noted && mark.again.len() < ACCEPTED_AGAIN {
            let found = self.store.accepted(mark.done, mark.noted).await?;
            if found.is_empty() {
                mark.done = mark.noted;
            }
            for (task, seq) in found {
                self.try_to(task, mark).await;
                mark.done = seq;
            }
        }
        if mark.done == mark.noted {
            (mark.noted, mark.since) = (reached, now);
        }
        Ok(())
    }

    async fn try_to(&self, task: TaskId, mark: &mut Mark) {
        if let Err(error) = self.report(&task).await {
            tracing::warn!(%task, error = &error as &dyn std::error::Error,
                "the end of an accepted result is not reported yet");
            mark.again.insert(task);
        }
    }

    async fn report(&self, task: &TaskId) -> Result<(), ReportError> {
        let state = self.bus.history(task).await?.task.state;
        let Some(state) = state.filter(|state| state.end().is_some()) else { return Ok(()) };
        let client = Client::new(self.bus.clone(), self.by.clone());
        Ok(client.finish(&state).await?)
    }
}

/// How long a writer has time, well within [`DEDUP_WINDOW`] with the rounds that it takes.
fn grace(pace: Pace) -> Duration {
    pace.grace.min(DEDUP_WINDOW / 4)
}
