//! What a meeting is called for: who, about what, in which order, by which rule, and for how long.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    id::Role,
    limits::{
        ACTION_DETAILS_BYTES, AGENDA_ITEMS, CHAIR_SECONDS, MEETING_MEMBERS, MEETING_SECONDS,
        MEETING_SECONDS_MOST, QUORUM_SECONDS, ROUNDS, ROUNDS_MOST, TITLE_BYTES, TURN_SECONDS,
        VOTE_SECONDS,
    },
    time::Time,
};

/// What a meeting is, as whoever opened it wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// One line for a person, at most 512 bytes.
    pub title: String,
    /// What kind of meeting it is: `standup`, `architecture_decision`, `incident_response`. A word
    /// for people; nothing depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meeting_type: Option<String>,
    /// What it is about, in order.
    pub agenda: Vec<Item>,
    /// Who leads it: one of the members.
    pub chair: Role,
    /// Who is to be there, in the order of turns and of succession. Only they make up the quorum.
    pub members: Vec<Role>,
    /// Who may be there besides. Once they have joined they speak and vote like members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub optional: Vec<Role>,
    /// How many members must be there before it begins.
    pub quorum: u32,
    /// Who may speak when.
    #[serde(default)]
    pub turns: Turns,
    /// How votes become a decision.
    #[serde(default, rename = "decisionModel")]
    pub rule: Rule,
    /// Who may veto under `majority_with_veto`; everybody, where it names nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub veto_roles: Vec<Role>,
    /// How often each may speak about one item of the agenda.
    #[serde(default = "rounds")]
    pub rounds: u32,
    /// When it begins at the earliest; at once, where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Time>,
    /// Seconds after its start when it ends, whatever is open.
    #[serde(default = "meeting_seconds")]
    pub duration_seconds: u64,
    /// Seconds that it waits for its quorum.
    #[serde(default = "quorum_seconds")]
    pub quorum_seconds: u64,
    /// Seconds of silence after which whoever has the turn is passed over.
    #[serde(default = "turn_seconds")]
    pub turn_seconds: u64,
    /// Seconds for which votes on a proposal are taken.
    #[serde(default = "vote_seconds")]
    pub vote_seconds: u64,
    /// Seconds of silence after which another one takes the chair.
    #[serde(default = "chair_seconds")]
    pub chair_seconds: u64,
    /// Fields that this version does not know; they are kept.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One item of an agenda.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What it is about, in one line.
    pub item: String,
    /// Seconds after which the meeting goes on to the next item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// Whether the chair may leave it only after a decision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requires_vote: bool,
}

/// Who may speak when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// The chair, and whom the chair gives the floor, for one speech.
    ChairLed,
    /// One after the other, in the order in which they were named.
    #[default]
    RoundRobin,
    /// Whoever wants to.
    Free,
}

impl Turns {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ChairLed, Self::RoundRobin, Self::Free];

    /// The order as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ChairLed => "chair_led",
            Self::RoundRobin => "round_robin",
            Self::Free => "free",
        }
    }
}

impl std::str::FromStr for Turns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace('-', "_");
        let found = Self::ALL.into_iter().find(|it| it.word() == text);
        found.ok_or_else(|| format!("{text:?} is no order: chair-led, round-robin or free"))
    }
}

/// How votes become a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// More approve than reject.
    #[default]
    Majority,
    /// Nobody rejects, and everybody who is there has voted.
    Unanimous,
    /// As `majority`, but one veto is enough to reject.
    MajorityWithVeto,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Majority, Self::Unanimous, Self::MajorityWithVeto];

    /// The rule as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Unanimous => "unanimous",
            Self::MajorityWithVeto => "majority_with_veto",
        }
    }
}

impl std::str::FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace('-', "_");
        let found = Self::ALL.into_iter().find(|it| it.word() == text);
        found.ok_or_else(|| {
            format!("{text:?} is no rule: majority, unanimous or majority-with-veto")
        })
    }
}

/// Something that somebody is to do after the meeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionItem {
    /// The one role that is to do it.
    pub assignee: Role,
    /// What is to be done, in one line: the title of the task.
    pub action: String,
    /// What the worker needs besides.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

