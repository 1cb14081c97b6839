//! Who sends so fast that others suffer. The server has no limit on how fast an org publishes, so
//! its counters are looked at again and again: a [`Gauge`] is what is known of one user, and says
//! when that user is to be cut off. Nothing here knows a server or a clock.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use crate::{
    limits::{FLOOD_BYTES, FLOOD_MESSAGES, FLOOD_PATIENCE, FLOOD_SHARED, FLOOD_SPAN},
    presence::Connection,
    time::Time,
};

/// What a server has counted of one connection since it was made, by the server's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When it was counted.
    pub at: Time,
    /// Messages that came, also those that were refused.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How fast somebody sends, a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Messages.
    pub messages: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Rate {
    /// How fast it was between two samples; `None` where they are too close to each other, or are
    /// not of one count.
    #[must_use]
    pub fn between(earlier: &Sample, later: &Sample) -> Option<Self> {
        let span = later.at.since(earlier.at);
        if span < FLOOD_SPAN {
            return None;
        }
        let each = |count: u64| {
            let micros = u128::from(count).saturating_mul(1_000_000);
            u64::try_from(micros.checked_div(span.as_micros()).unwrap_or_default())
                .unwrap_or(u64::MAX)
        };
        let messages = later.messages.checked_sub(earlier.messages)?;
        Some(Self {
            messages: each(messages),
            bytes: each(later.bytes.checked_sub(earlier.bytes)?),
        })
    }

    /// Whether it is more than `connections` may send together.
    #[must_use]
    pub const fn is_over(&self, connections: u64) -> bool {
        self.messages > FLOOD_MESSAGES.saturating_mul(connections)
            || self.bytes > FLOOD_BYTES.saturating_mul(connections)
    }

    const fn plus(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_add(other.messages),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// What follows from a look at a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Calm,
    /// It sends too fast, and not for long yet.
    Over,
    /// It is to be cut off: it has sent like this for too long.
    Cut(Rate),
}

/// What is known of one user's connections, on whatever servers they are.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    flows: HashMap<Connection, Sample>,
    /// Since which look it sends too fast, on the watch of whoever looks.
    over: Option<Duration>,
}

