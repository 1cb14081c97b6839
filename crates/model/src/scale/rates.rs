//! How the work of a role came and went of late. How many of its places were taken, summed over
//! time, is what all its tasks took together; divided by those that ended it is what one takes.

use std::{collections::VecDeque, time::Duration};

use crate::{limits::RATES_OVER, time::Time};

/// What a role did within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Tasks that came onto its queue.
    pub arrived: u64,
    /// Tasks that left it.
    pub departed: u64,
    /// What all that was worked on took together.
    pub worked: Duration,
    /// Within what time.
    pub over: Duration,
}

impl Rates {
    /// How long one task takes; `None` where none has ended of late.
    #[must_use]
    pub fn a_task_takes(&self) -> Option<Duration> {
        let ended = u32::try_from(self.departed).ok().filter(|ended| *ended > 0)?;
        Some(self.worked / ended)
    }
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Time,
    /// Tasks on the queue, with those that are worked on.
    pub queued: u64,
    /// Tasks that are worked on.
    pub in_flight: u64,
    /// Tasks that came since the look before.
    pub arrived: u64,
}

/// Adds up what looks show, over [`RATES_OVER`].
#[derive(Clone, Debug, Default)]
pub struct Meter {
    last: Option<Sample>,
    spans: VecDeque<(Time, Rates)>,
}

impl Meter {
    /// Takes in a look.
    pub fn see(&mut self, sample: Sample) {
        if let Some(last) = self.last.replace(sample) {
            let over = sample.at.since(last.at);
            let places = u32::try_from(last.in_flight.midpoint(sample.in_flight));
            let gone = last.queued.saturating_add(sample.arrived).saturating_sub(sample.queued);
            let span = Rates {
                arrived: sample.arrived,
                departed: gone,
                worked: over.saturating_mul(places.unwrap_or(u32::MAX)),
                over,
            };
            self.spans.push_back((sample.at, span));
        }
        while let Some((at, _)) = self.spans.front()
            && sample.at.since(*at) > RATES_OVER
        {
            self.spans.pop_front();
        }
    }

    /// What was seen of late.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.spans.iter().fold(Rates::default(), |sum, (_, span)| Rates {
            arrived: sum.arrived.saturating_add(span.arrived),
            departed: sum.departed.saturating_add(span.departed),
            worked: sum.worked.saturating_add(span.worked),
            over: sum.over.saturating_add(span.over),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: i64, queued: u64, in_flight: u64, arrived: u64) -> Sample {
        Sample { at: Time::from_micros(seconds * 1_000_000), queued, in_flight, arrived }
    }

    #[test]
    fn what_a_task_takes_is_told_from_places_and_departures() {
        let mut meter = Meter::default();
        meter.see(sample(0, 20, 4, 20));
        assert_eq!(meter.rates().a_task_takes(), None);
        // Four places for ten seconds, and eight tasks gone: five seconds each.
        meter.see(sample(5, 16, 4, 0));
        meter.see(sample(10, 14, 4, 2));
        let rates = meter.rates();
        assert_eq!((rates.arrived, rates.departed), (2, 8));
        assert_eq!(rates.a_task_takes(), Some(Duration::from_secs(5)));
        // What is long ago is forgotten.
        meter.see(sample(100, 14, 0, 0));
        assert_eq!(meter.rates().departed, 0);
    }
}
