//! The law of a lease: over any schedule of candidates that look, write, stand still and lose
//! answers, at most one is sure of it at a time, and what an earlier holder writes under its fence
//! is refused.

use std::time::Duration;

use proptest::prelude::*;
use sinew_model::{
    Time,
    lease::{Candidate, Fence, LeaseRecord, Step},
};

const TTL: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
enum Act {
    /// Time goes by.
    Pass(u64),
    /// A candidate takes its next step.
    Step(usize),
    /// A candidate writes, and the answer comes only after so many milliseconds; or never.
    Slow(usize, u64, bool),
    /// A candidate reads.
    Look(usize),
    /// A candidate gives it back.
    Release(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1..3_000_u64).prop_map(Act::Pass),
        6 => (0..3_usize).prop_map(Act::Step),
        2 => (0..3_usize, 0..6_000_u64, any::<bool>()).prop_map(|(a, b, c)| Act::Slow(a, b, c)),
        3 => (0..3_usize).prop_map(Act::Look),
        1 => (0..3_usize).prop_map(Act::Release),
    ]
}

/// A stream that keeps one record.
#[derive(Default)]
struct Store {
    seq: u64,
    record: Option<LeaseRecord>,
}

impl Store {
    fn write(&mut self, expect: u64, record: &LeaseRecord) -> Option<u64> {
        if expect != self.seq {
            return None;
        }
        self.seq += 1;
        self.record = Some(record.clone());
        Some(self.seq)
    }
}

fn at(millis: u64) -> Time {
    Time::from_micros(i64::try_from(millis).unwrap() * 1_000)
}

proptest! {
    #[test]
    fn one_at_a_time_holds_it_and_an_earlier_one_is_fenced_off(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut store = Store::default();
        let mut all: Vec<Candidate> =
            ["a", "b", "c"].map(|name| Candidate::new(name.to_owned(), TTL)).into();
        let (mut now, mut terms) = (0, 0);
        let mut old: Vec<Fence> = Vec::new();
        for act in acts {
            match act {
                Act::Pass(millis) => now += millis,
                Act::Look(who) => all[who].looked(store.seq, store.record.clone(), at(now)),
                Act::Step(who) => match all[who].next(at(now), at(now)) {
                    Step::Look => all[who].looked(store.seq, store.record.clone(), at(now)),
                    Step::Write { expect, record } => match store.write(expect, &record) {
                        Some(seq) => all[who].wrote(seq, record, at(now)),
                        None => all[who].lost(),
                    },
                    Step::Wait(until) => prop_assert!(until > at(now)),
                },
                Act::Slow(who, millis, answered) => {
                    let from = at(now);
                    if let Step::Write { expect, record } = all[who].next(from, from) {
                        let stored = store.write(expect, &record);
                        now += millis;
                        match stored.filter(|_| answered) {
                            Some(seq) => all[who].wrote(seq, record, from),
                            None => all[who].lost(),
                        }
                    }
                }
                Act::Release(who) => {
                    if let Some((expect, record)) = all[who].release(at(now)) {
                        match store.write(expect, &record) {
                            Some(seq) => all[who].wrote(seq, record, at(now)),
                            None => all[who].lost(),
                        }
                    }
                }
            }
            let sure: Vec<Fence> = all.iter().filter_map(|it| it.fence(at(now))).collect();
            prop_assert!(sure.len() <= 1, "two are sure of it: {:?}", sure);
            for fence in &sure {
                prop_assert_eq!(fence.seq, store.seq, "who is sure of it may write");
                prop_assert!(fence.term >= terms, "terms rise");
                terms = fence.term;
            }
            old.extend(sure);
            for fence in old.iter().filter(|fence| fence.seq != store.seq) {
                prop_assert!(fence.seq < store.seq, "a write under it is refused");
            }
        }
    }
}
