//! How many messages must wait before they go as one atomic batch. A batch spares one fsync for
//! each of its messages, but has a price of its own: the server makes a small store for each,
//! which takes it milliseconds. So messages go one by one, without waiting for each other, as long
//! as fewer are on their way than a batch would cost; what comes beyond that waits, and goes as a
//! batch once it is so many that it pays. A client can't see what the server's disk does, so it
//! watches the clock.
//!
//! It decides about speed only: what is sent either way is stored by the same rules.

use std::time::Duration;

use sinew_model::limits::{BATCH_LEAST, BATCH_MESSAGES, BATCH_PRICE, BATCH_PRICE_EACH};
use tokio::time::Instant;

/// How long the pace of single messages is taken to hold.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Single messages that are on their way at a time while their pace is looked at: enough to keep
/// the stream busy, and so few that a slow one is through with them soon.
const LOOK_WINDOW: usize = 32;

/// How long single messages must be on their way without a break before their pace is taken.
const BUSY_SPAN: Duration = Duration::from_millis(10);

/// What sending has cost on one stream lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// A given break-even, in place of what the clock says.
    fixed: Option<usize>,
    /// Time for each single message while several are on their way; `None` before there was such
    /// a time.
    single: Option<Duration>,
    /// When that was last looked at.
    looked: Option<Instant>,
    /// What a batch costs beyond its messages.
    batch: Duration,
    /// Since when single messages are on their way without a break, and how many were answered.
    /// Answers come in bursts, so a single gap between two of them says nothing.
    busy: Option<(Instant, u32)>,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Single messages that may be on their way at a time.
    pub(super) window: usize,
    /// Messages that must wait before they go as a batch; `None`: none goes now.
    pub(super) batch_from: Option<usize>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { fixed: None, single: None, looked: None, batch: BATCH_PRICE, busy: None }
    }
}

impl Pace {
    /// With a given break-even, or by the clock.
    pub(super) fn new(fixed: Option<usize>) -> Self {
        Self { fixed: fixed.map(|least| least.clamp(2, BATCH_MESSAGES)), ..Self::default() }
    }

    /// What may be sent now. Now and then no batch goes for a moment, since the pace of single
    /// messages shows only without one, and it may have changed.
    pub(super) fn plan(&self, now: Instant) -> Plan {
        if let Some(least) = self.fixed {
            return Plan { window: least, batch_from: Some(least) };
        }
        let is_known = self.looked.is_some_and(|looked| now < looked + LOOK_EVERY);
        match self.single.filter(|_| is_known) {
            Some(single) => {
                let least = self.break_even(single);
                Plan { window: least, batch_from: Some(least) }
            }
            None => Plan { window: LOOK_WINDOW, batch_from: None },
        }
    }

    fn break_even(&self, single: Duration) -> usize {
        let spared = single.saturating_sub(BATCH_PRICE_EACH).max(Duration::from_micros(1));
        let messages = self.batch.as_micros() / spared.as_micros().max(1);
        usize::try_from(messages).unwrap_or(BATCH_MESSAGES).clamp(BATCH_LEAST, BATCH_MESSAGES)
    }

    /// A single message was answered; so many are still on their way, and perhaps a batch, in
    /// whose shadow nothing is learnt.
    pub(super) fn single_done(&mut self, now: Instant, others: usize, behind_a_batch: bool) {
        if others == 0 || behind_a_batch {
            self.busy = None;
            return;
        }
        let (since, answered) = self.busy.unwrap_or((now, 0));
        let took = now.duration_since(since);
        if took < BUSY_SPAN {
            self.busy = Some((since, answered.saturating_add(1)));
            return;
        }
        let each = took / answered.max(1);
        self.single = Some(self.single.map_or(each, |old| average(old, each)));
        self.looked = Some(now);
        self.busy = Some((now, 1));
    }

