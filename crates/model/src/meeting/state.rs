//! What the entries of a meeting add up to, and the fold that gets there. An entry counts only
//! where `decide` would have written exactly it; everything else is void and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    command::{Command, Refusal, Voice},
    definition::{ActionItem, Definition},
    entry::{Change, Entry, Reason, Stored},
    vote::{Ballot, Outcome, Tally},
};
use crate::{
    id::{MeetingId, Role, TaskId},
    time::Time,
};

/// A meeting as its log tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meeting {
    /// Where it stands; `None` where it was not opened.
    pub state: Option<State>,
    /// The sequence of the newest message on its subjects.
    pub last_seq: u64,
    /// Entries that break the law.
    pub voids: u32,
}

/// Where a meeting stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The meeting.
    pub meeting_id: MeetingId,
    /// What it is.
    #[serde(flatten)]
    pub definition: Definition,
    /// Who opened it.
    pub opened_by: Role,
    /// When.
    pub opened_at: Time,
    /// Everybody who has led it, the last of whom does so now.
    pub chairs: Vec<Role>,
    /// How far it is.
    pub phase: Phase,
    /// For how many times everybody was invited.
    pub invited: u32,
    /// Everybody who ever came in.
    pub seats: BTreeMap<Role, Seat>,
    /// The items of the agenda that were taken up.
    pub items: Vec<ItemState>,
    /// What was put to the vote; the first is number 1.
    pub proposals: Vec<Proposal>,
    /// What is to be done; the first is number 1.
    pub actions: Vec<Action>,
    /// Who was given the floor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<Role>,
    /// Since when whoever has the turn has it.
    pub turn_since: Time,
    /// When it was heard of last.
    pub last_at: Time,
    /// How many entries it has.
    pub entries: u32,
    /// How many bytes of text it holds.
    #[serde(skip)]
    pub text_bytes: usize,
    /// What was said under a key, by whom; of a proposal or an action item its number, else 0.
    #[serde(skip)]
    pub keys: BTreeMap<(Role, String), u32>,
}

/// How far a meeting is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "is", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Phase {
    /// Its time has not come, or its quorum is not there.
    Gathering,
    /// It has begun.
    Active {
        /// When.
        since: Time,
    },
    /// It is over, and stays so.
    Closed {
        /// When it had begun, if it ever did.
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Time>,
        /// When it ended.
        at: Time,
        /// Why.
        reason: Reason,
        /// What the chair had to say about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
    },
}

/// The place of somebody who came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    /// When they came first.
    pub joined_at: Time,
    /// When they went, if they are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Time>,
}

/// An item of the agenda that was taken up.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemState {
    /// When.
    pub since: Time,
    /// What was said about it.
    pub speeches: Vec<Speech>,
    /// How many turns everybody has used up.
    pub taken: BTreeMap<Role, u32>,
}

/// One speech.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Speech {
    /// When.
    pub at: Time,
    /// Who spoke.
    pub by: Role,
    /// What was said.
    pub text: String,
}

/// Something that was put to the vote.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// The item of the agenda, from 1 on.
    pub item: u32,
    /// Who proposed it.
    pub by: Role,
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
    /// What is to be done if it is approved.
    pub action_items: Vec<ActionItem>,
    /// Who is to vote.
    pub electorate: BTreeSet<Role>,
    /// Who voted, and how.
    pub votes: BTreeMap<Role, Ballot>,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How many voted how, once it is decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tally: Option<Tally>,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Who is to do it.
    pub assignee: Role,
    /// What, in one line.
    pub action: String,
    /// What the worker needs besides.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// The item of the agenda, from 1 on.
    pub item: u32,
    /// The proposal that asked for it; none, where the chair did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<u32>,
    /// The task that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
}

/// Why an entry changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Void {
    /// It was not appended by compare-and-set over the whole meeting, or its expectation is not
    /// what the log held.
    #[error("it was not guarded by the meeting's newest entry")]
    Unguarded,
    /// It is of another meeting.
    #[error("it is of another meeting")]
    Alien,
    /// The meeting did not allow it.
    #[error("the meeting did not allow it")]
    Refused(#[source] Refusal),
    /// It says something else than would have been written.
    #[error("it says something else than follows from the log")]
    Forged,
}

impl Meeting {
    /// Folds what the log stored next for this id.
    ///
    /// # Errors
    /// What makes the entry [`Void`]; it is counted then, and the state stays as it was.
    pub fn apply(&mut self, id: &MeetingId, stored: &Stored) -> Result<(), Void> {
        let guarded = stored.expected == Some(self.last_seq);
        self.last_seq = stored.seq;
        let outcome = if guarded { self.fold(id, &stored.entry) } else { Err(Void::Unguarded) };
        if outcome.is_err() {
            self.voids = self.voids.saturating_add(1);
        }
        outcome
    }

    /// Passes over a message on the meeting's subjects that this version does not understand.
    pub const fn skip(&mut self, seq: u64) {
        self.last_seq = seq;
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.as_ref().is_some_and(State::is_closed)
    }

