//! Meetings as somebody looks at them: the list, one of them, live, and the minutes.

use serde_json::json;
use sinew_bus::clock;
use sinew_model::{
    MeetingId, Time,
    meeting::{Phase, State},
};

use super::{client, meeting, print};
use crate::{args::Global, exit::Code, output::Out, signals, text};

/// Characters of a title, and of what a meeting waits for, that a line shows.
const WIDE: usize = 48;

/// List the meetings; that in which something happened last is the last.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting list
  sinew meeting list --mine --role cto")]
pub(crate) struct ListArgs {
    /// Also those that are over
    #[arg(long)]
    all: bool,
    /// Only those that the role may be in
    #[arg(long)]
    mine: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
    /// Those before: what an earlier list named where there were more
    #[arg(long, value_name = "PLACE")]
    before: Option<u64>,
}

/// Print where a meeting stands.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew meeting show m01983f")]
pub(crate) struct ShowArgs {
    /// The meeting
    id: MeetingId,
}

/// Follow a meeting until it is over.
///
/// Prints everything that happened so far, then what happens.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting watch m01983f
  sinew meeting watch m01983f --no-follow --json")]
pub(crate) struct WatchArgs {
    /// The meeting
    id: MeetingId,
    /// End when there is nothing more
    #[arg(long)]
    no_follow: bool,
}

/// Print the minutes of a meeting, also of one that goes on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew meeting minutes m01983f > minutes.md
  sinew meeting minutes m01983f --format json")]
pub(crate) struct MinutesArgs {
    /// The meeting
    id: MeetingId,
    /// Markdown or JSON
    #[arg(long, value_name = "FORMAT", default_value = "md", value_parser = ["md", "json"])]
    format: String,
}

/// Lists them.
///
/// # Errors
/// When they can't be read, as with all that follows.
pub(crate) async fn list(args: &ListArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = client(global).await?;
    let wanted = |it: &State| {
        let is_mine = it.definition.has(client.role()) || it.opened_by == *client.role();
        (args.all || !it.is_closed()) && (!args.mine || is_mine)
    };
    let page = client.meetings(args.before, args.limit.into(), wanted).await?;
    let now = clock::now();
    if out.is_json() {
        let meetings: Vec<_> = page.meetings.iter().map(document).collect();
        out.document(&json!({ "meetings": meetings, "older": page.older }))?;
        return Ok(Code::Done);
    }
    if page.meetings.is_empty() {
        out.note(if args.all { "no meetings" } else { "no such meetings; try --all" });
    } else {
        print_list(&page.meetings, now, out)?;
    }
    if let Some(older) = page.older {
        out.note(format_args!("there may be more: --before {older}"));
    }
    Ok(Code::Done)
}

fn print_list(some: &[State], now: Time, out: Out) -> anyhow::Result<()> {
    let head = ["MEETING", "STATE", "CHAIR", "THERE", "WAITS FOR", "TITLE"];
    let row = |it: &State| {
        let everybody = it.definition.everybody().count();
        vec![
            it.meeting_id.to_string(),
            it.word(now).to_owned(),
            it.chair().to_string(),
            format!("{} of {everybody}", it.present().count()),
            text::short(&print::waits_for(it, now), WIDE),
            text::short(&it.definition.title, WIDE),
        ]
    };
    out.line(text::table(&head, some.iter().map(row)))?;
    Ok(())
}

/// A meeting without what was said in it: that is in the minutes.
fn document(it: &State) -> serde_json::Value {
    json!({
        "meetingId": it.meeting_id,
        "title": it.definition.title,
        "state": it.word(clock::now()),
        "phase": it.phase,
        "chair": it.chair(),
        "members": it.definition.members,
        "optional": it.definition.optional,
        "present": it.present().collect::<Vec<_>>(),
        "quorum": it.definition.quorum,
        "turns": it.definition.turns,
        "decisionModel": it.definition.rule,
        "agenda": it.definition.agenda,
        "item": it.item(),
        "holder": it.holder(),
        "openProposals": it.open_proposals().map(|(number, _)| number).collect::<Vec<_>>(),
        "actionItems": it.actions,
        "openedBy": it.opened_by,
        "openedAt": it.opened_at,
    })
}

/// Prints one.
pub(crate) async fn show(args: &ShowArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let it = meeting(global, &args.id).await?;
    let now = it.now().await?;
    let Some(state) = it.state() else { return Ok(Code::NotFound) };
    if out.is_json() {
        out.document(&document(state))?;
        return Ok(Code::Done);
    }
    let of = state.definition.agenda.len();
    let at = usize::try_from(state.item()).ok().and_then(|at| at.checked_sub(1));
    let item = at.and_then(|at| state.definition.agenda.get(at));
    let there: Vec<&str> = state.present().map(sinew_model::Role::as_str).collect();
    let mut rows = vec![
        ("meeting", state.meeting_id.to_string()),
        ("title", text::short(&state.definition.title, usize::MAX)),
        ("state", state.word(now).to_owned()),
        ("waits for", print::waits_for(state, now)),
        ("chair", state.chair().to_string()),
        ("there", there.join(", ")),
        ("turns", state.definition.turns.word().replace('_', " ")),
        ("rule", state.definition.rule.word().replace('_', " ")),
    ];
    if let (Some(item), Phase::Active { .. }) = (item, &state.phase) {
        let line = text::short(&item.item, usize::MAX);
        rows.push(("item", format!("{} of {of}: {line}", state.item())));
    }
    for (number, it) in state.open_proposals() {
        rows.push(("proposal", format!("{number}: {}", text::short(&it.text, usize::MAX))));
    }
    for action in &state.actions {
        let task = action.task_id.as_ref().map(|id| format!("  (task {id})")).unwrap_or_default();
        let what = text::short(&action.action, usize::MAX);
        rows.push(("action", format!("{}: {what}{task}", action.assignee)));
    }
    for (name, value) in rows {
        out.line(format_args!("{name:<10} {value}").to_string().trim_end())?;
    }
    Ok(Code::Done)
}

/// Follows one.
pub(crate) async fn watch(args: &WatchArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let it = meeting(global, &args.id).await?;
    let stop = signals::listen()?;
    let seen = it.last_seq();
    let mut follow = it.follow().await?;
    while !args.no_follow || follow.given() < seen {
        let entry = tokio::select! {
            entry = follow.next() => entry?,
            () = stop.gently.cancelled() => break,
        };
        let Some(entry) = entry else { break };
        out.either(&entry, print::line(&entry))?;
    }
    Ok(Code::Done)
}

/// Prints the minutes.
pub(crate) async fn minutes(args: &MinutesArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let it = meeting(global, &args.id).await?;
    let Some(minutes) = it.minutes().await? else { return Ok(Code::NotFound) };
    if out.is_json() || args.format == "json" {
        out.document(&minutes)?;
    } else {
        out.line(text::clean(minutes.markdown().trim_end()))?;
    }
    Ok(Code::Done)
}
