//! Votes: who may cast one, when they are enough, and what comes of them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Rule};
use crate::id::Role;

/// How somebody votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Vote {
    /// For it.
    Approve,
    /// Against it.
    Reject,
    /// Neither, but the vote is cast.
    Abstain,
    /// Against it, and that is enough; with a reason.
    Veto,
}

impl Vote {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Approve, Self::Reject, Self::Abstain, Self::Veto];

    /// The vote as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Abstain => "abstain",
            Self::Veto => "veto",
        }
    }
}

impl std::str::FromStr for Vote {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.word() == text);
        found.ok_or_else(|| format!("{text:?} is no vote: approve, reject, abstain or veto"))
    }
}

/// A vote that was cast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ballot {
    /// How.
    pub vote: Vote,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
}

/// What came of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Approved,
    /// It does not.
    Rejected,
    /// It does not, because somebody vetoed it.
    Vetoed,
    /// Too few voted in time, or the meeting ended before.
    Lapsed,
}

impl Outcome {
    /// The outcome as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Vetoed => "vetoed",
            Self::Lapsed => "lapsed",
        }
    }
}

/// How many voted how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// For it.
    pub approve: u32,
    /// Against it.
    pub reject: u32,
    /// Neither.
    pub abstain: u32,
    /// Against it, enough by itself.
    pub veto: u32,
    /// Those who were there and did not vote.
    pub missing: u32,
}

impl Tally {
    /// Counts votes.
    pub(super) fn of(votes: &BTreeMap<Role, Ballot>, electorate: &BTreeSet<Role>) -> Self {
        let mut tally = Self::default();
        for ballot in votes.values() {
            let count = match ballot.vote {
                Vote::Approve => &mut tally.approve,
                Vote::Reject => &mut tally.reject,
                Vote::Abstain => &mut tally.abstain,
                Vote::Veto => &mut tally.veto,
            };
            *count = count.saturating_add(1);
        }
        let missing = electorate.iter().filter(|role| !votes.contains_key(role)).count();
        tally.missing = u32::try_from(missing).unwrap_or(u32::MAX);
        tally
    }

    /// Those who voted.
    #[must_use]
    pub const fn cast(&self) -> u32 {
        self.approve
            .saturating_add(self.reject)
            .saturating_add(self.abstain)
            .saturating_add(self.veto)
    }

    /// What comes of these votes; `None` while votes that are missing could still change it and
    /// there is time for them. `vetoers`: how many of those missing may veto.
    pub(super) fn outcome(
        &self,
        it: &Definition,
        vetoers: u32,
        time_is_up: bool,
    ) -> Option<Outcome> {
        if self.veto > 0 {
            return Some(Outcome::Vetoed);
        }
        if it.rule == Rule::Unanimous && self.reject > 0 {
            return Some(Outcome::Rejected);
        }
        let all = self.cast().saturating_add(self.missing);
        let open = self.missing > 0;
        match it.rule {
            Rule::Unanimous if open => time_is_up.then_some(Outcome::Lapsed),
            Rule::Majority if self.approve > all / 2 => Some(Outcome::Approved),
            Rule::MajorityWithVeto if self.approve > all / 2 && vetoers == 0 => {
                Some(Outcome::Approved)
            }
            Rule::Majority | Rule::MajorityWithVeto if self.reject > all / 2 => {
                Some(Outcome::Rejected)
            }
            Rule::Majority | Rule::MajorityWithVeto if open && !time_is_up => None,
            // Fewer votes than make up a quorum bind nobody; a quorum of which some have left is
            // what is left of it.
            Rule::Majority | Rule::MajorityWithVeto if self.cast() < it.quorum.min(all) => {
                Some(Outcome::Lapsed)
            }
            Rule::Majority | Rule::MajorityWithVeto | Rule::Unanimous => {
                let approved = self.approve > self.reject;
                Some(if approved { Outcome::Approved } else { Outcome::Rejected })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(rule: Rule) -> Definition {
        let roles: Vec<Role> = ["a", "b", "c", "d", "e"].map(|it| it.parse().unwrap()).into();
        let chair: Role = "a".parse().unwrap();
        Definition { rule, ..Definition::new("It", chair, roles) }
    }

    #[track_caller]
    fn check(rule: Rule, votes: [u32; 5], time_is_up: bool, expect: Option<Outcome>) {
        let [approve, reject, abstain, veto, missing] = votes;
        let tally = Tally { approve, reject, abstain, veto, missing };
        assert_eq!(tally.outcome(&definition(rule), missing, time_is_up), expect);
    }

    #[test]
    fn a_majority_decides_as_soon_as_nothing_can_change_it() {
        let rule = Rule::Majority;
        check(rule, [2, 0, 0, 0, 3], false, None);
        check(rule, [3, 0, 0, 0, 2], false, Some(Outcome::Approved));
        check(rule, [0, 3, 0, 0, 2], false, Some(Outcome::Rejected));
        check(rule, [2, 2, 0, 0, 1], false, None);
        check(rule, [2, 2, 1, 0, 0], false, Some(Outcome::Rejected));
        check(rule, [2, 1, 2, 0, 0], false, Some(Outcome::Approved));
    }

    #[test]
    fn when_the_time_is_up_a_quorum_of_votes_decides() {
        let rule = Rule::Majority;
        check(rule, [2, 0, 0, 0, 3], true, Some(Outcome::Lapsed));
        check(rule, [2, 1, 0, 0, 2], true, Some(Outcome::Approved));
        check(rule, [1, 0, 2, 0, 2], true, Some(Outcome::Approved));
        check(rule, [0, 0, 0, 0, 5], true, Some(Outcome::Lapsed));
    }

    #[test]
    fn unanimous_means_everybody_and_nobody_against() {
        let rule = Rule::Unanimous;
        check(rule, [4, 0, 0, 0, 1], false, None);
        check(rule, [4, 0, 0, 0, 1], true, Some(Outcome::Lapsed));
        check(rule, [0, 1, 0, 0, 4], false, Some(Outcome::Rejected));
        check(rule, [4, 0, 1, 0, 0], false, Some(Outcome::Approved));
        check(rule, [0, 0, 5, 0, 0], false, Some(Outcome::Rejected));
    }

    #[test]
    fn one_veto_is_enough_and_whoever_may_veto_is_waited_for() {
        let rule = Rule::MajorityWithVeto;
        check(rule, [4, 0, 0, 1, 0], false, Some(Outcome::Vetoed));
        check(rule, [4, 0, 0, 0, 1], false, None);
        check(rule, [4, 0, 0, 0, 1], true, Some(Outcome::Approved));
        check(rule, [5, 0, 0, 0, 0], false, Some(Outcome::Approved));
        let tally = Tally { approve: 3, missing: 2, ..Tally::default() };
        assert_eq!(tally.outcome(&definition(rule), 0, false), Some(Outcome::Approved));
    }
}
