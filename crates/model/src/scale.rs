//! How many instances a role needs: what its queue and its instances show goes in, and a number and
//! the reason for it come out. Nothing here knows a clock, a process or a stream.
//!
//! A task that waits for a person holds no instance and asks for none: its answer puts it back on
//! the queue, and that is seen. What is begun counts like what waits, since it is on the queue until
//! it ends.

pub mod fleet;
pub mod outside;

mod policy;
mod rates;
mod signal;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use policy::{Limits, Policy, PolicyError, Window};
pub use rates::{Meter, Rates, Sample};
pub use signal::{RoleSignal, Signal};

use crate::{limits::SCALE_STEP, time::Time};

/// What is seen of a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Tasks on its queue that nobody has begun.
    pub backlog: u64,
    /// Tasks that its instances work on.
    pub in_flight: u64,
    /// Its tasks that wait for a person.
    pub waiting: u64,
    /// Instances that work on something.
    pub busy: u32,
    /// How its work came and went of late.
    pub rates: Rates,
}

impl Load {
    /// Its work that asks for a place.
    const fn work(&self) -> u64 {
        self.backlog.saturating_add(self.in_flight)
    }
}

/// What was decided before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Last {
    /// How many instances.
    pub replicas: u32,
    /// When the number was last raised.
    pub raised: Option<Time>,
    /// Since when fewer would do, and the most that were needed since.
    quiet: Option<(Time, u32)>,
}

impl Last {
    /// What a new leader knows of the one before it: the number, and nothing of how it came to it.
    #[must_use]
    pub const fn of(replicas: u32) -> Self {
        Self { replicas, raised: None, quiet: None }
    }
}

/// How many instances there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many.
    pub replicas: u32,
    /// Why.
    pub reason: Reason,
    /// What to hand in the next time.
    pub last: Last,
}

/// Why there are to be that many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// There is nothing to do, and it may sleep.
    Asleep,
    /// There is nothing to do but wait for people.
    WaitsForPeople,
    /// There is nothing to do, and the least are kept.
    AtMinimum,
    /// As many as the work needs.
    Enough,
    /// More are needed than there may be.
    AtMaximum,
    /// There was too much work for those that there were.
    Raised,
    /// More are needed, and come step by step.
    Stepping,
    /// Fewer would do; whether for long is not known yet.
    CoolingDown,
    /// Fewer have been enough for long.
    Lowered,
    /// There may be fewer than there are, and those have work.
    KeptBusy,
}

impl Reason {
    /// The reason in words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Asleep => "nothing to do",
            Self::WaitsForPeople => "waits for people, which needs no instance",
            Self::AtMinimum => "nothing to do; the minimum is kept",
            Self::Enough => "as many as the work needs",
            Self::AtMaximum => "the work needs more than the maximum",
            Self::Raised => "more work than places",
            Self::Stepping => "more work than places; the next step comes in a moment",
            Self::CoolingDown => "fewer would do; the cooldown is not over",
            Self::Lowered => "fewer were enough for the whole cooldown",
            Self::KeptBusy => "no busy instance is stopped",
        }
    }
}

/// Decides how many instances a role is to have.
///
/// It grows at once, by at most [`Limits::burst`] every [`SCALE_STEP`], and never beyond what the
/// work can fill. It shrinks when fewer were enough for the whole of [`Limits::cooldown`], to the
/// most that were needed within it, and never below the instances that are busy; only a lowered
/// maximum takes effect sooner.
#[must_use]
pub fn decide(load: &Load, limits: &Limits, now: Time, last: &Last) -> Decision {
    let asked = asked_for(load, limits);
    let need = asked.clamp(limits.min, limits.max.max(limits.min));
    let floor = need.max(load.busy);
    let (replicas, reason, mut next) = if floor > last.replicas {
        raise(floor, (load.busy, limits), now, last)
    } else if floor == last.replicas {
        (floor, at_rest(load, asked, need, limits), Last { quiet: None, ..*last })
    } else {
        lower(need, load, limits, now, last)
    };
    next.replicas = replicas;
    Decision { replicas, reason, last: next }
}

fn raise(
    floor: u32,
    (busy, limits): (u32, &Limits),
    now: Time,
    last: &Last,
) -> (u32, Reason, Last) {
    // A clock that was set back must not hold a step up for long.
    let stepped = last.raised.is_some_and(|at| now >= at && now.since(at) < SCALE_STEP);
    let quiet_over = Last { quiet: None, ..*last };
    // The minimum is a promise, and those that are busy are there: neither is a reaction that could
    // overshoot.
    let given = limits.min.max(busy);
    if stepped && last.replicas >= given {
        return (last.replicas, Reason::Stepping, quiet_over);
    }
    let step = last.replicas.saturating_add(limits.burst.max(1)).max(given);
    (floor.min(step), Reason::Raised, Last { raised: Some(now), ..quiet_over })
}

fn lower(need: u32, load: &Load, limits: &Limits, now: Time, last: &Last) -> (u32, Reason, Last) {
    let most = limits.max.max(limits.min).max(load.busy);
    if most < last.replicas {
        let reason = if load.busy >= most { Reason::KeptBusy } else { Reason::Lowered };
        return (most, reason, Last { quiet: Some((now, need)), ..*last });
    }
    let floor = need.max(load.busy);
    let (since, high) = match last.quiet {
        Some((since, high)) if since <= now => (since, high.max(floor)),
        Some(_) | None => (now, floor),
    };
    if now.since(since) < limits.cooldown {
        let reason = if need < load.busy && load.busy == last.replicas {
            Reason::KeptBusy
        } else {
            Reason::CoolingDown
        };
        return (last.replicas, reason, Last { quiet: Some((since, high)), ..*last });
    }
    (high, Reason::Lowered, Last { quiet: None, ..*last })
}

fn at_rest(load: &Load, asked: u32, need: u32, limits: &Limits) -> Reason {
    match (load.work(), need) {
        (_, need) if asked > need && need == limits.max => Reason::AtMaximum,
        (_, need) if need < load.busy => Reason::KeptBusy,
        (0, 0) if load.waiting > 0 => Reason::WaitsForPeople,
        (0, 0) => Reason::Asleep,
        (0, _) => Reason::AtMinimum,
        _ => Reason::Enough,
    }
}

/// As many as the work can fill; fewer where tasks are so short that what waits is done within the
/// patience all the same.
fn asked_for(load: &Load, limits: &Limits) -> u32 {
    let places = u64::from(limits.concurrency.max(1));
    let filled = load.work().div_ceil(places);
    let patient = (!limits.patience.is_zero())
        .then(|| load.rates.a_task_takes())
        .flatten()
        .map(|each| in_time(load, each, limits.patience, places));
    u32::try_from(patient.map_or(filled, |patient| patient.min(filled))).unwrap_or(u32::MAX)
}

/// As many as bring what waits to its end within `patience`, beside what is begun.
fn in_time(load: &Load, each: Duration, patience: Duration, places: u64) -> u64 {
    let begun = load.in_flight.div_ceil(places);
    let work = u128::from(load.backlog).saturating_mul(each.as_micros());
    let room = patience.as_micros().max(1).saturating_mul(u128::from(places));
    let more = u64::try_from(work.div_ceil(room)).unwrap_or(u64::MAX);
    begun.max(more).max(u64::from(load.work() > 0))
}

#[cfg(test)]
mod tests;
