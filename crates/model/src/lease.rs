//! Who of several controllers acts: the life of a lease, as pure rules. The record lies in a stream,
//! and each writer says which record it takes the place of, so of two takers one wins.
//!
//! No two clocks are compared: a candidate takes a lease over that it saw unchanged, by its own
//! clock, for as long as the record says that it holds; and a holder counts from before it asked.
//! The sequence of its newest record is its fence: what is written under that fence is refused by
//! the server once another one has written the record.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    limits::{LEASE_MARGIN, LEASE_RENEWALS},
    time::Time,
};

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseName {
    /// Deciding how many instances each role needs.
    Scaler,
    /// Starting and stopping them on a machine.
    Actuator,
}

impl LeaseName {
    /// The name as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Scaler => "scaler",
            Self::Actuator => "actuator",
        }
    }
}

/// The newest word about a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRecord {
    /// Who holds it.
    pub holder: String,
    /// How often it has changed hands: the later holder has the higher one.
    pub term: u64,
    /// For how many milliseconds it holds, unless it is renewed.
    pub ttl_millis: u64,
    /// When this was written, by the holder's clock; for people.
    pub at: Time,
    /// Whether it was given back, so that nobody need wait.
    #[serde(default)]
    pub released: bool,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// By what a holder acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Its term.
    pub term: u64,
    /// The sequence of its newest record: the condition of whatever it writes.
    pub seq: u64,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the record.
    Look,
    /// Write `record` in the place of the one at sequence `expect` (0: there is none).
    Write {
        /// The sequence that must still be the newest.
        expect: u64,
        /// What to write.
        record: LeaseRecord,
    },
    /// Nothing until then.
    Wait(Time),
}

/// One candidate for a lease. Every time is of its own steady clock, but for what is written into a
/// record for people.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: String,
    ttl: Duration,
    seen: Option<Seen>,
    held: Option<Held>,
}

#[derive(Clone, Debug)]
struct Seen {
    seq: u64,
    record: Option<LeaseRecord>,
    /// Since when this very record is known.
    since: Time,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    fence: Fence,
    /// When the write was begun that won it.
    from: Time,
}

impl Candidate {
    /// A candidate by a name that no other process has.
    #[must_use]
    pub const fn new(me: String, ttl: Duration) -> Self {
        Self { me, ttl, seen: None, held: None }
    }

    /// By what it may act now; `None` where it does not hold the lease, or no longer surely.
    #[must_use]
    pub fn fence(&self, now: Time) -> Option<Fence> {
        let sure = self.ttl.saturating_sub(LEASE_MARGIN.min(self.ttl / 4));
        self.held.filter(|held| now >= held.from && now.since(held.from) < sure).map(|it| it.fence)
    }

