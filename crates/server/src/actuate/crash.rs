//! Roles whose agents end by themselves: started again after a wait that grows, and told about.

use std::{collections::BTreeMap, time::Duration};

use sinew_bus::clock;
use sinew_model::{
    Role,
    health::Crashing,
    limits::{CRASH_FIRST, CRASH_LONGEST, CRASH_STEADY},
    retry::Backoff,
};
use tokio::time::Instant;

const BACKOFF: Backoff = Backoff { first: CRASH_FIRST, longest: CRASH_LONGEST };

/// The roles whose agents did not stay up of late.
#[derive(Debug, Default)]
pub(crate) struct Crashes(BTreeMap<Role, (Crashing, Instant)>);

impl Crashes {
    /// An agent of the role ended by itself after it ran for so long.
    pub(crate) fn crashed(&mut self, role: &Role, ran: Duration, why: &str) {
        // Several that run side by side and crash together are one crash.
        let (known, waits) = match self.0.get(role) {
            Some((known, until)) if ran < CRASH_STEADY => (known.times, *until > clock::instant()),
            Some(_) | None => (0, false),
        };
        let times = if waits { known } else { known.saturating_add(1) };
        let wait = BACKOFF.after(times);
        let again_at = clock::now().plus(wait);
        let why = why.to_owned();
        let crashing = Crashing { role: role.clone(), times, why, again_at };
        self.0.insert(role.clone(), (crashing, clock::instant() + wait));
    }

    /// An agent of the role did what it was to do.
    pub(crate) fn steady(&mut self, role: &Role) {
        self.0.remove(role);
    }

    /// Whether one may be started now.
    pub(crate) fn may_start(&self, role: &Role) -> bool {
        self.0.get(role).is_none_or(|(_, until)| *until <= clock::instant())
    }

    /// What does not stay up. One that has run since its last start is well.
    pub(crate) fn told(&mut self) -> Vec<Crashing> {
        self.0.retain(|_, (_, until)| until.elapsed() < CRASH_STEADY);
        self.0.values().map(|(crashing, _)| crashing.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_wait_grows_until_one_stays_up() {
        let role: Role = "cto".parse().unwrap();
        let mut crashes = Crashes::default();
        let soon = Duration::from_millis(5);
        crashes.crashed(&role, soon, "exit status: 3");
        crashes.crashed(&role, soon, "exit status: 3");
        assert!(!crashes.may_start(&role));
        assert_eq!(crashes.told()[0].times, 1, "two at once are one");
        for times in 2..5 {
            tokio::time::advance(BACKOFF.after(times - 1)).await;
            assert!(crashes.may_start(&role));
            crashes.crashed(&role, soon, "exit status: 3");
            assert_eq!(crashes.told()[0].times, times);
        }
        tokio::time::advance(CRASH_LONGEST + CRASH_STEADY).await;
        assert!(crashes.told().is_empty(), "it has stayed up since");
        crashes.crashed(&role, CRASH_STEADY, "exit status: 3");
        assert_eq!(crashes.told()[0].times, 1);
    }
}
