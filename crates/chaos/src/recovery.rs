//! How long it took until work went on, from what the log says. All processes of a run are on one
//! machine, so their clocks are one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sinew_model::Time;

use crate::{
    observe::{Moment, Seen, TaskSeen},
    plan::Kind,
    world::Struck,
};

/// Times, in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    fn push(&mut self, from: Time, to: Time) {
        self.0.push(u64::try_from(to.since(from).as_millis()).unwrap_or(u64::MAX));
        self.0.sort_unstable();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The least time that so many percent of all do not exceed.
    pub(crate) fn percentile(&self, percent: usize) -> Option<u64> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "p50Ms": self.percentile(50),
            "p99Ms": self.percentile(99),
            "maxMs": self.percentile(100),
        })
    }
}

/// What a run measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recovery {
    /// From a fault to the next end of a task, by the kind of the fault.
    pub(crate) next_end: BTreeMap<Kind, Times>,
    /// The same for all faults.
    pub(crate) next_end_of_all: Times,
    /// From the moment at which all servers said that they were well after a fault that struck one
    /// of them until each held what the leaders held.
    pub(crate) caught_up: Times,
    /// Faults after which the next one struck before any task ended: their times are those of two
    /// faults, and are left out.
    pub(crate) overtaken: usize,
    /// From the SIGKILL of an agent to the next attempt on a task that it had in hand.
    pub(crate) task_again: BTreeMap<Kind, Times>,
}

impl Recovery {
    /// Reads the times out of the logs.
    pub(crate) fn of(struck: &[Struck], seen: &Seen) -> Self {
        let mut ends: Vec<Time> = seen.tasks.values().filter_map(TaskSeen::ended).collect();
        ends.sort_unstable();
        let mut recovery = Self::default();
        let followers = struck.iter().skip(1).map(|next| Some(next.at)).chain([None]);
        for (fault, follower) in struck.iter().zip(followers) {
            let next = ends.get(ends.partition_point(|end| *end < fault.at));
            if follower.is_some_and(|at| next.is_none_or(|next| at < *next)) {
                recovery.overtaken += 1;
            } else if let Some(next) = next {
                recovery.next_end.entry(fault.kind).or_default().push(fault.at, *next);
                recovery.next_end_of_all.push(fault.at, *next);
            }
            if fault.kind.strikes_a_server() {
                recovery.caught_up.push(fault.well, fault.until);
            }
            if fault.kind.kills_an_agent() {
                for task in seen.tasks.values() {
                    if let Some(again) = again(task, fault) {
                        recovery.task_again.entry(fault.kind).or_default().push(fault.at, again);
                    }
                }
            }
        }
        recovery
    }
}

/// When a task that ran in the victim was begun again.
fn again(task: &TaskSeen, fault: &Struck) -> Option<Time> {
    let after = task.moments.partition_point(|(at, _)| *at < fault.at);
    let (before, after) = task.moments.split_at_checked(after)?;
    let (_, last) = before.last()?;
    if *last != Moment::Started(fault.victim.clone()) {
        return None;
    }
    let mut begun = after.iter().filter(|(_, moment)| matches!(moment, Moment::Started(_)));
    begun.next().map(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_model::TaskId;

    fn at(seconds: i64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_task_is_again_at_work_when_its_next_attempt_begins() {
        let started = |name: &str| Moment::Started(name.to_owned());
        let moments = vec![
            (at(1), started("a")),
            (at(4), Moment::Released),
            (at(5), started("b")),
            (at(6), Moment::Ended),
        ];
        let id: TaskId = "t1".parse().unwrap();
        let task = TaskSeen { moments, ..TaskSeen::default() };
        let seen = Seen { tasks: [(id, task)].into(), ..Seen::default() };
        let fault = |victim: &str, from| Struck {
            kind: Kind::KillAgent,
            victim: victim.to_owned(),
            at: at(from),
            well: at(from),
            until: at(from),
            apart: None,
        };
        let again = |faults: &[Struck]| {
            let of_kind = Recovery::of(faults, &seen).task_again.remove(&Kind::KillAgent);
            of_kind.and_then(|times| times.percentile(50))
        };
        assert_eq!(again(&[fault("a", 2)]), Some(3_000));
        // It did not run in that one, or no more.
        assert_eq!(again(&[fault("b", 2), fault("a", 5), fault("b", 7)]), None);
        let recovery = Recovery::of(&[fault("a", 2)], &seen);
        assert_eq!(recovery.next_end_of_all.percentile(99), Some(4_000));
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let mut times = Times::default();
        assert_eq!(times.percentile(99), None);
        for seconds in (1..=100).rev() {
            times.push(at(0), at(seconds));
        }
        assert_eq!(times.percentile(50), Some(50_000));
        assert_eq!(times.percentile(99), Some(99_000));
        assert_eq!(times.percentile(100), Some(100_000));
    }
}
