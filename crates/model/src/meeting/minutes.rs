//! The minutes: a meeting as somebody reads it who was not there, as data and as Markdown. What
//! members wrote is quoted, so that it can't pass itself off as the minutes' own words.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    definition::{Rule, Turns},
    entry::Reason,
    state::{Phase, Proposal, Speech, State, number},
    vote::{Ballot, Outcome, Tally},
};
use crate::{
    id::{MeetingId, Role, TaskId},
    time::Time,
};

/// The minutes of a meeting, also of one that goes on.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Minutes {
    /// The meeting.
    pub meeting_id: MeetingId,
    /// Its title.
    pub title: String,
    /// What kind of meeting it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meeting_type: Option<String>,
    /// How far it is: `scheduled`, `waiting`, `active` or `closed`.
    pub state: String,
    /// Who opened it.
    pub opened_by: Role,
    /// When.
    pub opened_at: Time,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Time>,
    /// Why it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What the chair had to say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Everybody who led it, in order.
    pub chairs: Vec<Role>,
    /// Who was to be there, and who was.
    pub attendance: Vec<Attendance>,
    /// How many had to be there.
    pub quorum: u32,
    /// Who might speak when.
    pub turns: Turns,
    /// How votes became a decision.
    pub decision_model: Rule,
    /// The agenda, with what was said and decided.
    pub items: Vec<ItemMinutes>,
    /// What is to be done.
    pub action_items: Vec<ActionMinutes>,
}

/// Somebody who was to be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attendance {
    /// Who.
    pub role: Role,
    /// Whether the quorum did without them.
    pub optional: bool,
    /// When they came; absent, where they did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined_at: Option<Time>,
    /// When they went, if that was before the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_at: Option<Time>,
}

/// An item of the agenda.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ItemMinutes {
    /// Its number, from 1 on.
    pub number: u32,
    /// What it was about.
    pub item: String,
    /// Whether it was taken up.
    pub taken_up: bool,
    /// What was said.
    pub speeches: Vec<Speech>,
    /// What was put to the vote.
    pub proposals: Vec<VoteMinutes>,
}

/// Something that was put to the vote.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VoteMinutes {
    /// Its number in the meeting, from 1 on.
    pub proposal: u32,
    /// Who proposed it.
    pub by: Role,
    /// When.
    pub at: Time,
    /// What.
    pub text: String,
    /// What came of it; absent while votes are taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// How many voted how.
    pub tally: Tally,
    /// Who voted how, in the order of turns.
    pub votes: Vec<(Role, Ballot)>,
}

/// Something that is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActionMinutes {
    /// Its number in the meeting, from 1 on.
    pub number: u32,
    /// Who is to do it.
    pub assignee: Role,
    /// What.
    pub action: String,
    /// What the worker needs besides.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// The item of the agenda that it is from.
    pub item: u32,
    /// The proposal that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proposal: Option<u32>,
    /// The task that it became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
}

impl State {
    /// The minutes as of a moment.
    #[must_use]
    pub fn minutes(&self, now: Time) -> Minutes {
        let it = &self.definition;
        let (started_at, closed_at, reason, summary) = match &self.phase {
            Phase::Gathering => (None, None, None, None),
            Phase::Active { since } => (Some(*since), None, None, None),
            Phase::Closed { since, at, reason, summary } => {
                (*since, Some(*at), Some(*reason), summary.clone())
            }
        };
        Minutes {
            meeting_id: self.meeting_id.clone(),
            title: it.title.clone(),
            meeting_type: it.meeting_type.clone(),
            state: self.word(now).to_owned(),
            opened_by: self.opened_by.clone(),
            opened_at: self.opened_at,
            started_at,
            closed_at,
            reason,
            summary,
            chairs: self.chairs.clone(),
            attendance: it.everybody().map(|role| self.attendance(role)).collect(),
            quorum: it.quorum,
            turns: it.turns,
            decision_model: it.rule,
            items: (1..=number(it.agenda.len())).map(|at| self.item_minutes(at)).collect(),
            action_items: self.action_minutes(),
        }
    }

    fn attendance(&self, role: &Role) -> Attendance {
        let seat = self.seats.get(role);
        Attendance {
            role: role.clone(),
            optional: self.definition.optional.contains(role),
            joined_at: seat.map(|seat| seat.joined_at),
            left_at: seat.and_then(|seat| seat.left_at),
        }
    }

    fn item_minutes(&self, number: u32) -> ItemMinutes {
        let at = super::state::index(number).unwrap_or_default();
        let item = self.items.get(at);
        let numbered = self.proposals.iter().enumerate().map(|(at, it)| (at + 1, it));
        ItemMinutes {
            number,
            item: self.definition.agenda.get(at).map(|it| it.item.clone()).unwrap_or_default(),
            taken_up: item.is_some(),
            speeches: item.map(|item| item.speeches.clone()).unwrap_or_default(),
            proposals: numbered
                .filter(|(_, it)| it.item == number)
                .map(|(at, it)| self.vote_minutes(at, it))
                .collect(),
        }
    }

