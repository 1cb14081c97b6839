//! Notices that a band of the role's queue comes into use. A band has no consumer before its
//! first task, because a consumer that is never used costs the server memory in every org.

use std::collections::BTreeSet;

use sinew_bus::{Bus, Hints};
use sinew_model::{Address, Band, Role, limits::BANDS_EVERY, stream::AGENT_TASKS};
use tokio::time::{Interval, MissedTickBehavior};

/// Watches the bands of one role.
pub(crate) struct Watch {
    known: BTreeSet<Band>,
    /// Says at once what is delegated to a band; what a schedule puts there goes unsaid, so the
    /// queue is looked at now and then besides.
    hints: Option<Hints>,
    tick: Interval,
}

impl Watch {
    pub(crate) async fn begin(bus: &Bus, role: &Role) -> Self {
        let mut tick = tokio::time::interval(BANDS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hints = bus.watch_subject(bus.subjects().tasks_bands(role).as_str()).await.ok();
        Self { known: BTreeSet::from([Band::Normal]), hints, tick }
    }

    /// The next band that has tasks and had none before.
    pub(crate) async fn next(&mut self, bus: &Bus, role: &Role) -> Band {
        loop {
            let found = tokio::select! {
                said = hinted(&mut self.hints) => said.and_then(|subject| band_of(bus, &subject)),
                _ = self.tick.tick() => self.look(bus, role).await,
            };
            if let Some(band) = found
                && self.known.insert(band)
            {
                return band;
            }
        }
    }

    async fn look(&self, bus: &Bus, role: &Role) -> Option<Band> {
        if self.known.len() == Band::ALL.len() {
            return None;
        }
        let filter = bus.subjects().tasks_bands(role);
        match bus.depth(AGENT_TASKS, filter.as_str()).await {
            Ok(counts) => counts
                .keys()
                .filter_map(|subject| band_of(bus, subject))
                .find(|band| !self.known.contains(band)),
            Err(error) => {
                tracing::debug!(%error, "the bands of the queue can't be looked at now");
                None
            }
        }
    }
}

fn band_of(bus: &Bus, subject: &str) -> Option<Band> {
    match bus.subjects().parse(subject) {
        Some(Address::Tasks(_, band)) => Some(band),
        Some(_) | None => None,
    }
}

async fn hinted(hints: &mut Option<Hints>) -> Option<String> {
    match hints {
        Some(listening) => {
            let said = listening.next().await.map(|hint| hint.subject().to_owned());
            if said.is_none() {
                *hints = None;
            }
            said
        }
        None => std::future::pending().await,
    }
}