    /// Passes over an entry that is not from the role that it says: it is void for everybody.
    pub const fn refuse(&mut self, seq: u64) {
        self.last_seq = seq;
        self.voids = self.voids.saturating_add(1);
    }

    fn fold(&mut self, id: &MeetingId, entry: &Entry) -> Result<(), Void> {
        if entry.meeting_id != *id {
            return Err(Void::Alien);
        }
        let voice = Voice { by: &entry.by, at: entry.at, key: entry.key.as_deref() };
        let due = self.decide(&Command::of(&entry.change), &voice).map_err(Void::Refused)?;
        if due != entry.change {
            return Err(Void::Forged);
        }
        match (&mut self.state, &entry.change) {
            (None, Change::Opened { meeting }) => {
                self.state = Some(State::opened(id.clone(), meeting, entry));
            }
            (Some(state), _) => state.evolve(entry),
            // `decide` lets nothing else be first.
            (None, _) => return Err(Void::Refused(Refusal::NoMeeting)),
        }
        Ok(())
    }
}

impl State {
    fn opened(meeting_id: MeetingId, definition: &Definition, entry: &Entry) -> Self {
        Self {
            meeting_id,
            definition: definition.clone(),
            opened_by: entry.by.role.clone(),
            opened_at: entry.at,
            chairs: vec![definition.chair.clone()],
            phase: Phase::Gathering,
            invited: 0,
            seats: BTreeMap::new(),
            items: Vec::new(),
            proposals: Vec::new(),
            actions: Vec::new(),
            floor: None,
            turn_since: entry.at,
            last_at: entry.at,
            entries: 1,
            text_bytes: 0,
            keys: BTreeMap::new(),
        }
    }

    /// Who leads it.
    #[must_use]
    pub fn chair(&self) -> &Role {
        self.chairs.last().unwrap_or(&self.definition.chair)
    }

