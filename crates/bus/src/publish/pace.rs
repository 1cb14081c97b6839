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

/// How long single messages must be on their way without a break before their pace is taken.
const BUSY_SPAN: Duration = Duration::from_millis(10);

/// What sending has cost on one stream lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Time for each single message while several are on their way; `None` before there was such
    /// a time.
    single: Option<Duration>,
    /// What a batch costs beyond its messages.
    batch: Duration,
    /// Since when single messages are on their way without a break, and how many were answered.
    /// Answers come in bursts, so a single gap between two of them says nothing.
    busy: Option<(Instant, u32)>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { single: None, batch: BATCH_PRICE, busy: None }
    }
}

impl Pace {
    /// So many messages go one by one at a time; so many must wait before they go as a batch.
    pub(super) fn break_even(&self) -> usize {
        let Some(single) = self.single else { return BATCH_LEAST };
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

    #[tokio::test]
    async fn a_slow_disk_makes_batches_pay_early_and_a_fast_one_late() {
        let now = Instant::now();
        let mut slow = Pace::default();
        assert_eq!(slow.break_even(), BATCH_LEAST, "nothing is known yet");
        singles(&mut slow, now, 500, MS);
        assert_eq!(slow.break_even(), BATCH_LEAST);
        let mut fast = Pace::default();
        singles(&mut fast, now, 5_000, Duration::from_micros(30));
        assert!(fast.break_even() > 100, "{}", fast.break_even());
        singles(&mut fast, now, 90_000, Duration::from_micros(11));
        assert_eq!(fast.break_even(), BATCH_MESSAGES, "never more than a batch may hold");
    }

    #[tokio::test]
    async fn a_hold_up_a_lull_and_the_shadow_of_a_batch_teach_nothing() {
        let mut pace = Pace::default();
        let now = singles(&mut pace, Instant::now(), 500, Duration::from_micros(30));
        let known = pace.break_even();
        // Nothing was on its way for an hour.
        pace.single_done(now, 0, false);
        pace.single_done(now + MS * 3_600_000, 3, false);
        pace.single_done(now + MS * 7_200_000, 3, true);
        assert_eq!(pace.break_even(), known);
        // The server was held up for a second, once.
        let now = singles(&mut pace, now + MS * 9_000_000, 1, MS);
        pace.single_done(now + MS * 1_000, 5, false);
        assert!(pace.break_even() > known / 2, "{} of {known}", pace.break_even());
        // Answers that come in bursts are counted over the whole time.
        let mut burst = Pace::default();
        let now = Instant::now();
        for at in 0..50 {
            singles(&mut burst, now + MS * at, 10, Duration::ZERO);
        }
        assert_eq!(burst.break_even(), 4_000 / 90, "0.1 ms each, less the price within a batch");
    }

    #[tokio::test]
    async fn dear_batches_are_sent_more_rarely() {
        let mut pace = Pace::default();
        singles(&mut pace, Instant::now(), 500, Duration::from_micros(100));
        let cheap = pace.break_even();
        (0..100).for_each(|_| pace.batch_done(100, MS * 20));
        assert!(pace.break_even() > cheap * 2, "{} after {cheap}", pace.break_even());
    }
}
