//! What one round of measuring gives, and what several come to.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest span that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Collects how long things took.
#[derive(Clone, Debug)]
pub(super) struct Spans(Histogram<u64>);

impl Spans {
    pub(super) fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    pub(super) fn add(&mut self, span: Duration) {
        let us = u64::try_from(span.as_nanos().div_ceil(1_000)).unwrap_or(LONGEST_US);
        self.0.saturating_record(us);
    }

    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        Ok(self.0.add(&other.0)?)
    }

    /// What was collected within `elapsed`.
    pub(super) fn sample(&self, elapsed: Duration) -> Sample {
        let at = |quantile| Some(self.0.value_at_quantile(quantile) as f64);
        let latency = !self.0.is_empty();
        Sample {
            per_second: self.0.len() as f64 / elapsed.as_secs_f64(),
            p50_us: at(0.5).filter(|_| latency),
            p99_us: at(0.99).filter(|_| latency),
            p999_us: at(0.999).filter(|_| latency),
        }
    }
}

/// One round, or the median of several.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sample {
    pub(super) per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p999_us: Option<f64>,
}

impl Sample {
    /// So many within `elapsed`; how long each took was not looked at.
    pub(super) fn rate(count: usize, elapsed: Duration) -> Self {
        let per_second = count as f64 / elapsed.as_secs_f64();
        Self { per_second, p50_us: None, p99_us: None, p999_us: None }
    }
}

/// All rounds of one way to do it.
#[derive(Clone, Debug)]
pub(super) struct Rounds(Vec<Sample>);

impl Rounds {
    #[cfg(test)]
    pub(super) fn of(sample: Sample) -> Self {
        Self(vec![sample])
    }

    /// The median of each figure by itself.
    pub(super) fn median(&self) -> Sample {
        let of = |figure: fn(&Sample) -> Option<f64>| median(self.0.iter().filter_map(figure));
        Sample {
            per_second: of(|sample| Some(sample.per_second)).unwrap_or(0.0),
            p50_us: of(|sample| sample.p50_us),
            p99_us: of(|sample| sample.p99_us),
            p999_us: of(|sample| sample.p999_us),
        }
    }

    /// The lowest and the highest rate.
    pub(super) fn spread(&self) -> (f64, f64) {
        let rates = self.0.iter().map(|sample| sample.per_second);
        rates.fold((f64::INFINITY, 0.0), |(low, high), rate| (rate.min(low), rate.max(high)))
    }
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

/// Lets the ways take turns, and gives the rounds of each in the order of the ways. Every way runs
/// once before, uncounted. Each round begins with another way.
pub(super) async fn take_turns<W: Copy>(
    rounds: usize,
    ways: &[W],
    mut round: impl AsyncFnMut(W) -> Result<Vec<Sample>>,
) -> Result<Vec<Vec<Rounds>>> {
    let mut all: Vec<Vec<Rounds>> = ways.iter().map(|_| Vec::new()).collect();
    for way in ways {
        round(*way).await?;
    }
    for number in 0..rounds {
        for place in 0..ways.len() {
            let place = (place + number) % ways.len();
            let (Some(way), Some(kept)) = (ways.get(place), all.get_mut(place)) else { continue };
            for (figure, sample) in round(*way).await?.into_iter().enumerate() {
                match kept.get_mut(figure) {
                    Some(Rounds(samples)) => samples.push(sample),
                    None => kept.push(Rounds(vec![sample])),
                }
            }
        }
    }
    Ok(all)
}

/// One figure of one way.
pub(super) fn figure_of(all: &[Vec<Rounds>], way: usize, figure: usize) -> Result<&Rounds> {
    all.get(way).and_then(|figures| figures.get(figure)).context("a way was not measured")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_one_or_the_mean_of_two() {
        let check = |values: &[f64], expect| assert_eq!(median(values.iter().copied()), expect);
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 9.0, 2.0], Some(3.0));
    }

    #[test]
    fn spans_are_told_in_microseconds() {
        let mut spans = Spans::new().unwrap();
        for us in 1..=1_000 {
            spans.add(Duration::from_micros(us));
        }
        let sample = spans.sample(Duration::from_secs(2));
        assert_eq!((sample.per_second, sample.p50_us), (500.0, Some(500.0)));
        assert_eq!((sample.p99_us, sample.p999_us), (Some(990.0), Some(999.0)));
        let none = Spans::new().unwrap().sample(Duration::from_secs(1));
        assert_eq!((none.per_second, none.p50_us), (0.0, None));
    }

    #[tokio::test]
    async fn the_ways_take_turns_and_none_is_always_first() {
        let mut order = Vec::new();
        let rounds = take_turns(2, &['a', 'b'], async |way| {
            order.push(way);
            Ok(vec![Sample::rate(order.len(), Duration::from_secs(1))])
        });
        let rounds = rounds.await.unwrap();
        let rates = |way: usize| rounds[way][0].0.iter().map(|it| it.per_second).collect();
        let (a, b): (Vec<f64>, Vec<f64>) = (rates(0), rates(1));
        assert_eq!((a, b), (vec![3.0, 6.0], vec![4.0, 5.0]));
        assert_eq!(order, ['a', 'b', 'a', 'b', 'b', 'a']);
        assert_eq!((rounds[0][0].median().per_second, rounds[0][0].spread()), (4.5, (3.0, 6.0)));
    }
}
