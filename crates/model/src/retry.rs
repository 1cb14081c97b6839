//! When a failed attempt is tried again.

use std::time::Duration;

use crate::limits::{NAK_DELAY, RETRY_FIRST, RETRY_LONGEST};

/// How long a task waits after a failed attempt: `first`, then twice as long each time, up to
/// `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Delay after the first failed attempt.
    pub first: Duration,
    /// Longest delay.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: RETRY_FIRST, longest: RETRY_LONGEST }
    }
}

impl Backoff {
    /// The delay after the `failures`-th failed attempt (counted from 1).
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

/// How a wait is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The delivery is handed back and comes again by itself: the same epoch.
    Nak(Duration),
    /// The delivery is acked and the task is put on its queue later: the next epoch.
    Schedule(Duration),
}

impl Wait {
    /// Chooses by [`NAK_DELAY`].
    #[must_use]
    pub fn of(delay: Duration) -> Self {
        if delay <= NAK_DELAY { Self::Nak(delay) } else { Self::Schedule(delay) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_never_overflow() {
        let backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        let delays: Vec<u64> = (1..=6).map(|n| backoff.after(n).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.after(u32::MAX), backoff.longest);
        assert_eq!(Backoff::default().after(1), Duration::from_secs(30));
    }

    #[test]
    fn only_short_waits_are_naks() {
        assert_eq!(Wait::of(Duration::from_secs(5)), Wait::Nak(Duration::from_secs(5)));
        assert_eq!(Wait::of(Duration::from_secs(6)), Wait::Schedule(Duration::from_secs(6)));
    }
}