    fn vote_minutes(&self, at: usize, it: &Proposal) -> VoteMinutes {
        let everybody = self.definition.everybody();
        let vote = |role: &Role| Some((role.clone(), it.votes.get(role)?.clone()));
        VoteMinutes {
            proposal: number(at),
            by: it.by.clone(),
            at: it.at,
            text: it.text.clone(),
            outcome: it.outcome,
            tally: it.tally.unwrap_or_else(|| Tally::of(&it.votes, &it.electorate)),
            votes: everybody.filter_map(vote).collect(),
        }
    }

    fn action_minutes(&self) -> Vec<ActionMinutes> {
        let numbered = self.actions.iter().enumerate();
        let action = |(at, it): (usize, &super::Action)| ActionMinutes {
            number: number(at + 1),
            assignee: it.assignee.clone(),
            action: it.action.clone(),
            details: it.details.clone(),
            item: it.item,
            proposal: it.proposal,
            task_id: it.task_id.clone(),
        };
        numbered.map(action).collect()
    }
}

impl Minutes {
    /// The minutes as Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail, here and below.
        writeln!(out, "# {}\n", line(&self.title)).ok();
        self.head(&mut out);
        for item in &self.items {
            item.markdown(&mut out);
        }
        if !self.action_items.is_empty() {
            out.push_str("\n## Action items\n\n| | who | what | task |\n|---|---|---|---|\n");
        }
        for it in &self.action_items {
            let task = it.task_id.as_ref().map(|id| format!("`{id}`")).unwrap_or_default();
            let (number, action) = (it.number, line(&it.action));
            writeln!(out, "| {number} | {} | {action} | {task} |", it.assignee).ok();
        }
        if let Some(summary) = &self.summary {
            writeln!(out, "\n## Summary\n\n{}", quote(summary)).ok();
        }
        // A part ends with an empty line, and the next begins with one. A quotation has none.
        out.replace("\n\n\n", "\n\n")
    }

    fn head(&self, out: &mut String) {
        let mut row = |name: &str, value: String| {
            writeln!(out, "- {name}: {value}").ok();
        };
        row("meeting", format!("`{}`", self.meeting_id));
        if let Some(kind) = &self.meeting_type {
            row("type", line(kind));
        }
        row(
            "state",
            self.reason.map_or_else(
                || self.state.clone(),
                |reason| format!("{}: {}", self.state, reason.words()),
            ),
        );
        row("opened", format!("{} by {}", self.opened_at, self.opened_by));
        if let Some(at) = self.started_at {
            row("started", at.to_string());
        }
        if let Some(at) = self.closed_at {
            row("closed", at.to_string());
        }
        let chairs: Vec<&str> = self.chairs.iter().map(Role::as_str).collect();
        row("chair", chairs.join(", then "));
        let there = |there: bool| {
            let those = self.attendance.iter().filter(|it| it.joined_at.is_some() == there);
            those.map(|it| it.role.as_str()).collect::<Vec<_>>().join(", ")
        };
        let (present, absent) = (there(true), there(false));
        row("present", if present.is_empty() { "nobody".to_owned() } else { present });
        if !absent.is_empty() {
            row("absent", absent);
        }
        let rule = self.decision_model.word().replace('_', " ");
        row("rule", format!("{rule}, quorum {}", self.quorum));
    }
}

impl ItemMinutes {
    fn markdown(&self, out: &mut String) {
        writeln!(out, "\n## {}. {}\n", self.number, line(&self.item)).ok();
        if !self.taken_up {
            out.push_str("It was not taken up.\n");
        }
        for speech in &self.speeches {
            writeln!(out, "**{}** ({}):\n\n{}\n", speech.by, speech.at, quote(&speech.text)).ok();
        }
        for it in &self.proposals {
            let outcome = it.outcome.map_or("open", Outcome::word);
            let (number, text) = (it.proposal, quote(&it.text));
            writeln!(out, "**Proposal {number}** by {}: **{outcome}**\n\n{text}\n", it.by).ok();
            let Tally { approve, reject, abstain, veto, missing } = it.tally;
            writeln!(
                out,
                "{approve} approve, {reject} reject, {abstain} abstain, {veto} veto, {missing} did \
                 not vote\n"
            )
            .ok();
            for (role, ballot) in &it.votes {
                let why = ballot.rationale.as_deref().map(line);
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                writeln!(out, "- {role}: {}{why}", ballot.vote.word()).ok();
            }
        }
    }
}

/// A line from elsewhere, which can't be taken for markup.
fn line(text: &str) -> String {
    let one = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = String::with_capacity(one.len());
    for c in one.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '!') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A text from elsewhere as a quotation, each line of it.
fn quote(text: &str) -> String {
    text.lines()
        .map(|line| format!("> {line}").trim_end().to_owned())
        .collect::<Vec<_>>()
        .join("\n")
}
