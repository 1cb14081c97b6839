//! Meetings in words for a person.

use sinew_model::{
    Time,
    meeting::{Change, Entry, Phase, State, Tally},
};

use crate::text;

/// Characters of a speech that a line shows.
const WIDE: usize = 160;

/// What happened, in one line.
pub(super) fn line(entry: &Entry) -> String {
    let (at, wide) = (entry.at.to_string(), text::AT_WIDE);
    let (by, word) = (entry.by.role.as_str(), entry.change.word());
    format!("{at:<wide$}  {by:<12}  {word:<9}  {}", what(&entry.change)).trim_end().to_owned()
}

fn what(change: &Change) -> String {
    match change {
        Change::Opened { meeting } => text::short(&meeting.title, WIDE),
        Change::Invited { .. }
        | Change::Joined
        | Change::Left
        | Change::Started
        | Change::Passed => String::new(),
        Change::Said { text, .. } => text::short(text, WIDE),
        Change::Given { to } => to.to_string(),
        Change::Skipped { role } => role.to_string(),
        Change::Proposed { proposal, text, action_items, .. } => {
            let actions: Vec<String> = action_items
                .iter()
                .map(|it| format!("{}={}", it.assignee, text::short(&it.action, WIDE)))
                .collect();
            let actions = if actions.is_empty() {
                String::new()
            } else {
                format!("  [{}]", actions.join(", "))
            };
            format!("{proposal}: {}{actions}", text::short(text, WIDE))
        }
        Change::Voted { proposal, vote, rationale } => {
            let why = rationale.as_deref().map(|why| format!(": {}", text::short(why, WIDE)));
            format!("{proposal}: {}{}", vote.word(), why.unwrap_or_default())
        }
        Change::Decided { proposal, outcome, tally } => {
            format!("{proposal}: {} ({})", outcome.word(), counts(*tally))
        }
        Change::Assigned { number, action_item } => {
            let action = text::short(&action_item.action, WIDE);
            format!("{number}: {}={action}", action_item.assignee)
        }
        Change::Advanced { item } => format!("to item {item}"),
        Change::Chaired { chair } => chair.to_string(),
        Change::Closed { reason, summary } => {
            let summary = summary.as_deref().map(|it| format!(": {}", text::short(it, WIDE)));
            format!("{}{}", reason.words(), summary.unwrap_or_default())
        }
        Change::Delegated { number, task_id } => format!("{number}: task {task_id}"),
    }
}

/// How many voted how, without those that nobody did.
fn counts(tally: Tally) -> String {
    let Tally { approve, reject, abstain, veto, missing } = tally;
    let all = [
        (approve, "approve"),
        (reject, "reject"),
        (abstain, "abstain"),
        (veto, "veto"),
        (missing, "did not vote"),
    ];
    let some = all.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// What the meeting waits for now, in words: whose turn it is, or who has not come or voted.
pub(super) fn waits_for(state: &State, now: Time) -> String {
    let word = state.word(now);
    match &state.phase {
        Phase::Closed { reason, .. } => reason.words().to_owned(),
        Phase::Gathering if word == "scheduled" => format!("begins at {}", state.starts_at()),
        Phase::Gathering => {
            let (there, quorum) = (state.members_there(), state.definition.quorum);
            format!("{there} of {quorum} members are there")
        }
        Phase::Active { .. } => {
            let votes = state.open_proposals().map(|(number, it)| {
                let missing = it.electorate.iter().filter(|role| !it.votes.contains_key(*role));
                let missing: Vec<&str> = missing.map(sinew_model::Role::as_str).collect();
                format!("votes on {number} from {}", missing.join(", "))
            });
            let turn = match state.holder() {
                Some(holder) => format!("the turn is {holder}'s"),
                None if state.is_talked_out() => format!("the next move is {}'s", state.chair()),
                None => "anybody may speak".to_owned(),
            };
            votes.chain([turn]).collect::<Vec<_>>().join("; ")
        }
    }
}
