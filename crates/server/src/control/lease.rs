//! Holds a lease, or waits for it: carries out what [`sinew_model::lease`] decides.

use std::time::Duration;

use sinew_bus::{Bus, clock};
use sinew_model::{
    Time,
    lease::{Candidate, Fence, LeaseName, Step},
    limits::{LEASE_LOOK, LEASE_TTL},
};
use tokio::time::Instant;

/// A candidate for one lease of an org.
#[derive(Debug)]
pub(crate) struct Lease {
    bus: Bus,
    name: LeaseName,
    candidate: Candidate,
    /// The beginning of the steady clock by which the candidate counts.
    since: Instant,
    looked: Option<Instant>,
}

impl Lease {
    /// A candidate by a name that no other process has.
    pub(crate) fn new(bus: Bus, name: LeaseName, me: String) -> Self {
        let candidate = Candidate::new(me, LEASE_TTL);
        Self { bus, name, candidate, since: clock::instant(), looked: None }
    }

    /// By what it may act at this moment.
    pub(crate) fn fence(&self) -> Option<Fence> {
        self.candidate.fence(self.now())
    }

    /// Whether another one holds it, as far as is known.
    pub(crate) fn is_anothers(&self) -> bool {
        self.candidate.is_anothers()
    }

    /// Does what is due, and says by what it may act now. To be called at least as often as
    /// [`LEASE_LOOK`].
    pub(crate) async fn step(&mut self) -> Option<Fence> {
        let was = self.fence().map(|fence| fence.term);
        if let Err(error) = self.due().await {
            tracing::debug!(lease = self.name.word(), error, "the lease can't be had now");
        }
        let fence = self.fence();
        match (was, fence) {
            (None, Some(Fence { term, .. })) => {
                tracing::info!(lease = self.name.word(), term, "this process leads now");
            }
            (Some(term), None) => {
                tracing::warn!(lease = self.name.word(), term, "this process no longer leads");
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        fence
    }

    /// Forgets what it knows: a write under its fence was refused, so another one leads.
    pub(crate) fn lost(&mut self) {
        self.candidate.lost();
    }

    /// Gives it back, so that another one need not wait.
    pub(crate) async fn release(&mut self) {
        if let Some((expect, record)) = self.candidate.release(clock::now())
            && let Err(error) = self.bus.write_lease(self.name, expect, &record).await
        {
            tracing::debug!(%error, "a lease was not given back; it ends by itself");
        }
        self.candidate.lost();
    }

    async fn due(&mut self) -> Result<(), String> {
        // Who waits looks often, so that a lease that is given back is taken at once.
        let stale = self.looked.is_none_or(|at| at.elapsed() >= LEASE_LOOK);
        if !self.candidate.holds() && stale {
            let found = self.bus.lease(self.name).await.map_err(|error| error.to_string())?;
            self.looked = Some(clock::instant());
            self.candidate.looked(found.0, found.1, self.now());
        }
        let from = self.now();
        match self.candidate.next(from, clock::now()) {
            Step::Look | Step::Wait(_) => Ok(()),
            Step::Write { expect, record } => {
                match self.bus.write_lease(self.name, expect, &record).await {
                    Ok(seq) => {
                        self.candidate.wrote(seq, record, from);
                        Ok(())
                    }
                    Err(error) => {
                        self.candidate.lost();
                        Err(error.to_string())
                    }
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(0).plus(self.since.elapsed())
    }
}

/// How often [`Lease::step`] is to be called.
pub(crate) const STEP_EVERY: Duration = LEASE_LOOK;
