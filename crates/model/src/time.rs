//! A moment on the wire: RFC 3339 in UTC. This module never asks what time it is.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A moment, to the microsecond, written as RFC 3339 in UTC (`2026-05-10T14:23:01Z`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    micros: i64,
}

/// A text that is not an RFC 3339 moment.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is not a time like 2026-05-10T14:23:01Z")]
pub struct TimeError {
    /// The refused text, cut to a readable length.
    text: String,
    /// What the parser says.
    #[source]
    source: jiff::Error,
}

impl Time {
    /// The moment that many microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.micros
    }

    /// This moment plus `span`; the end of time where that does not fit.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_add(span) }
    }

    /// This moment less `span`; the beginning of time where that does not fit.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_sub(span) }
    }

    /// How long after `earlier` this moment is; zero where it is before, since clocks jump.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let micros = self.micros.saturating_sub(earlier.micros);
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.micros) {
            Ok(at) => write!(f, "{at}"),
            // Beyond the year 9999 there is no RFC 3339; say the last moment that there is.
            Err(_) => write!(f, "{}", jiff::Timestamp::MAX),
        }
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let at: jiff::Timestamp = text.parse().map_err(|source| TimeError {
            text: crate::limits::head(text, 64).to_owned(),
            source,
        })?;
        Ok(Self { micros: at.as_microsecond() })
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// A span as a person says it: `0.42s`, `12.3s`, `3m 04s`, `2h 05m`, `6d 01h`.
#[must_use]
pub fn spoken(span: Duration) -> String {
    let (seconds, tenths) = (span.as_secs(), span.subsec_millis() / 100);
    match seconds {
        0..10 => format!("{seconds}.{:02}s", span.subsec_millis() / 10),
        10..60 => format!("{seconds}.{tenths}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_at_every_length() {
        let check = |millis, expect| assert_eq!(spoken(Duration::from_millis(millis)), expect);
        check(0, "0.00s");
        check(1_239, "1.23s");
        check(12_345, "12.3s");
        check(184_000, "3m 04s");
        check(7_500_000, "2h 05m");
        check(522_000_000, "6d 01h");
    }

    #[test]
    fn the_seeds_time_reads_and_writes() {
        let at: Time = "2026-05-10T14:23:01Z".parse().unwrap();
        assert_eq!(at.to_string(), "2026-05-10T14:23:01Z");
        assert_eq!(at.plus(Duration::from_millis(1500)).to_string(), "2026-05-10T14:23:02.5Z");
    }

    #[test]
    fn a_clock_that_jumps_back_gives_zero_and_no_panic() {
        let early = Time::from_micros(0);
        assert_eq!(early.since(Time::from_micros(10)), Duration::ZERO);
        assert_eq!(early.plus(Duration::MAX).micros(), i64::MAX);
        assert!(!early.plus(Duration::MAX).to_string().is_empty());
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in ["", "yesterday", "2026-05-10", "14:23:01Z"] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
