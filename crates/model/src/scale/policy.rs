//! Within what bounds a role is scaled: always, and in windows of a calendar.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    limits::{
        CONCURRENCY, CONCURRENCY_MAX, REPLICAS_DEFAULT, REPLICAS_MAX, SCALE_BURST, SCALE_COOLDOWN,
        SCALE_SPAN_LONGEST, SCALE_WINDOW_LONGEST, SCALE_WINDOWS,
    },
    schedule::Timing,
    stream::Span,
    time::Time,
};

/// Bounds that hold at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Tasks that one instance works on at a time.
    pub concurrency: u32,
    /// For how long fewer must be enough.
    pub cooldown: Duration,
    /// Instances by which it grows in one step.
    pub burst: u32,
    /// How long what waits may take, by how long tasks took of late; zero where each task that waits
    /// is to have a place.
    pub patience: Duration,
}

/// How a role is scaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    /// Fewest instances; 0 lets the role sleep.
    #[serde(default)]
    pub min: u32,
    /// Most instances.
    #[serde(default = "replicas")]
    pub max: u32,
    /// Tasks that one instance works on at a time.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// For how long fewer instances must be enough before there are fewer, as `60s`.
    #[serde(default = "cooldown", with = "span")]
    #[schemars(with = "String")]
    pub cooldown: Duration,
    /// Instances by which the role grows in one step; a step is a second.
    #[serde(default = "burst")]
    pub burst: u32,
    /// How long what waits may take, by how long tasks took of late, as `30s`: short tasks then
    /// start fewer instances. Without it each task that waits is to have a place.
    #[serde(default, with = "span")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// Windows of a calendar in which there are other bounds; the first that holds counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Window>,
}

/// A window of a calendar in which there are other bounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Window {
    /// When it begins: minute, hour, day of month, month, day of week, as `0 9 * * MON-FRI`.
    pub cron: String,
    /// The time zone of `cron`, as `Europe/Berlin`.
    #[serde(default = "utc")]
    pub zone: String,
    /// How long it lasts, as `8h`.
    #[serde(rename = "for", with = "span")]
    #[schemars(with = "String")]
    pub lasts: Duration,
    /// Fewest instances in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Most instances in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// Why a policy makes no sense. Each names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Fewer than the least are the most.
    #[error("`min` ({min}) must not be above `max` ({max})")]
    Order {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// More than there may be of anything.
    #[error("`{key}` must be {least} to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A span is too long.
    #[error("`{key}` must be {least} to {most}")]
    Span {
        /// The key.
        key: &'static str,
        /// The shortest.
        least: &'static str,
        /// The longest.
        most: &'static str,
    },
    /// When a window begins is not told.
    #[error("`schedule[{index}].cron` is not acceptable: {why}")]
    Cron {
        /// Which window, from 0.
        index: usize,
        /// Why.
        why: String,
    },
    /// Too many windows.
    #[error("`schedule` has more than {SCALE_WINDOWS} windows")]
    Windows,
}

impl Policy {
    /// # Errors
    /// The first thing that makes no sense.
    pub fn check(&self) -> Result<(), PolicyError> {
        let range = |key, value: u32, least: u64, most: u64| {
            let fits = (least..=most).contains(&u64::from(value));
            if fits { Ok(()) } else { Err(PolicyError::Range { key, least, most }) }
        };
        let places = u64::try_from(CONCURRENCY_MAX).unwrap_or(u64::MAX);
        range("max", self.max, 0, u64::from(REPLICAS_MAX))?;
        range("burst", self.burst, 1, u64::from(REPLICAS_MAX))?;
        range("concurrency", self.concurrency, 1, places)?;
        order(self.min, self.max)?;
        if self.cooldown > SCALE_SPAN_LONGEST {
            return Err(PolicyError::Span { key: "cooldown", least: "0s", most: "24h" });
        }
        if self.patience > SCALE_SPAN_LONGEST {
            return Err(PolicyError::Span { key: "patience", least: "0s", most: "24h" });
        }
        if self.schedule.len() > SCALE_WINDOWS {
            return Err(PolicyError::Windows);
        }
        for (index, window) in self.schedule.iter().enumerate() {
            let (min, max) = self.bounds(window);
            range("schedule.max", max, 0, u64::from(REPLICAS_MAX))?;
            order(min, max)?;
            if window.lasts.is_zero() || window.lasts > SCALE_WINDOW_LONGEST {
                return Err(PolicyError::Span { key: "schedule.for", least: "1ms", most: "7d" });
            }
            let moment = Time::from_micros(0);
            window.timing().after(moment, moment).map_err(|error| {
                let why = error.to_string();
                PolicyError::Cron { index, why }
            })?;
        }
        Ok(())
    }

    /// The bounds that hold at `now`, by the wall clock.
    #[must_use]
    pub fn at(&self, now: Time) -> Limits {
        let window = self.schedule.iter().find(|window| window.holds(now));
        let (min, max) = window.map_or((self.min, self.max), |window| self.bounds(window));
        Limits {
            min,
            max,
            concurrency: self.concurrency,
            cooldown: self.cooldown,
            burst: self.burst,
            patience: self.patience,
        }
    }

    fn bounds(&self, window: &Window) -> (u32, u32) {
        let min = window.min.unwrap_or(self.min);
        (min, window.max.unwrap_or(self.max.max(min)))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            min: 0,
            max: replicas(),
            concurrency: concurrency(),
            cooldown: cooldown(),
            burst: burst(),
            patience: Duration::ZERO,
            schedule: Vec::new(),
        }
    }
}

impl Window {
    fn timing(&self) -> Timing {
        Timing::Cron { expression: self.cron.clone(), time_zone: self.zone.clone() }
    }

    /// Whether it began within the time that it lasts.
    fn holds(&self, now: Time) -> bool {
        let before = now.minus(self.lasts);
        let began = self.timing().after(before, before);
        began.ok().flatten().is_some_and(|began| began <= now)
    }
}

const fn order(min: u32, max: u32) -> Result<(), PolicyError> {
    if min <= max { Ok(()) } else { Err(PolicyError::Order { min, max }) }
}

const fn replicas() -> u32 {
    REPLICAS_DEFAULT
}

fn concurrency() -> u32 {
    u32::try_from(CONCURRENCY).unwrap_or(u32::MAX)
}

const fn cooldown() -> Duration {
    SCALE_COOLDOWN
}

const fn burst() -> u32 {
    SCALE_BURST
}

fn utc() -> String {
    "UTC".to_owned()
}

/// Spans as people write them.
mod span {
    use super::{Deserialize, Deserializer, Duration, Serializer, Span};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Span::deserialize(from).map(|Span(span)| span)
    }

    pub(super) fn serialize<S: Serializer>(span: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&format!("{}ms", span.as_millis()))
    }
}
