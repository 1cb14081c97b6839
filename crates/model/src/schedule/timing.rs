//! When a recurring task fires: at the marks of an interval, or at the moments of a cron expression
//! in a time zone. The arithmetic of calendars and zones is `cronexpr`'s and `jiff`'s; what is here
//! is the grammar that Sinew lets in. The rules of a zone come from the machine where it has them, else
//! from what is compiled in: the one thing in this crate that is not handed in, since it is a table of
//! the world and not a state.

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff_zones::{Timestamp, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::ScheduleError;
use crate::{
    limits::{CRON_BYTES, SCHEDULE_LONGEST, SCHEDULE_SHORTEST, ZONE_BYTES},
    time::Time,
};

/// Shortest interval, in seconds.
pub(super) const SHORTEST: u64 = SCHEDULE_SHORTEST.as_secs();
/// Longest interval, in seconds.
pub(super) const LONGEST: u64 = SCHEDULE_LONGEST.as_secs();

const MICROS: i64 = 1_000_000;

/// When a recurring task fires.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub enum Timing {
    /// Again and again after so many seconds, counted from the moment at which it was added.
    Every {
        /// The seconds.
        seconds: u64,
    },
    /// At the moments of a calendar.
    Cron {
        /// Minute, hour, day of month, month, day of week.
        expression: String,
        /// The time zone by which they are told, as `Europe/Berlin`. A moment that the change to
        /// summer time leaves out does not come that day; one that the change back brings twice
        /// comes twice. `UTC` has neither.
        time_zone: String,
    },
}

impl Timing {
    /// # Errors
    /// Why it is not acceptable.
    pub(super) fn check(&self) -> Result<(), ScheduleError> {
        match self {
            Self::Every { seconds } if (SHORTEST..=LONGEST).contains(seconds) => Ok(()),
            Self::Every { .. } => Err(ScheduleError::Interval),
            Self::Cron { expression, time_zone } => crontab(expression, time_zone).map(|_| ()),
        }
    }

    /// The first moment after `now`, of one that was added at `begin`; `None` where none is near
    /// enough to be told.
    ///
    /// # Errors
    /// When it is not acceptable.
    pub fn after(&self, begin: Time, now: Time) -> Result<Option<Time>, ScheduleError> {
        self.check()?;
        match self {
            Self::Every { seconds } => {
                let gone = now.since(begin).as_secs() / seconds;
                let span = Duration::from_secs(gone.saturating_add(1).saturating_mul(*seconds));
                Ok(Some(begin.plus(span)).filter(|next| *next > now))
            }
            Self::Cron { expression, time_zone } => {
                let crontab = crontab(expression, time_zone)?;
                let Ok(now) = Timestamp::from_microsecond(now.micros()) else { return Ok(None) };
                let next = crontab.find_next(MakeTimestamp(now));
                Ok(next.ok().map(|next| Time::from_micros(next.timestamp().as_microsecond())))
            }
        }
    }
}

/// The moment without what is beyond its second.
pub(super) const fn whole(at: Time) -> Time {
    Time::from_micros(at.micros().div_euclid(MICROS) * MICROS)
}

fn crontab(expression: &str, time_zone: &str) -> Result<Crontab, ScheduleError> {
    let refuse = |why: &str| Err(ScheduleError::Cron(why.to_owned()));
    if expression.len() > CRON_BYTES || time_zone.len() > ZONE_BYTES {
        return refuse("it is too long");
    }
    let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
    if fields.len() != 5 {
        return refuse("it has five fields: minute, hour, day of month, month, day of week");
    }
    // A zone by its name, and nothing else that a parser of zones takes.
    if TimeZone::get(time_zone).is_err() {
        return refuse("its time zone is none: say one as Europe/Berlin or UTC");
    }
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::None;
    let whole = format!("{} {time_zone}", fields.join(" "));
    cronexpr::parse_crontab_with(&whole, options)
        .map_err(|error| ScheduleError::Cron(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().unwrap()
    }

    fn cron(expression: &str, zone: &str) -> Timing {
        Timing::Cron { expression: expression.to_owned(), time_zone: zone.to_owned() }
    }

    #[test]
    fn an_interval_has_its_marks_whatever_went_by() {
        let hourly = Timing::Every { seconds: 3_600 };
        let begin = at("2026-05-10T14:23:01Z");
        let check = |now, expect: &str| {
            assert_eq!(hourly.after(begin, at(now)).unwrap(), Some(at(expect)), "after {now}");
        };
        check("2026-05-10T14:23:01Z", "2026-05-10T15:23:01Z");
        check("2026-05-10T15:23:01Z", "2026-05-10T16:23:01Z");
        check("2026-05-11T09:00:00Z", "2026-05-11T09:23:01Z");
        // A clock that was set back before it was added.
        check("2026-05-10T10:00:00Z", "2026-05-10T15:23:01Z");
    }

    #[test]
    fn a_cron_expression_keeps_to_its_zone_when_clocks_change() {
        let begin = at("2026-01-01T00:00:00Z");
        let check = |timing: &Timing, now, expect: &str| {
            assert_eq!(timing.after(begin, at(now)).unwrap(), Some(at(expect)), "after {now}");
        };
        let nine = cron("0 9 * * MON-FRI", "Europe/Berlin");
        // Friday in winter, then Monday in summer time.
        check(&nine, "2026-03-26T12:00:00Z", "2026-03-27T08:00:00Z");
        check(&nine, "2026-03-27T08:00:00Z", "2026-03-30T07:00:00Z");
        // The day on which half past two does not exist.
        let night = cron("30 2 * * *", "Europe/Berlin");
        check(&night, "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
        // The day on which half past two comes twice.
        check(&night, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check(&night, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
        check(&night, "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z");
        check(&cron("0 0 29 2 *", "UTC"), "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z");
    }

    #[test]
    fn what_is_no_timing_is_refused() {
        for seconds in [0, LONGEST + 1] {
            assert_eq!(Timing::Every { seconds }.check(), Err(ScheduleError::Interval));
        }
        for (expression, zone) in [
            ("", "UTC"),
            ("* * * *", "UTC"),
            ("* * * * * *", "UTC"),
            ("61 * * * *", "UTC"),
            ("* * * * *", ""),
            ("* * * * *", "Mars/Olympus"),
            ("* * * * *", "UTC UTC"),
        ] {
            let fault = cron(expression, zone).check();
            assert!(matches!(fault, Err(ScheduleError::Cron(_))), "{expression} {zone}: {fault:?}");
        }
        // The thirtieth of February is a day that never comes.
        let never =
            cron("0 0 30 2 *", "UTC").after(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert!(matches!(never, Ok(None) | Err(ScheduleError::Cron(_))), "{never:?}");
    }
}