/// Why a meeting is not called as it stands.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefinitionError {
    /// A line is empty, too long, or not one line.
    #[error("{what} must be one line of 1 to {TITLE_BYTES} bytes without control characters")]
    Line {
        /// Which.
        what: &'static str,
    },
    /// There is nothing to talk about, or too much.
    #[error("an agenda has 1 to {AGENDA_ITEMS} items, and this one has {items}")]
    Agenda {
        /// How many it has.
        items: usize,
    },
    /// There are too few members, or too many.
    #[error("a meeting has 1 to {MEETING_MEMBERS} members, and this one has {members}")]
    Members {
        /// How many it has.
        members: usize,
    },
    /// Somebody is named twice.
    #[error("{role} is named twice")]
    Twice {
        /// Who.
        role: Role,
    },
    /// The chair is no member.
    #[error("the chair {chair} is none of the members")]
    Chair {
        /// The chair.
        chair: Role,
    },
    /// Somebody may veto who is not in the meeting.
    #[error("{role} may veto and is not in the meeting")]
    Veto {
        /// Who.
        role: Role,
    },
    /// The quorum can't be reached, or is none.
    #[error("the quorum must be from 1 to {members}, the number of members")]
    Quorum {
        /// How many members there are.
        members: usize,
    },
    /// There are no rounds, or too many.
    #[error("rounds must be from 1 to {ROUNDS_MOST}")]
    Rounds,
    /// A span is none, or too long.
    #[error("{what} must be from 1 to {MEETING_SECONDS_MOST} seconds")]
    Span {
        /// Which.
        what: &'static str,
    },
}

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// There is too much in it.
    #[error("it has {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is taken.
        limit: usize,
    },
    /// It would move the cursor of a terminal.
    #[error("it has control characters other than tabs and line ends")]
    Control,
    /// It is to be one line.
    #[error("it must be one line")]
    Lines,
}

impl Definition {
    /// A meeting of these members about its title, with the quorum of more than half of them.
    #[must_use]
    pub fn new(title: impl Into<String>, chair: Role, members: Vec<Role>) -> Self {
        let title = title.into();
        let item = Item { item: title.clone(), duration_seconds: None, requires_vote: false };
        Self {
            title,
            meeting_type: None,
            agenda: vec![item],
            chair,
            quorum: most(members.len()),
            members,
            optional: Vec::new(),
            turns: Turns::default(),
            rule: Rule::default(),
            veto_roles: Vec::new(),
            rounds: ROUNDS,
            scheduled_for: None,
            duration_seconds: MEETING_SECONDS,
            quorum_seconds: QUORUM_SECONDS,
            turn_seconds: TURN_SECONDS,
            vote_seconds: VOTE_SECONDS,
            chair_seconds: CHAIR_SECONDS,
            extra: Map::new(),
        }
    }

    /// Everybody who may be there, in the order of turns.
    pub fn everybody(&self) -> impl Iterator<Item = &Role> {
        self.members.iter().chain(&self.optional)
    }

    /// Whether somebody may be there.
    #[must_use]
    pub fn has(&self, role: &Role) -> bool {
        self.everybody().any(|it| it == role)
    }

