//! What meetings there are, what is said in them, and what was decided.

use std::{collections::BTreeSet, time::Duration};

use futures::StreamExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sinew_agent::MeetError;
use sinew_bus::clock;
use sinew_model::{
    MeetingId,
    limits::{MCP_ROWS, MCP_ROWS_MOST, MCP_SEARCHED, MCP_WAIT, MEETINGS_AT_ONCE},
    mail::Mail,
    meeting::{Entry, Minutes, Outcome, State, VoteMinutes},
    stream::AGENT_MAIL,
};

use super::{Standing, Which, meeting};
use crate::mcp::{
    hub::Hub,
    reply::Told,
    tools::{self, Call, Kind, event::newest, tool},
};

pub(super) fn tools() -> Vec<tools::Entry> {
    vec![
        tool(
            (
                "get_next_meeting_invitation",
                "Wait for an invitation",
                "Shows the open meetings that your role is invited to and has not joined, the \
                 oldest first. Where there is none, waits for one up to `wait_seconds`.",
            ),
            Kind::Reads,
            next,
        ),
        tool(
            (
                "list_meetings",
                "List meetings",
                "Lists the meetings that go on or are to come, or with `all` also those that are \
                 over; that in which something happened last is the last. With the `older` of an \
                 answer as `before`, it goes on with those in which nothing happened since.",
            ),
            Kind::Reads,
            list,
        ),
        tool(
            (
                "get_meeting_status",
                "Show where a meeting stands",
                "Shows who is there, whose turn it is, which votes are open, and what your role can \
                 do now.",
            ),
            Kind::Reads,
            status,
        ),
        tool(
            (
                "get_meeting_messages",
                "Read a meeting",
                "Shows what happened in a meeting, in the one order that everybody sees, from the \
                 sequence `after` on. Where there is nothing yet, waits for it up to \
                 `wait_seconds`.",
            ),
            Kind::Reads,
            messages,
        ),
        tool(
            (
                "get_meeting_minutes",
                "Show the minutes",
                "Shows the minutes of a meeting, also of one that goes on, as data and as Markdown: \
                 who was there, what was said, decided, and is to be done, with the tasks.",
            ),
            Kind::Reads,
            show,
        ),
        tool(
            (
                "get_meeting_decisions",
                "Show the decisions",
                "Shows what was put to the vote in a meeting, how each role voted, and what was \
                 decided.",
            ),
            Kind::Reads,
            decisions,
        ),
    ]
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Wait {
    /// How long to wait for one; at most 50.
    wait_seconds: u64,
}

/// Meetings that wait for the role.
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::mcp) struct Invited {
    meetings: Vec<Standing>,
}

/// The open meetings that the session's role is invited to and has not joined, the oldest first: those
/// of its newest invitations.
pub(in crate::mcp) async fn invitations(hub: &Hub) -> Result<Invited, Told> {
    let filter = hub.bus().subjects().meetings(hub.role());
    let mut newest = newest(hub, AGENT_MAIL, filter.as_str(), MCP_SEARCHED).await?;
    newest.reverse();
    let mut known = BTreeSet::new();
    let called = newest.iter().filter_map(|message| {
        let id: MeetingId = Mail::decode(&message.payload).ok()?.correlation_id?.parse().ok()?;
        known.insert(id.clone()).then_some(id)
    });
    let called: Vec<MeetingId> = called.take(MCP_ROWS_MOST).collect();
    let read = futures::stream::iter(called).map(|id| async move { hub.client().meet(&id).await });
    let mut read = read.buffered(MEETINGS_AT_ONCE);
    let mut meetings = Vec::new();
    while let Some(it) = read.next().await {
        // Whatever the invitation says, the log of the meeting says whether there is one.
        let it = match it {
            Err(MeetError::NoMeeting { .. }) => continue,
            it => it?,
        };
        let Some(state) = it.state() else { continue };
        if !state.is_closed() && state.definition.has(hub.role()) && !state.is_there(hub.role()) {
            meetings.push(Standing::of_state(state, hub.role()));
        }
    }
    meetings.reverse();
    Ok(Invited { meetings })
}

