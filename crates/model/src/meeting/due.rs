//! What time brings about: the quorum that does not come, the turn that is not used, the votes
//! that are not cast, the chair that is silent, the end. Anybody may write what is due; the
//! controllers do.

use std::time::Duration;

use super::{
    command::Command,
    entry::Reason,
    state::{Phase, Proposal, State, number},
    vote::{Outcome, Tally},
};
use crate::{
    id::{Role, TaskId},
    limits::MEETING_ENTRIES,
    time::Time,
};

impl State {
    /// What is due at a moment, if anything: to be asked of the meeting, one after the other.
    #[must_use]
    pub fn due(&self, now: Time) -> Option<Command> {
        let now = now.max(self.last_at);
        match self.phase {
            Phase::Closed { .. } => self.undelegated().next().map(|number| {
                let task_id = TaskId::of_action(&self.meeting_id, number);
                Command::Delegate { number, task_id }
            }),
            Phase::Gathering => self.due_before(now),
            Phase::Active { .. } => self.due_within(now),
        }
    }

    /// The numbers of the action items that are no tasks yet, in a meeting that is over.
    pub fn undelegated(&self) -> impl Iterator<Item = u32> {
        let numbered = self.actions.iter().enumerate();
        let open = numbered.filter(|(_, action)| action.task_id.is_none() && self.is_closed());
        open.map(|(at, _)| number(at + 1))
    }

    fn due_before(&self, now: Time) -> Option<Command> {
        if self.ending(now).is_some() {
            return Some(Command::Close { summary: None });
        }
        if let Some(number) = self.invitation(now) {
            return Some(Command::Invite { number });
        }
        let begins = now >= self.starts_at() && self.members_there() >= self.definition.quorum;
        begins.then_some(Command::Start)
    }

    fn due_within(&self, now: Time) -> Option<Command> {
        let decided = self.open_proposals().find(|(_, it)| self.result(it, now).is_some());
        if let Some((proposal, _)) = decided {
            return Some(Command::Decide { proposal });
        }
        if self.ending(now).is_some() {
            return Some(Command::Close { summary: None });
        }
        if self.may_skip(now) {
            return Some(Command::Skip);
        }
        if self.may_advance(now) {
            return Some(Command::Next);
        }
        self.successor(now).map(|_| Command::Succeed)
    }

    /// Which invitation is due: the first at once, the second when a scheduled time has come.
    pub(super) fn invitation(&self, now: Time) -> Option<u32> {
        let waits = matches!(self.phase, Phase::Gathering);
        match self.invited {
            0 => Some(1),
            1 if waits && self.starts_at() > self.opened_at && now >= self.starts_at() => Some(2),
            _ => None,
        }
    }

    /// What comes of a proposal by now; `None` while it is not known.
    pub(super) fn result(&self, it: &Proposal, now: Time) -> Option<(Outcome, Tally)> {
        let tally = Tally::of(&it.votes, &it.electorate);
        let missing = it.electorate.iter().filter(|role| !it.votes.contains_key(role));
        let vetoers = missing.filter(|role| self.definition.may_veto(role)).count();
        let time_is_up = now >= it.at.plus(seconds(self.definition.vote_seconds));
        let outcome = tally.outcome(&self.definition, number(vetoers), time_is_up)?;
        Some((outcome, tally))
    }

    /// Why the meeting is to end by now, whoever says so.
    pub(super) fn ending(&self, now: Time) -> Option<Reason> {
        if self.entries >= MEETING_ENTRIES {
            return Some(Reason::TooLong);
        }
        match self.phase {
            Phase::Closed { .. } => None,
            Phase::Gathering => {
                let waits_until = self.starts_at().plus(seconds(self.definition.quorum_seconds));
                let is_there = self.members_there() >= self.definition.quorum;
                (now >= waits_until && !is_there).then_some(Reason::NoQuorum)
            }
            Phase::Active { since } => {
                if now >= since.plus(seconds(self.definition.duration_seconds)) {
                    return Some(Reason::TimeLimit);
                }
                if self.is_last_item() && self.may_advance(now) {
                    return Some(Reason::AgendaDone);
                }
                let alone = self.candidate().is_none();
                (self.is_chair_awaited(now) && alone).then_some(Reason::Silence)
            }
        }
    }

    /// Whether whoever has the turn has been silent for too long. A chair that has the floor by
    /// right is not passed over but followed by another.
    pub(super) fn may_skip(&self, now: Time) -> bool {
        let by_right = self.definition.turns == super::Turns::ChairLed && self.floor.is_none();
        !by_right
            && self.holder().is_some()
            && self.open_proposals().next().is_none()
            && now >= self.turn_since.plus(seconds(self.definition.turn_seconds))
    }

    /// Whether the meeting goes on to the next item, whoever says so: its time is up, or all that
    /// could be said was, and for a while nobody has put anything to the vote.
    pub(super) fn may_advance(&self, now: Time) -> bool {
        let Some(item) = self.items.last() else { return false };
        if self.open_proposals().next().is_some() {
            return false;
        }
        let planned = self.agenda_item().and_then(|it| it.duration_seconds);
        if planned.is_some_and(|span| now >= item.since.plus(seconds(span))) {
            return true;
        }
        let is_quiet = now >= self.last_at.plus(seconds(self.definition.turn_seconds));
        is_quiet && self.is_talked_out() && !self.needs_vote() && self.present().next().is_some()
    }

    /// Whether the item needs a decision that has not been made.
    pub(super) fn needs_vote(&self) -> bool {
        let decided = |it: &&Proposal| {
            it.item == self.item() && it.outcome.is_some_and(|it| it != Outcome::Lapsed)
        };
        self.agenda_item().is_some_and(|it| it.requires_vote)
            && !self.proposals.iter().any(|it| decided(&it))
    }

    /// Whether there is no item after this one.
    pub(super) fn is_last_item(&self) -> bool {
        self.items.len() >= self.definition.agenda.len()
    }

    fn agenda_item(&self) -> Option<&super::Item> {
        self.definition.agenda.get(self.items.len().checked_sub(1)?)
    }

    /// Who takes the chair by now.
    pub(super) fn successor(&self, now: Time) -> Option<&Role> {
        if self.is_chair_awaited(now) { self.candidate() } else { None }
    }

    /// Whoever is next to lead: the first who is there and has not had the chair.
    fn candidate(&self) -> Option<&Role> {
        self.present().find(|role| !self.chairs.contains(role))
    }

    /// Whether everybody has been silent for so long, with nobody else to wait for, that the chair
    /// must be gone.
    fn is_chair_awaited(&self, now: Time) -> bool {
        let others_turn = self.holder().is_some_and(|holder| holder != self.chair());
        matches!(self.phase, Phase::Active { .. })
            && !others_turn
            && self.open_proposals().next().is_none()
            && now >= self.last_at.plus(seconds(self.definition.chair_seconds))
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