    /// A batch of so many messages was answered.
    pub(super) fn batch_done(&mut self, members: usize, took: Duration) {
        let each = BATCH_PRICE_EACH * u32::try_from(members).unwrap_or(u32::MAX);
        self.batch = average(self.batch, took.saturating_sub(each));
        self.busy = None;
    }
}

/// Follows slowly, and a single hold-up hardly at all.
fn average(old: Duration, new: Duration) -> Duration {
    (old * 7 + new.min(old * 4 + Duration::from_micros(10))) / 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Answers so many single messages, one every `gap`.
    fn singles(pace: &mut Pace, from: Instant, count: u32, gap: Duration) -> Instant {
        (0..count).fold(from, |now, _| {
            pace.single_done(now + gap, 5, false);
            now + gap
        })
    }

    fn batch_from(pace: &Pace, now: Instant) -> usize {
        pace.plan(now).batch_from.unwrap_or(0)
    }

    #[tokio::test]
    async fn a_slow_disk_makes_batches_pay_early_and_a_fast_one_late() {
        let mut slow = Pace::default();
        let now = singles(&mut slow, Instant::now(), 500, MS);
        assert_eq!(slow.plan(now), Plan { window: BATCH_LEAST, batch_from: Some(BATCH_LEAST) });
        let mut fast = Pace::default();
        let now = singles(&mut fast, Instant::now(), 5_000, Duration::from_micros(30));
        assert!(batch_from(&fast, now) > 100, "{:?}", fast.plan(now));
        let now = singles(&mut fast, now, 90_000, Duration::from_micros(11));
        assert_eq!(batch_from(&fast, now), BATCH_MESSAGES, "never more than a batch may hold");
    }

    #[tokio::test]
    async fn what_is_not_known_or_old_is_looked_at_without_batches() {
        let look = Plan { window: LOOK_WINDOW, batch_from: None };
        let mut pace = Pace::default();
        assert_eq!(pace.plan(Instant::now()), look);
        let now = singles(&mut pace, Instant::now(), 500, MS);
        assert_ne!(pace.plan(now), look);
        let later = now + LOOK_EVERY;
        assert_eq!(pace.plan(later), look);
        let later = singles(&mut pace, later, 50, MS);
        assert_ne!(pace.plan(later), look, "a short look is enough");
    }

    #[tokio::test]
    async fn a_hold_up_a_lull_and_the_shadow_of_a_batch_teach_nothing() {
        let mut pace = Pace::default();
        let gap = Duration::from_micros(30);
        let now = singles(&mut pace, Instant::now(), 5_000, gap);
        let known = batch_from(&pace, now);
        // Nothing was on its way for an hour, and then only behind a batch.
        pace.single_done(now, 0, false);
        pace.single_done(now + MS * 3_600_000, 3, true);
        let now = singles(&mut pace, now + MS * 3_600_001, 1_000, gap);
        assert!(batch_from(&pace, now).abs_diff(known) <= known / 10);
        // The server was held up for a second, once.
        pace.single_done(now + MS * 1_000, 5, false);
        let held_up = batch_from(&pace, now + MS * 1_000);
        assert!(held_up > known / 2, "{held_up} of {known}");
    }

    #[tokio::test]
    async fn answers_that_come_in_bursts_are_counted_over_the_whole_time() {
        let mut burst = Pace::default();
        let start = Instant::now();
        let now =
            (0..50).fold(start, |_, at| singles(&mut burst, start + MS * at, 10, Duration::ZERO));
        // 0.1 ms each, less the price within a batch.
        assert!(batch_from(&burst, now).abs_diff(4_000 / 90) <= 5, "{:?}", burst.plan(now));
    }

    #[tokio::test]
    async fn dear_batches_are_sent_more_rarely() {
        let mut pace = Pace::default();
        let now = singles(&mut pace, Instant::now(), 5_000, Duration::from_micros(100));
        let cheap = batch_from(&pace, now);
        (0..100).for_each(|_| pace.batch_done(100, MS * 20));
        assert!(batch_from(&pace, now) > cheap * 2, "{:?} after {cheap}", pace.plan(now));
    }
}
