//! Meetings: calling one, coming in, speaking, proposing, voting, closing, and what came of it.

mod act;
mod look;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinew_bus::clock;
use sinew_model::{
    MeetingId, Role, Time,
    limits::{CHAIR_SECONDS, MEETING_SECONDS, QUORUM_SECONDS, ROUNDS, TURN_SECONDS, VOTE_SECONDS},
    meeting::{Definition, Item, Rule, State, Turns},
};

pub(in crate::mcp) use look::{invitations, minutes};

use super::{Call, Entry, Kind, tool};
use crate::mcp::{hub::Hub, reply::Told};

pub(super) fn tools() -> Vec<Entry> {
    let mut all = vec![tool(
        (
            "schedule_agent_meeting",
            "Call a meeting",
            "Opens a meeting of roles and invites them. It begins once its quorum has joined, goes \
             through its agenda, and ends with it, when the chair ends it, or when its time is up; \
             then its action items become tasks. Join it yourself as well.",
        ),
        Kind::Adds,
        open,
    )];
    all.extend(act::tools());
    all.extend(look::tools());
    all
}

/// Items of an agenda, as a line or with more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Point {
    /// A line.
    Line(String),
    /// An item with a time or a vote.
    Full(Item),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Open {
    /// What it is about, in one line.
    title: String,
    /// The roles that are to be there, in the order of turns and of succession.
    #[serde(alias = "members")]
    participants: Vec<Role>,
    /// Roles that may be there besides; they do not count for the quorum.
    #[serde(default)]
    optional: Vec<Role>,
    /// What it is about, in order: lines, or objects with item, requiresVote and durationSeconds.
    /// The title, if there is none.
    #[serde(default)]
    agenda: Vec<Point>,
    /// The role that leads it; the first participant if not given.
    #[serde(default)]
    chair: Option<Role>,
    /// How many participants must be there; more than half if not given.
    #[serde(default)]
    quorum: Option<u32>,
    /// Who may speak when.
    #[serde(default)]
    turns: Turns,
    /// How votes become a decision.
    #[serde(default, alias = "rule")]
    decision_model: Rule,
    /// Who may veto under majority_with_veto; everybody if not given.
    #[serde(default)]
    veto_roles: Vec<Role>,
    /// How often each may speak about one item; 3 if not given.
    #[serde(default)]
    rounds: Option<u32>,
    /// When it begins at the earliest, as 2026-05-10T14:23:01Z; at once if not given.
    #[serde(default)]
    scheduled_for: Option<Time>,
    /// How long it lasts at most; an hour if not given.
    #[serde(default, alias = "duration")]
    duration_seconds: Option<u64>,
    /// How long it waits for its quorum; 5 minutes if not given.
    #[serde(default)]
    quorum_seconds: Option<u64>,
    /// Silence after which whoever has the turn is passed over; 2 minutes if not given.
    #[serde(default)]
    turn_seconds: Option<u64>,
    /// How long votes are taken; 5 minutes if not given.
    #[serde(default)]
    vote_seconds: Option<u64>,
    /// Silence after which another one takes the chair; 5 minutes if not given.
    #[serde(default)]
    chair_seconds: Option<u64>,
    /// What kind of meeting it is, as standup or incident_response.
    #[serde(default)]
    meeting_type: Option<String>,
    /// An id of your own: the same meeting again under it is one meeting.
    #[serde(default)]
    id: Option<MeetingId>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Opened {
    /// The same one had been opened before: this call changed nothing.
    existed: bool,
    meeting: Standing,
}

async fn open(call: Call, mut given: Open) -> Result<Opened, Told> {
    let id = given.id.take();
    let what = definition(given)?;
    let opened = call.hub.client().open_meeting(id, what).await?;
    Ok(Opened { existed: opened.existed, meeting: Standing::of(&opened.meeting, call.hub.role())? })
}

fn definition(given: Open) -> Result<Definition, Told> {
    let first = given.participants.first().cloned();
    let Some(chair) = given.chair.or(first) else {
        return Err(Told::new("a meeting needs participants", "Name those roles, and call again."));
    };
    let mut it = Definition::new(given.title, chair, given.participants);
    if !given.agenda.is_empty() {
        let item = |point| match point {
            Point::Line(item) => Item { item, duration_seconds: None, requires_vote: false },
            Point::Full(item) => item,
        };
        it.agenda = given.agenda.into_iter().map(item).collect();
    }
    it.optional = given.optional;
    it.quorum = given.quorum.unwrap_or(it.quorum);
    it.turns = given.turns;
    it.rule = given.decision_model;
    it.veto_roles = given.veto_roles;
    it.rounds = given.rounds.unwrap_or(ROUNDS);
    it.meeting_type = given.meeting_type;
    it.scheduled_for = given.scheduled_for;
    it.duration_seconds = given.duration_seconds.unwrap_or(MEETING_SECONDS);
    it.quorum_seconds = given.quorum_seconds.unwrap_or(QUORUM_SECONDS);
    it.turn_seconds = given.turn_seconds.unwrap_or(TURN_SECONDS);
    it.vote_seconds = given.vote_seconds.unwrap_or(VOTE_SECONDS);
    it.chair_seconds = given.chair_seconds.unwrap_or(CHAIR_SECONDS);
    Ok(it)
}

/// A vote that is open, for a model.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct OpenVote {
    proposal: u32,
    text: String,
    by: Role,
    /// Roles that have not voted.
    waits_for: Vec<Role>,
}

