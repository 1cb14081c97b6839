//! Whether a group of messages goes as one batch or message by message, all at once. Neither is
//! always faster: the server makes a small store for each batch, which takes it milliseconds and
//! spares one fsync a message. Where it does not fsync at once, or for a few messages, that is a
//! bad bargain. A client can't see which it is, so it watches the clock.
//!
//! It decides about speed only: what is sent either way is stored by the same rules.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use sinew_model::limits::{BATCH_MESSAGES, OTHER_WAY_EVERY};

/// How a group goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As one batch.
    Batch,
    /// Message by message, without waiting in between.
    Singles,
}

/// Groups of half to all of twice a size cost alike, so each doubling is watched by itself.
const CLASSES: usize = BATCH_MESSAGES.ilog2() as usize + 1;

/// What groups have cost on one stream.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// By the doublings of the size. Held for a few steps only.
    classes: Mutex<[Class; CLASSES]>,
}

/// What groups of about one size have cost, by message.
#[derive(Clone, Copy, Debug, Default)]
struct Class {
    batch: Option<Duration>,
    singles: Option<Duration>,
    /// Spent on the better way since the other one was tried.
    since_other: Duration,
}

impl Costs {
    /// How a group of so many messages should go.
    pub(super) fn choose(&self, members: usize) -> Way {
        self.with(members, |class| class.choose())
    }

    /// What a group cost that went one way and was answered.
    pub(super) fn learn(&self, way: Way, members: usize, took: Duration) {
        let each = took / u32::try_from(members).unwrap_or(u32::MAX).max(1);
        self.with(members, |class| class.learn(way, each));
    }

    fn with<T>(&self, members: usize, act: impl FnOnce(&mut Class) -> T) -> T {
        let doublings = usize::try_from(members.max(1).ilog2()).unwrap_or(CLASSES);
        // The classes are whole after every single step.
        let mut classes = self.classes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut spare = Class::default();
        act(classes.get_mut(doublings.min(CLASSES - 1)).unwrap_or(&mut spare))
    }
}

impl Class {
    fn choose(&self) -> Way {
        let (Some(batch), Some(singles)) = (self.batch, self.singles) else {
            return if self.batch.is_none() { Way::Batch } else { Way::Singles };
        };
        // What the other way costs may have changed; a small part of the time goes into looking.
        let look = self.since_other > batch.max(singles) * OTHER_WAY_EVERY;
        if (batch <= singles) == look { Way::Singles } else { Way::Batch }
    }

    fn learn(&mut self, way: Way, each: Duration) {
        let better = match (self.batch, self.singles) {
            (Some(batch), Some(singles)) if batch <= singles => Some(Way::Batch),
            (Some(_), Some(_)) => Some(Way::Singles),
            _ => None,
        };
        let known = match way {
            Way::Batch => &mut self.batch,
            Way::Singles => &mut self.singles,
        };
        // One that was held up by something else says little.
        let old = known.unwrap_or(each);
        let each = each.min(old * 4);
        *known = Some((old * 3 + each) / 4);
        if better == Some(way) {
            self.since_other += each;
        } else {
            self.since_other = Duration::ZERO;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends groups of `members` until `count` went, and says how many of them as a batch.
    fn run(costs: &Costs, count: usize, members: u32, cost: impl Fn(Way) -> Duration) -> usize {
        let mut batches = 0;
        for _ in 0..count {
            let way = costs.choose(members as usize);
            costs.learn(way, members as usize, cost(way));
            batches += usize::from(way == Way::Batch);
        }
        batches
    }

    #[test]
    fn the_faster_way_is_taken_and_the_other_one_seldom_tried() {
        let costs = Costs::default();
        let fsync_late = |way| if way == Way::Batch { MS * 4 } else { MS };
        let batches = run(&costs, 1_000, 10, fsync_late);
        assert!((2..=6).contains(&batches), "{batches} batches of 4 ms among groups of 1 ms");
        let costs = Costs::default();
        let fsync_first = |way| if way == Way::Batch { MS * 8 } else { MS * 30 };
        let singles = 1_000 - run(&costs, 1_000, 100, fsync_first);
        assert!((2..=6).contains(&singles), "{singles} groups of 30 ms among batches of 8 ms");
    }

    #[test]
    fn a_change_is_noticed() {
        let costs = Costs::default();
        run(&costs, 100, 10, |way| if way == Way::Batch { MS * 4 } else { MS });
        let batches = run(&costs, 1_000, 10, |way| if way == Way::Batch { MS } else { MS * 4 });
        assert!(batches > 800, "{batches} of 1,000");
    }

    #[test]
    fn sizes_are_told_apart_and_the_first_group_is_a_batch() {
        let costs = Costs::default();
        run(&costs, 10, 2, |way| if way == Way::Batch { MS * 4 } else { MS });
        assert_eq!((costs.choose(3), costs.choose(4)), (Way::Singles, Way::Batch));
        run(&costs, 10, 500, |_| MS);
        assert_eq!(costs.choose(100_000), costs.choose(500), "there is no larger class");
    }

    #[test]
    fn one_hold_up_does_not_turn_the_choice() {
        let costs = Costs::default();
        let cost = |way| if way == Way::Batch { MS * 4 } else { MS };
        run(&costs, 10, 10, cost);
        costs.learn(Way::Singles, 10, MS * 1_000);
        assert_eq!(costs.choose(10), Way::Singles);
    }
}
