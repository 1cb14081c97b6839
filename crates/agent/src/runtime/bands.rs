//! Notices that a band of the role's queue comes into use. A band has no consumer before its
//! first task, because a consumer that is never used costs the server memory in every org.

use std::collections::BTreeSet;

use futures::future::BoxFuture;
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
    /// The look that is under way. It outlives the call that began it: a busy runtime drops each
    /// call as soon as something else happens.
    looking: Option<BoxFuture<'static, Vec<Band>>>,
    /// What a look found and nobody was told yet.
    found: BTreeSet<Band>,
}

impl Watch {
    pub(crate) async fn begin(bus: &Bus, role: &Role) -> Self {
        let mut tick = tokio::time::interval(BANDS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hints = bus.watch_subject(bus.subjects().tasks_bands(role).as_str()).await.ok();
        Self {
            known: BTreeSet::from([Band::Normal]),
            hints,
            tick,
            looking: None,
            found: BTreeSet::new(),
        }
    }

    /// The next band that has tasks and had none before. May be cancelled.
    pub(crate) async fn next(&mut self, bus: &Bus, role: &Role) -> Band {
        loop {
            // The most urgent first: it is worked on before the next one is in use.
            while let Some(band) = self.found.pop_first() {
                if self.known.insert(band) {
                    return band;
                }
            }
            tokio::select! {
                said = hinted(&mut self.hints) => {
                    self.found.extend(said.and_then(|subject| band_of(bus, &subject)));
                }
                bands = seen(&mut self.looking) => self.found.extend(bands),
                _ = self.tick.tick() => {
                    if self.looking.is_none() && self.known.len() < Band::ALL.len() {
                        self.looking = Some(Box::pin(look(bus.clone(), role.clone())));
                    }
                }
            }
        }
    }

    /// The band could not be taken into use: it is found again at the next look.
    pub(crate) fn forget(&mut self, band: Band) {
        self.known.remove(&band);
    }
}

/// The bands that have tasks.
async fn look(bus: Bus, role: Role) -> Vec<Band> {
    let filter = bus.subjects().tasks_bands(&role);
    match bus.depth(AGENT_TASKS, filter.as_str()).await {
        Ok(counts) => counts.keys().filter_map(|subject| band_of(&bus, subject)).collect(),
        Err(error) => {
            tracing::debug!(%error, "the bands of the queue can't be looked at now");
            Vec::new()
        }
    }
}

async fn seen(looking: &mut Option<BoxFuture<'static, Vec<Band>>>) -> Vec<Band> {
    let Some(look) = looking else { return std::future::pending().await };
    let bands = look.await;
    *looking = None;
    bands
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
