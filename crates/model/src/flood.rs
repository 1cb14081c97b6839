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

    /// Whether it is more than one connection may send.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.messages > FLOOD_MESSAGES || self.bytes > FLOOD_BYTES
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
    /// It sent too fast, and not for long yet.
    Over,
    /// It is to be cut off: it has sent too much for too long.
    Cut(Rate),
}

/// What is known of one user's connections, on whatever servers they are.
#[derive(Clone, Debug, Default)]
pub struct Gauge {
    flows: HashMap<Connection, Sample>,
    /// What it sent beyond what it may, as the time that this would have taken at the bound.
    excess: Duration,
}

impl Gauge {
    /// Whether nothing is held against the user.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        self.excess.is_zero()
    }

    /// Takes note of a look. Of a connection that was not seen before the sample comes with one of
    /// its beginning.
    pub fn look<'a>(
        &mut self,
        seen: impl IntoIterator<Item = &'a (Connection, Sample, Sample)>,
    ) -> Verdict {
        let (mut flows, mut all) = (HashMap::new(), Rate::default());
        let (mut longest, mut taken, mut over) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        for (connection, begun, sample) in seen {
            let earlier = self.flows.get(connection).unwrap_or(begun);
            let Some(rate) = Rate::between(earlier, sample) else {
                // Too soon: the span begins where it began.
                flows.insert(connection.clone(), *earlier);
                continue;
            };
            flows.insert(connection.clone(), *sample);
            all = all.plus(rate);
            let (span, cost) = (sample.at.since(earlier.at), cost(earlier, sample));
            longest = longest.max(span);
            taken = taken.saturating_add(cost);
            over = over.saturating_add(cost.saturating_sub(span));
        }
        self.flows = flows;
        over = over.max((taken / FLOOD_SHARED).saturating_sub(longest));
        let spared = if over.is_zero() { longest.saturating_sub(taken) } else { Duration::ZERO };
        self.excess = self.excess.saturating_add(over).saturating_sub(spared);
        match self.excess {
            Duration::ZERO => Verdict::Calm,
            excess if excess >= FLOOD_PATIENCE => Verdict::Cut(all),
            _ => Verdict::Over,
        }
    }
}

/// The time that one connection would have taken at the bound.
fn cost(earlier: &Sample, later: &Sample) -> Duration {
    let each = |count: u64, bound: u64| {
        Duration::from_micros(count.saturating_mul(1_000_000).checked_div(bound).unwrap_or(0))
    };
    let messages = later.messages.saturating_sub(earlier.messages);
    let bytes = later.bytes.saturating_sub(earlier.bytes);
    // Micros of bytes would be too large a number for the largest of counts.
    each(messages, FLOOD_MESSAGES).max(each(bytes / 1_024, FLOOD_BYTES / 1_024))
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
            matches!(gauge.look(&seen), Verdict::Cut(_))
        })
    }

    #[test]
    fn who_sends_as_fast_as_it_can_is_cut_within_seconds() {
        assert_eq!(cut_after(&[200_000], 16, 10_000), Some(500));
        assert_eq!(cut_after(&[80_000], 16, 10_000), Some(1_750));
        // Few and large.
        assert_eq!(cut_after(&[400], 1 << 20, 10_000), Some(1_000));
        // Many connections of one user, each below what one may.
        assert_eq!(cut_after(&[48_000; 6], 16, 10_000), Some(750));
    }

    #[test]
    fn who_works_fast_is_not_cut_however_long() {
        assert_eq!(cut_after(&[30_000], 512, 600_000), None);
        assert_eq!(cut_after(&[1_000; 100], 512, 600_000), None);
        assert_eq!(cut_after(&[FLOOD_MESSAGES], 16, 600_000), None);
    }

    #[test]
    fn a_burst_is_forgiven_and_a_flood_with_gaps_is_not() {
        let verdicts = |counts: &[u64]| -> Vec<Verdict> {
            let mut gauge = Gauge::default();
            let begun = sample(0, 0, 0);
            let each = (1..).zip(counts).map(|(look, count)| {
                gauge.look(&[(connection(1), begun, sample(look * 500, *count, 0))])
            });
            each.collect()
        };
        // Fifty thousand in half a second, and then at its usual pace.
        let burst = verdicts(&[0, 50_000, 50_500, 51_000, 51_500, 52_000]);
        assert_eq!(
            burst[1..],
            [Verdict::Over, Verdict::Over, Verdict::Calm, Verdict::Calm, Verdict::Calm][..]
        );
        let gaps = verdicts(&[0, 50_000, 75_000, 125_000, 150_000, 200_000]);
        assert!(gaps.iter().any(|it| matches!(it, Verdict::Cut(_))), "{gaps:?}");
    }

    #[test]
    fn who_comes_back_under_another_number_is_the_same_user() {
        let mut gauge = Gauge::default();
        let last = (1..=8_u64).map(|look| {
            let begun = sample(look * 250 - 200, 0, 0);
            let seen = [(connection(look), begun, sample(look * 250, 40_000, 0))];
            gauge.look(&seen)
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
        fn who_never_sent_more_than_the_bound_and_a_burst_is_not_cut(
            rates in prop::collection::vec(0_u64..150_000, 1..40)
        ) {
            let (mut gauge, mut sent, mut excess) = (Gauge::default(), 0, 0_u64);
            let begun = sample(0, 0, 0);
            for (look, rate) in (1_u64..).zip(rates) {
                sent += rate / 4;
                let seen = [(connection(1), begun, sample(look * 250, sent, 0))];
                let is_cut = matches!(gauge.look(&seen), Verdict::Cut(_));
                excess = (excess + rate / 4).saturating_sub(FLOOD_MESSAGES / 4);
                // The gauge counts whole microseconds, of which a message takes twenty.
                if is_cut {
                    prop_assert!(excess >= FLOOD_MESSAGES);
                } else {
                    prop_assert!(excess <= FLOOD_MESSAGES);
                }
            }
        }
    }
}