impl Gauge {
    /// Takes note of a look at `now`, by a watch that does not jump. Of a connection that was not
    /// seen before the sample comes with one of its beginning.
    pub fn look<'a>(
        &mut self,
        now: Duration,
        seen: impl IntoIterator<Item = &'a (Connection, Sample, Sample)>,
    ) -> Verdict {
        let (mut flows, mut all, mut is_over) = (HashMap::new(), Rate::default(), false);
        for (connection, begun, sample) in seen {
            let earlier = self.flows.get(connection).unwrap_or(begun);
            match Rate::between(earlier, sample) {
                Some(rate) => {
                    is_over |= rate.is_over(1);
                    all = all.plus(rate);
                    flows.insert(connection.clone(), *sample);
                }
                // Too soon: the span begins where it began.
                None => drop(flows.insert(connection.clone(), *earlier)),
            }
        }
        self.flows = flows;
        if !is_over && !all.is_over(FLOOD_SHARED) {
            self.over = None;
            return Verdict::Calm;
        }
        let since = *self.over.get_or_insert(now);
        if now.saturating_sub(since) >= FLOOD_PATIENCE { Verdict::Cut(all) } else { Verdict::Over }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connection(client: u64) -> Connection {
        Connection { server: "N1".to_owned(), client }
    }

    fn sample(millis: u64, messages: u64, bytes: u64) -> Sample {
        Sample { at: Time::from_micros(0).plus(Duration::from_millis(millis)), messages, bytes }
    }

    /// Looks every quarter of a second at connections that each send `rates` messages a second, and
    /// gives the milliseconds until the cut.
    fn cut_after(rates: &[u64], bytes: u64, until: u64) -> Option<u64> {
        let mut gauge = Gauge::default();
        (1..=until / 250).map(|look| look * 250).find(|millis| {
            let begun = sample(0, 0, 0);
            let seen: Vec<_> = (0..)
                .zip(rates)
                .map(|(client, rate)| {
                    let count = rate * millis / 1_000;
                    (connection(client), begun, sample(*millis, count, count * bytes))
                })
                .collect();
            matches!(gauge.look(Duration::from_millis(*millis), &seen), Verdict::Cut(_))
        })
    }

    #[test]
    fn who_sends_as_fast_as_it_can_is_cut_within_two_seconds() {
        assert_eq!(cut_after(&[200_000], 16, 10_000), Some(1_750));
        // Few and large.
        assert_eq!(cut_after(&[400], 1 << 20, 10_000), Some(1_750));
        // Many connections of one user, each below what one may.
        assert_eq!(cut_after(&[50_000; 3], 16, 10_000), Some(1_750));
    }

    #[test]
    fn who_works_fast_is_not_cut_however_long() {
        assert_eq!(cut_after(&[30_000], 512, 600_000), None);
        assert_eq!(cut_after(&[1_000; 100], 512, 600_000), None);
        assert_eq!(cut_after(&[FLOOD_MESSAGES], 16, 600_000), None);
    }

    #[test]
    fn a_burst_is_over_before_anybody_is_cut() {
        let mut gauge = Gauge::default();
        let begun = sample(0, 0, 0);
        // A hundred thousand in a second, and then at its usual pace.
        let counts = [0, 50_000, 100_000, 100_500, 101_000, 101_500, 102_000];
        let mut verdicts = Vec::new();
        for (look, count) in (1..).zip(counts) {
            let seen = [(connection(1), begun, sample(look * 500, count, count))];
            verdicts.push(gauge.look(Duration::from_millis(look * 500), &seen));
        }
        assert_eq!(verdicts[1..3], [Verdict::Over, Verdict::Over]);
        assert!(verdicts[3..].iter().all(|it| *it == Verdict::Calm), "{verdicts:?}");
    }

    #[test]
    fn who_comes_back_under_another_number_is_the_same_user() {
        let mut gauge = Gauge::default();
        let last = (1..=8_u64).map(|look| {
            let begun = sample(look * 250 - 200, 0, 0);
            let seen = [(connection(look), begun, sample(look * 250, 40_000, 0))];
            gauge.look(Duration::from_millis(look * 250), &seen)
        });
        assert!(matches!(last.last(), Some(Verdict::Cut(_))));
    }

    #[test]
    fn a_count_that_begins_anew_is_no_rate() {
        assert_eq!(Rate::between(&sample(0, 9, 9), &sample(1_000, 3, 3)), None);
        assert_eq!(Rate::between(&sample(0, 0, 0), &sample(50, 9, 9)), None);
        let rate = Rate { messages: 4, bytes: 8 };
        assert_eq!(Rate::between(&sample(0, 1, 1), &sample(500, 3, 5)), Some(rate));
    }

    proptest! {
        #[test]
        fn nobody_is_cut_who_was_not_too_fast_all_the_while(
            rates in prop::collection::vec(0_u64..150_000, 1..40)
        ) {
            let (mut gauge, mut sent, mut fast_for) = (Gauge::default(), 0, 0_u64);
            let begun = sample(0, 0, 0);
            for (look, rate) in (1_u64..).zip(rates) {
                sent += rate / 4;
                let seen = [(connection(1), begun, sample(look * 250, sent, 0))];
                let verdict = gauge.look(Duration::from_millis(look * 250), &seen);
                fast_for = if rate / 4 * 4 > FLOOD_MESSAGES { fast_for + 250 } else { 0 };
                let is_cut = matches!(verdict, Verdict::Cut(_));
                prop_assert_eq!(is_cut, fast_for >= 1_750);
            }
        }
    }
}