async fn next(call: Call, given: Wait) -> Result<Invited, Told> {
    let hub = &call.hub;
    let filter = hub.bus().subjects().meetings(hub.role());
    // Listened to before it is looked, so that nothing comes in between.
    let hints = hub.bus().watch_subject(filter.as_str()).await;
    let mut hints = hints
        .map_err(|why| Told::new(format!("it can't be listened to now: {why}"), "Ask again."))?;
    let patience = Duration::from_secs(given.wait_seconds).min(MCP_WAIT);
    let wait = async {
        loop {
            let found = invitations(hub).await?;
            if !found.meetings.is_empty() {
                return Ok(found);
            }
            if hints.next().await.is_none() {
                return Ok(found);
            }
        }
    };
    match tokio::time::timeout(patience, wait).await {
        Ok(found) => found,
        Err(_) => invitations(hub).await,
    }
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct List {
    /// Also those that are over.
    all: bool,
    /// Only those that your role is invited to, or has opened.
    mine: bool,
    /// At most so many, the newest; 20 if not given, at most 200.
    limit: Option<usize>,
    /// What comes before: `older` of an earlier answer.
    before: Option<u64>,
}

/// Some meetings.
#[derive(Debug, Serialize, JsonSchema)]
struct Listed {
    meetings: Vec<Standing>,
    /// Give it as `before` to see those in which something happened longer ago; null where there
    /// are none.
    older: Option<u64>,
}

async fn list(call: Call, given: List) -> Result<Listed, Told> {
    let you = call.hub.role();
    let limit = given.limit.unwrap_or(MCP_ROWS).clamp(1, MCP_ROWS_MOST);
    let suits = |it: &State| {
        (given.all || !it.is_closed())
            && (!given.mine || it.definition.has(you) || it.opened_by == *you)
    };
    let page = call.hub.client().meetings(given.before, limit, suits).await?;
    let meetings = page.meetings.iter().map(|it| Standing::of_state(it, you)).collect();
    Ok(Listed { meetings, older: page.older })
}

async fn status(call: Call, given: Which) -> Result<Standing, Told> {
    Standing::of(&meeting(&call.hub, &given.meeting_id).await?, call.hub.role())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Messages {
    /// The id of the meeting.
    meeting_id: MeetingId,
    /// Only what came after this sequence: `last` of an earlier answer.
    #[serde(default)]
    after: u64,
    /// How long to wait where there is nothing yet; at most 50.
    #[serde(default)]
    wait_seconds: u64,
    /// At most so many; 20 if not given, at most 200.
    #[serde(default)]
    limit: Option<usize>,
}

/// Something that happened in a meeting.
#[derive(Debug, Serialize, JsonSchema)]
struct Happened {
    /// Its place in the order that everybody sees.
    seq: u64,
    entry: Entry,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Record {
    entries: Vec<Happened>,
    /// The sequence of the last of them: give it as `after` to go on from here.
    last: u64,
    meeting: Standing,
}

async fn messages(call: Call, given: Messages) -> Result<Record, Told> {
    let it = meeting(&call.hub, &given.meeting_id).await?;
    let limit = given.limit.unwrap_or(MCP_ROWS).clamp(1, MCP_ROWS_MOST);
    let patience = Duration::from_secs(given.wait_seconds).min(MCP_WAIT);
    let mut follow = it.follow().await?;
    let (seen, mut entries) = (it.last_seq(), Vec::new());
    let until = clock::instant() + patience;
    while entries.len() < limit {
        // What is stored already takes no waiting; what is not is waited for only once there is
        // nothing to show.
        let is_stored = follow.given() < seen;
        let step = if is_stored || (entries.is_empty() && !patience.is_zero()) {
            let left = if is_stored {
                MCP_WAIT
            } else {
                until.saturating_duration_since(clock::instant())
            };
            tokio::time::timeout(left, follow.next()).await.ok()
        } else {
            None
        };
        let Some(entry) = step else { break };
        let Some(entry) = entry? else { break };
        if follow.given() > given.after {
            entries.push(Happened { seq: follow.given(), entry });
        }
    }
    let last = entries.last().map_or(given.after, |it| it.seq);
    let state = follow.state().or_else(|| it.state());
    let state = state.ok_or_else(|| Told::no_meeting(&given.meeting_id))?;
    Ok(Record { entries, last, meeting: Standing::of_state(state, call.hub.role()) })
}

#[derive(Debug, Serialize, JsonSchema)]
struct Shown {
    minutes: Minutes,
    markdown: String,
}

/// The minutes of a meeting.
pub(in crate::mcp) async fn minutes(hub: &Hub, id: &MeetingId) -> Result<Minutes, Told> {
    let minutes = meeting(hub, id).await?.minutes().await?;
    minutes.ok_or_else(|| Told::no_meeting(id))
}

async fn show(call: Call, given: Which) -> Result<Shown, Told> {
    let minutes = minutes(&call.hub, &given.meeting_id).await?;
    let markdown = minutes.markdown();
    Ok(Shown { minutes, markdown })
}

#[derive(Debug, Serialize, JsonSchema)]
struct Decisions {
    /// What is decided.
    decided: Vec<VoteMinutes>,
    /// What is still voted on.
    open: Vec<VoteMinutes>,
    /// How many of them were approved.
    approved: usize,
}

async fn decisions(call: Call, given: Which) -> Result<Decisions, Told> {
    let minutes = minutes(&call.hub, &given.meeting_id).await?;
    let votes = minutes.items.into_iter().flat_map(|item| item.proposals);
    let (decided, open): (Vec<_>, Vec<_>) = votes.partition(|vote| vote.outcome.is_some());
    let approved = decided.iter().filter(|it| it.outcome == Some(Outcome::Approved)).count();
    Ok(Decisions { decided, open, approved })
}