    /// Whether somebody may veto.
    #[must_use]
    pub fn may_veto(&self, role: &Role) -> bool {
        self.rule == Rule::MajorityWithVeto
            && self.has(role)
            && (self.veto_roles.is_empty() || self.veto_roles.contains(role))
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// Whatever rule it breaks.
    pub fn check(&self) -> Result<(), DefinitionError> {
        let line = |what, text: &str| {
            one_line(text, TITLE_BYTES).map_err(|_why: TextError| DefinitionError::Line { what })
        };
        line("the title", &self.title)?;
        if let Some(kind) = &self.meeting_type {
            line("the type", kind)?;
        }
        if self.agenda.is_empty() || self.agenda.len() > AGENDA_ITEMS {
            return Err(DefinitionError::Agenda { items: self.agenda.len() });
        }
        for item in &self.agenda {
            line("an item of the agenda", &item.item)?;
            span("the time for an item", item.duration_seconds.unwrap_or(1))?;
        }
        self.check_members()?;
        if !(1..=ROUNDS_MOST).contains(&self.rounds) {
            return Err(DefinitionError::Rounds);
        }
        span("the time for the meeting", self.duration_seconds)?;
        span("the time for the quorum", self.quorum_seconds)?;
        span("the time for a turn", self.turn_seconds)?;
        span("the time for votes", self.vote_seconds)?;
        span("the silence of a chair", self.chair_seconds)
    }

    fn check_members(&self) -> Result<(), DefinitionError> {
        let members = self.members.len();
        let everybody = self.everybody().count();
        if members == 0 || everybody > MEETING_MEMBERS {
            return Err(DefinitionError::Members { members: everybody });
        }
        let mut known = BTreeSet::new();
        if let Some(role) = self.everybody().find(|role| !known.insert(*role)) {
            return Err(DefinitionError::Twice { role: role.clone() });
        }
        if !self.members.contains(&self.chair) {
            return Err(DefinitionError::Chair { chair: self.chair.clone() });
        }
        if let Some(role) = self.veto_roles.iter().find(|role| !self.has(role)) {
            return Err(DefinitionError::Veto { role: role.clone() });
        }
        if self.quorum == 0 || usize::try_from(self.quorum).is_ok_and(|it| it > members) {
            return Err(DefinitionError::Quorum { members });
        }
        Ok(())
    }
}

impl ActionItem {
    /// Checks every rule.
    ///
    /// # Errors
    /// Whatever rule it breaks.
    pub fn check(&self) -> Result<(), TextError> {
        one_line(&self.action, TITLE_BYTES)?;
        let bytes = serde_json::to_vec(&self.details).map_or(usize::MAX, |bytes| bytes.len());
        if bytes > ACTION_DETAILS_BYTES {
            return Err(TextError::TooLarge { bytes, limit: ACTION_DETAILS_BYTES });
        }
        Ok(())
    }
}

/// The quorum of so many members where nobody names one: more than half.
fn most(members: usize) -> u32 {
    u32::try_from(members / 2 + 1).unwrap_or(u32::MAX)
}

fn span(what: &'static str, seconds: u64) -> Result<(), DefinitionError> {
    let fits = (1..=MEETING_SECONDS_MOST).contains(&seconds);
    if fits { Ok(()) } else { Err(DefinitionError::Span { what }) }
}

/// Checks a text of several lines.
pub(super) fn text(text: &str, limit: usize) -> Result<(), TextError> {
    if text.len() > limit {
        return Err(TextError::TooLarge { bytes: text.len(), limit });
    }
    if text.trim().is_empty() {
        return Err(TextError::Empty);
    }
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(TextError::Control);
    }
    Ok(())
}

fn one_line(line: &str, limit: usize) -> Result<(), TextError> {
    text(line, limit)?;
    if line.contains(['\n', '\t']) { Err(TextError::Lines) } else { Ok(()) }
}

const fn rounds() -> u32 {
    ROUNDS
}

const fn meeting_seconds() -> u64 {
    MEETING_SECONDS
}

const fn quorum_seconds() -> u64 {
    QUORUM_SECONDS
}

const fn turn_seconds() -> u64 {
    TURN_SECONDS
}

const fn vote_seconds() -> u64 {
    VOTE_SECONDS
}

const fn chair_seconds() -> u64 {
    CHAIR_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        text.parse().unwrap()
    }

    fn definition() -> Definition {
        Definition::new("Ship it?", role("ceo"), vec![role("ceo"), role("cto"), role("qa")])
    }

    #[test]
    fn a_meeting_has_usual_numbers_and_reads_what_says_no_more_than_it_must() {
        assert_eq!(definition().check(), Ok(()));
        assert_eq!(definition().quorum, 2);
        let short = serde_json::json!({
            "title": "Ship it?", "agenda": [{ "item": "Ship it?" }], "chair": "ceo",
            "members": ["ceo", "cto", "qa"], "quorum": 2,
        });
        assert_eq!(serde_json::from_value::<Definition>(short).unwrap(), definition());
    }

    #[test]
    fn what_could_not_meet_is_refused_with_the_reason() {
        let check = |change: fn(&mut Definition), words: &str| {
            let mut it = definition();
            change(&mut it);
            let said = it.check().unwrap_err().to_string();
            assert!(said.contains(words), "{said} does not say {words}");
        };
        check(|it| it.title = "a\u{1b}[2Jb".to_owned(), "the title must be one line");
        check(|it| it.title = "a\nb".to_owned(), "the title must be one line");
        check(|it| it.agenda.clear(), "1 to 50 items");
        check(|it| it.members.clear(), "1 to 200 members");
        check(|it| it.optional = vec![role("cto")], "cto is named twice");
        check(|it| it.chair = role("coo"), "coo is none of the members");
        check(|it| it.veto_roles = vec![role("coo")], "coo may veto");
        check(|it| it.quorum = 4, "from 1 to 3");
        check(|it| it.quorum = 0, "from 1 to 3");
        check(|it| it.rounds = 0, "rounds must be");
        check(|it| it.vote_seconds = 0, "the time for votes");
        check(|it| it.duration_seconds = u64::MAX, "the time for the meeting");
    }
}