    /// Whether it is over.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed { .. })
    }

    /// Whether it is over, and every action item is a task.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_closed() && self.actions.iter().all(|action| action.task_id.is_some())
    }

    /// Whether somebody is there.
    #[must_use]
    pub fn is_there(&self, role: &Role) -> bool {
        self.seats.get(role).is_some_and(|seat| seat.left_at.is_none())
    }

    /// Who is there, in the order of turns.
    pub fn present(&self) -> impl Iterator<Item = &Role> {
        self.definition.everybody().filter(|role| self.is_there(role))
    }

    /// How many of those are there who make up the quorum.
    #[must_use]
    pub fn members_there(&self) -> u32 {
        let there = self.definition.members.iter().filter(|role| self.is_there(role)).count();
        u32::try_from(there).unwrap_or(u32::MAX)
    }

    /// The number of the agenda's item that is talked about; 0 before the first.
    #[must_use]
    pub fn item(&self) -> u32 {
        number(self.items.len())
    }

    /// The proposal of that number.
    #[must_use]
    pub fn proposal(&self, number: u32) -> Option<&Proposal> {
        self.proposals.get(index(number)?)
    }

    /// The proposals that are not decided, with their numbers.
    pub fn open_proposals(&self) -> impl Iterator<Item = (u32, &Proposal)> {
        let numbered = self.proposals.iter().enumerate();
        numbered.filter(|(_, it)| it.outcome.is_none()).map(|(at, it)| (number(at + 1), it))
    }

    /// How far it is at a moment, as one word: `scheduled`, `waiting`, `active` or `closed`.
    #[must_use]
    pub fn word(&self, now: Time) -> &'static str {
        match self.phase {
            Phase::Gathering if now < self.starts_at() => "scheduled",
            Phase::Gathering => "waiting",
            Phase::Active { .. } => "active",
            Phase::Closed { .. } => "closed",
        }
    }

    /// When it begins at the earliest.
    #[must_use]
    pub fn starts_at(&self) -> Time {
        self.definition.scheduled_for.unwrap_or(self.opened_at).max(self.opened_at)
    }

    /// Takes over what an entry that is allowed says.
    fn evolve(&mut self, entry: &Entry) {
        let now = entry.at.max(self.last_at);
        let holder = self.holder().cloned();
        let who = &entry.by.role;
        self.last_at = now;
        self.entries = self.entries.saturating_add(1);
        if let Some(key) = &entry.key {
            self.keys.insert((who.clone(), key.clone()), entry.change.number());
        }
        match &entry.change {
            // A second one is never allowed.
            Change::Opened { .. } => {}
            Change::Invited { number } => self.invited = *number,
            Change::Joined => self.seat(who, now),
            Change::Left => self.vacate(who, now),
            Change::Started => {
                self.phase = Phase::Active { since: now };
                self.take_up(now);
            }
            Change::Said { text, .. } => self.speak(who, text, now),
            Change::Passed => self.take_turn(who, now),
            Change::Given { to } => self.floor = Some(to.clone()),
            Change::Skipped { role } => self.take_turn(role, now),
            Change::Proposed { item, text, action_items, .. } => {
                self.text_bytes = self.text_bytes.saturating_add(text.len());
                let electorate = self.present().cloned().collect();
                self.proposals.push(Proposal {
                    item: *item,
                    by: who.clone(),
                    at: now,
                    text: text.clone(),
                    action_items: action_items.clone(),
                    electorate,
                    votes: BTreeMap::new(),
                    outcome: None,
                    tally: None,
                });
            }
            Change::Voted { proposal, vote, rationale } => {
                let text = rationale.as_ref().map_or(0, String::len);
                self.text_bytes = self.text_bytes.saturating_add(text);
                if let Some(it) = self.proposal_mut(*proposal) {
                    let ballot = Ballot { vote: *vote, rationale: rationale.clone() };
                    it.votes.insert(who.clone(), ballot);
                }
            }
            Change::Decided { proposal, outcome, tally } => {
                self.settle(*proposal, *outcome, *tally, now);
            }
            Change::Assigned { action_item, .. } => self.act(action_item, self.item(), None),
            Change::Advanced { .. } => self.take_up(now),
            Change::Chaired { chair } => {
                self.chairs.push(chair.clone());
                self.floor = None;
                self.turn_since = now;
            }
            Change::Closed { reason, summary } => self.close(*reason, summary.as_ref(), now),
            Change::Delegated { number, task_id } => {
                let action = index(*number).and_then(|at| self.actions.get_mut(at));
                if let Some(action) = action {
                    action.task_id = Some(task_id.clone());
                }
            }
        }
        if self.holder() != holder.as_ref() {
            self.turn_since = now;
        }
    }

    fn proposal_mut(&mut self, number: u32) -> Option<&mut Proposal> {
        self.proposals.get_mut(index(number)?)
    }

    fn seat(&mut self, who: &Role, now: Time) {
        let round = self.round();
        let seat = self.seats.entry(who.clone());
        seat.or_insert(Seat { joined_at: now, left_at: None }).left_at = None;
        if let Some(item) = self.items.last_mut() {
            // Whoever comes late speaks in the rounds that are left, and does not catch up.
            let taken = item.taken.entry(who.clone()).or_default();
            *taken = (*taken).max(round);
        }
        for proposal in self.proposals.iter_mut().filter(|it| it.outcome.is_none()) {
            proposal.electorate.insert(who.clone());
        }
    }

    fn vacate(&mut self, who: &Role, now: Time) {
        if let Some(seat) = self.seats.get_mut(who) {
            seat.left_at = Some(now);
        }
        if self.floor.as_ref() == Some(who) {
            self.floor = None;
        }
        // What they voted stands; what they did not is no longer waited for.
        for proposal in self.proposals.iter_mut().filter(|it| it.outcome.is_none()) {
            if !proposal.votes.contains_key(who) {
                proposal.electorate.remove(who);
            }
        }
    }

    fn take_up(&mut self, now: Time) {
        self.floor = None;
        self.turn_since = now;
        let (speeches, taken) = (Vec::new(), BTreeMap::new());
        self.items.push(ItemState { since: now, speeches, taken });
    }

    fn speak(&mut self, who: &Role, text: &str, now: Time) {
        self.text_bytes = self.text_bytes.saturating_add(text.len());
        self.take_turn(who, now);
        if let Some(item) = self.items.last_mut() {
            item.speeches.push(Speech { at: now, by: who.clone(), text: text.to_owned() });
        }
    }

    fn take_turn(&mut self, who: &Role, now: Time) {
        if let Some(item) = self.items.last_mut() {
            let taken = item.taken.entry(who.clone()).or_default();
            *taken = taken.saturating_add(1);
        }
        self.floor = None;
        self.turn_since = now;
    }

    fn settle(&mut self, proposal: u32, outcome: Outcome, tally: Tally, now: Time) {
        let Some(it) = self.proposal_mut(proposal) else { return };
        it.outcome = Some(outcome);
        it.tally = Some(tally);
        let (item, agreed) = (it.item, it.action_items.clone());
        if outcome == Outcome::Approved {
            for action in &agreed {
                self.act(action, item, Some(proposal));
            }
        }
        // While the votes were taken nobody was expected to speak.
        self.turn_since = now;
    }

    fn act(&mut self, item: &ActionItem, of: u32, proposal: Option<u32>) {
        self.actions.push(Action {
            assignee: item.assignee.clone(),
            action: item.action.clone(),
            details: item.details.clone(),
            item: of,
            proposal,
            task_id: None,
        });
    }

    fn close(&mut self, reason: Reason, summary: Option<&String>, now: Time) {
        let since = match self.phase {
            Phase::Active { since } => Some(since),
            Phase::Gathering | Phase::Closed { .. } => None,
        };
        for proposal in self.proposals.iter_mut().filter(|it| it.outcome.is_none()) {
            proposal.outcome = Some(Outcome::Lapsed);
            proposal.tally = Some(Tally::of(&proposal.votes, &proposal.electorate));
        }
        self.phase = Phase::Closed { since, at: now, reason, summary: summary.cloned() };
        self.floor = None;
    }
}

/// A count as the number of what is counted.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Where the thing of that number stands.
pub(super) fn index(number: u32) -> Option<usize> {
    usize::try_from(number).ok()?.checked_sub(1)
}