    /// Whether it has the lease as far as it knows, surely or not.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.held.is_some()
    }

    /// Whether another one has the lease as far as it knows.
    #[must_use]
    pub fn is_anothers(&self) -> bool {
        self.seen().is_some_and(|record| !record.released && record.holder != self.me)
    }

    /// The record as it was last seen.
    #[must_use]
    pub fn seen(&self) -> Option<&LeaseRecord> {
        self.seen.as_ref()?.record.as_ref()
    }

    /// What is to be done at `now`; `at` is what the wall clock says, for people.
    #[must_use]
    pub fn next(&self, now: Time, at: Time) -> Step {
        if let Some(held) = self.held {
            let due = held.from.plus(self.ttl / LEASE_RENEWALS);
            if now < due {
                return Step::Wait(due);
            }
            let record = self.record(held.fence.term, at);
            return Step::Write { expect: held.fence.seq, record };
        }
        let Some(seen) = &self.seen else { return Step::Look };
        let term = seen.record.as_ref().map_or(0, |record| record.term);
        let take =
            Step::Write { expect: seen.seq, record: self.record(term.saturating_add(1), at) };
        match &seen.record {
            None => take,
            // Its own name is on it: an answer was lost, or the server was away.
            Some(record) if record.released || record.holder == self.me => take,
            Some(record) => {
                let over = seen.since.plus(Duration::from_millis(record.ttl_millis));
                if now >= over { take } else { Step::Wait(over) }
            }
        }
    }

    /// What it writes when it gives the lease back.
    #[must_use]
    pub fn release(&self, at: Time) -> Option<(u64, LeaseRecord)> {
        let held = self.held?;
        let record = LeaseRecord { released: true, ..self.record(held.fence.term, at) };
        Some((held.fence.seq, record))
    }

    /// The record was read: it is at `seq`, or there is none.
    pub fn looked(&mut self, seq: u64, record: Option<LeaseRecord>, now: Time) {
        if self.held.is_some_and(|held| held.fence.seq != seq) {
            self.held = None;
        }
        if self.seen.as_ref().is_none_or(|seen| seen.seq != seq) {
            self.seen = Some(Seen { seq, record, since: now });
        }
    }

    /// Its write, begun at `from`, is stored at `seq`.
    pub fn wrote(&mut self, seq: u64, record: LeaseRecord, from: Time) {
        let fence = Fence { term: record.term, seq };
        self.held = (!record.released).then_some(Held { fence, from });
        self.seen = Some(Seen { seq, record: Some(record), since: from });
    }

    /// Its write was refused, since another one wrote; or its outcome is not known. Either way it
    /// must read before it acts again.
    pub fn lost(&mut self) {
        self.held = None;
        self.seen = None;
    }

    fn record(&self, term: u64, at: Time) -> LeaseRecord {
        LeaseRecord {
            holder: self.me.clone(),
            term,
            ttl_millis: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            at,
            released: false,
            extra: Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(4);

    fn at(millis: i64) -> Time {
        Time::from_micros(millis * 1_000)
    }

    fn holder() -> Candidate {
        let mut a = Candidate::new("a".to_owned(), TTL);
        assert_eq!(a.next(at(0), at(0)), Step::Look);
        a.looked(0, None, at(0));
        let Step::Write { expect: 0, record } = a.next(at(0), at(0)) else { panic!("{a:?}") };
        a.wrote(1, record, at(0));
        a
    }

    #[test]
    fn who_finds_none_takes_it_and_renews_it_before_it_is_over() {
        let mut a = holder();
        assert_eq!(a.fence(at(0)), Some(Fence { term: 1, seq: 1 }));
        assert_eq!(a.next(at(10), at(10)), Step::Wait(at(1_000)));
        let Step::Write { expect: 1, record } = a.next(at(1_000), at(0)) else { panic!("{a:?}") };
        assert_eq!(record.term, 1, "a renewal is no change of hands");
        a.wrote(2, record, at(1_000));
        assert_eq!(a.fence(at(4_400)), Some(Fence { term: 1, seq: 2 }));
        assert_eq!(a.fence(at(4_500)), None, "it stops a margin before it must");
    }

    #[test]
    fn another_takes_it_over_when_it_stood_still_for_its_whole_time() {
        let a = holder();
        let mut b = Candidate::new("b".to_owned(), TTL);
        b.looked(1, a.seen().cloned(), at(500));
        b.looked(1, a.seen().cloned(), at(3_000));
        assert_eq!(b.next(at(3_000), at(0)), Step::Wait(at(4_500)));
        let Step::Write { expect: 1, record } = b.next(at(4_500), at(0)) else { panic!("{b:?}") };
        assert_eq!(record.term, 2);
        assert_eq!(a.fence(at(4_500)), None);
    }

    #[test]
    fn one_that_was_given_back_is_taken_at_once() {
        let mut a = holder();
        let (1, record) = a.release(at(9)).unwrap() else { panic!("{a:?}") };
        a.wrote(2, record.clone(), at(9));
        assert_eq!(a.fence(at(9)), None);
        let mut b = Candidate::new("b".to_owned(), TTL);
        b.looked(2, Some(record), at(10));
        assert!(matches!(b.next(at(10), at(10)), Step::Write { expect: 2, .. }));
    }

    #[test]
    fn a_lost_write_makes_it_look_again() {
        let mut a = holder();
        let record = a.seen().cloned();
        a.lost();
        assert_eq!((a.fence(at(1)), a.next(at(1), at(1))), (None, Step::Look));
        // What it finds is its own, so it need not wait; another one must.
        a.looked(1, record.clone(), at(2));
        assert!(!a.is_anothers());
        assert!(matches!(a.next(at(2), at(2)), Step::Write { expect: 1, .. }));
        let mut b = Candidate::new("b".to_owned(), TTL);
        b.looked(1, record, at(2));
        assert!(b.is_anothers());
    }
}
