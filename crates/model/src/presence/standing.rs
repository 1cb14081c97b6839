//! Where an instance and a role stand, as far as their signs of life tell.

use std::time::Duration;

use serde::Serialize;

use super::Heartbeat;
use crate::limits::{GONE_AFTER, STALE_AFTER};

/// Where an instance stands, or a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It works on something.
    Busy,
    /// It waits for work.
    Idle,
    /// It was told to pause: it begins nothing new.
    Paused,
    /// It brings to an end what it holds, and then leaves.
    Draining,
    /// It was heard a moment ago, and is silent now.
    Stale,
    /// A role of which nobody is there; its tasks and messages wait.
    Asleep,
    /// It left, or was silent for too long.
    Gone,
}

impl Standing {
    /// All of them, the most awake first.
    pub const ALL: [Self; 7] = [
        Self::Busy,
        Self::Idle,
        Self::Paused,
        Self::Draining,
        Self::Stale,
        Self::Asleep,
        Self::Gone,
    ];

    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Stale => "stale",
            Self::Asleep => "asleep",
            Self::Gone => "gone",
        }
    }

    /// Whether it shows signs of life.
    #[must_use]
    pub const fn is_awake(self) -> bool {
        match self {
            Self::Busy | Self::Idle | Self::Paused | Self::Draining => true,
            Self::Stale | Self::Asleep | Self::Gone => false,
        }
    }
}

impl std::str::FromStr for Standing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|it| it.word() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::word).join(", ");
            format!("{text:?} is not a state: {known}")
        })
    }
}

/// Where an instance stands whose newest sign of life is `beat`, which is `silence` old by the
/// clock of the server that stored it.
#[must_use]
pub fn of_instance(beat: &Heartbeat, silence: Duration) -> Standing {
    // Whoever said goodbye is not waited for.
    if beat.leaving || silence > GONE_AFTER {
        return Standing::Gone;
    }
    if silence > STALE_AFTER {
        return Standing::Stale;
    }
    if beat.draining {
        return Standing::Draining;
    }
    if beat.paused {
        return Standing::Paused;
    }
    if beat.holds.is_empty() { Standing::Idle } else { Standing::Busy }
}

/// Where a role stands whose instances stand like this. It is as awake as the one that could take
/// a task soonest; nobody in sight is a role that sleeps.
#[must_use]
pub fn of_role(instances: impl IntoIterator<Item = Standing>) -> Standing {
    let order =
        [Standing::Idle, Standing::Busy, Standing::Paused, Standing::Draining, Standing::Stale];
    let there: Vec<Standing> = instances.into_iter().collect();
    order.into_iter().find(|it| there.contains(it)).unwrap_or(Standing::Asleep)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn beat(held: usize, more: serde_json::Value) -> Heartbeat {
        let holds: Vec<_> =
            (0..held).map(|at| json!({ "taskId": format!("T{at}"), "attempt": 1 })).collect();
        let mut it = json!({
            "role": "cto", "instance": "cto-0", "incarnation": "1",
            "at": "2026-05-10T14:23:01Z", "concurrency": 2, "holds": holds,
        });
        it.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(it).unwrap()
    }

    #[test]
    fn an_instance_is_what_its_newest_sign_of_life_says_while_that_is_fresh() {
        let check = |held, more: serde_json::Value, millis, expect| {
            let silence = Duration::from_millis(millis);
            assert_eq!(of_instance(&beat(held, more.clone()), silence), expect, "{more} {millis}");
        };
        check(0, json!({}), 0, Standing::Idle);
        check(1, json!({}), 900, Standing::Busy);
        check(2, json!({}), 0, Standing::Busy);
        check(1, json!({ "paused": true }), 0, Standing::Paused);
        check(1, json!({ "paused": true, "draining": true }), 0, Standing::Draining);
        check(0, json!({ "leaving": true, "draining": true }), 0, Standing::Gone);
        check(1, json!({}), 5_000, Standing::Busy);
        check(1, json!({}), 5_001, Standing::Stale);
        check(1, json!({ "draining": true }), 30_000, Standing::Stale);
        check(1, json!({}), 30_001, Standing::Gone);
        check(0, json!({ "leaving": true }), 100_000, Standing::Gone);
    }

    #[test]
    fn a_role_is_as_awake_as_the_one_that_could_work_soonest() {
        let check = |of: &[Standing], expect| assert_eq!(of_role(of.iter().copied()), expect);
        check(&[], Standing::Asleep);
        check(&[Standing::Gone], Standing::Asleep);
        check(&[Standing::Gone, Standing::Stale], Standing::Stale);
        check(&[Standing::Busy, Standing::Paused], Standing::Busy);
        check(&[Standing::Busy, Standing::Idle], Standing::Idle);
        check(&[Standing::Stale, Standing::Draining], Standing::Draining);
    }

    #[test]
    fn every_state_is_read_back_from_its_word() {
        for it in Standing::ALL {
            assert_eq!(it.word().parse::<Standing>().unwrap(), it);
            assert_eq!(serde_json::to_value(it).unwrap(), it.word());
        }
        assert!("lazy".parse::<Standing>().unwrap_err().contains("idle"));
    }
}