/// Where a meeting stands, without what was said in it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::mcp) struct Standing {
    meeting_id: MeetingId,
    title: String,
    /// scheduled, waiting, active or closed.
    state: &'static str,
    chair: Role,
    members: Vec<Role>,
    optional: Vec<Role>,
    present: Vec<Role>,
    quorum: u32,
    turns: Turns,
    decision_model: Rule,
    agenda: Vec<Item>,
    /// The number of the item that is talked about, from 1 on; 0 before the first.
    item: u32,
    /// Whose turn it is; null where everybody may speak, or nobody any more.
    turn: Option<Role>,
    open_votes: Vec<OpenVote>,
    /// What your role can do now.
    next: String,
}

impl Standing {
    fn of(meeting: &sinew_agent::Meeting, you: &Role) -> Result<Self, Told> {
        let Some(state) = meeting.state() else { return Err(Told::no_meeting(meeting.id())) };
        Ok(Self::of_state(state, you))
    }

    fn of_state(it: &State, you: &Role) -> Self {
        let vote = |(proposal, vote): (u32, &sinew_model::meeting::Proposal)| OpenVote {
            proposal,
            text: vote.text.clone(),
            by: vote.by.clone(),
            waits_for: vote
                .electorate
                .iter()
                .filter(|who| !has_voted(vote, who))
                .cloned()
                .collect(),
        };
        Self {
            meeting_id: it.meeting_id.clone(),
            title: it.definition.title.clone(),
            state: it.word(clock::now()),
            chair: it.chair().clone(),
            members: it.definition.members.clone(),
            optional: it.definition.optional.clone(),
            present: it.present().cloned().collect(),
            quorum: it.definition.quorum,
            turns: it.definition.turns,
            decision_model: it.definition.rule,
            agenda: it.definition.agenda.clone(),
            item: it.item(),
            turn: it.holder().cloned(),
            open_votes: it.open_proposals().map(vote).collect(),
            next: next(it, you),
        }
    }
}

fn has_voted(vote: &sinew_model::meeting::Proposal, who: &Role) -> bool {
    vote.votes.contains_key(who)
}

/// What a role can do in a meeting now, in words.
fn next(it: &State, you: &Role) -> String {
    if it.is_closed() {
        return "It is over. get_meeting_minutes shows what came of it.".to_owned();
    }
    if !it.is_there(you) {
        let invited = it.definition.has(you);
        let text = if invited {
            "join_agent_meeting takes you in."
        } else {
            "Your role is not invited: you can only read it."
        };
        return text.to_owned();
    }
    let waits = it
        .open_proposals()
        .find(|(_, vote)| vote.electorate.contains(you) && !has_voted(vote, you));
    if let Some((number, _)) = waits {
        return format!("Vote on proposal {number} with vote_on_proposal.");
    }
    if it.item() == 0 {
        return "It has not begun. get_meeting_messages with wait_seconds waits for it.".to_owned();
    }
    let led = if it.chair() == you {
        " You lead it: next_agenda_item goes on, end_agent_meeting ends it."
    } else {
        ""
    };
    let turn = match it.holder() {
        Some(holder) if holder == you => {
            "It is your turn: send_meeting_message, propose_meeting_decision or \
             pass_meeting_turn."
                .to_owned()
        }
        Some(holder) => format!(
            "It is the turn of {holder}; get_meeting_messages with wait_seconds waits for what \
             comes."
        ),
        None if it.is_talked_out() => {
            format!("Everybody has spoken: the next move is {}'s.", it.chair())
        }
        None => "send_meeting_message or propose_meeting_decision.".to_owned(),
    };
    format!("{turn}{led}")
}

/// A meeting by its id.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// The id of the meeting.
    meeting_id: MeetingId,
}

/// The meeting, by the session's role.
async fn meeting(hub: &Hub, id: &MeetingId) -> Result<sinew_agent::Meeting, Told> {
    Ok(hub.client().meet(id).await?)
}
