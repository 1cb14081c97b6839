//! `sinew agent list`: who is there, what they hold, and which roles sleep.

use std::io::IsTerminal as _;

use serde::Serialize;
use sinew_agent::{
    Client, Query,
    registry::{Known, Member},
};
use sinew_bus::clock;
use sinew_model::{
    InstanceId, Role, TaskId, Time, limits::WATCH_EVERY, presence::standing::Standing,
};

use crate::{args::Global, exit::Code, output::Out, signals, target::Target, text};

/// What clears a terminal and goes to its beginning.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Show who is idle, busy, paused, draining, stale or asleep, and what they hold.
///
/// An agent that was not heard for 5 seconds is stale; after 30 seconds, and when it has said
/// goodbye, it is gone, and only --state gone shows it. A role is asleep when none of its agents is
/// in sight: what is delegated and sent to it waits. One that is paused or drains begins nothing
/// new, and may still hold what it had. QUEUED counts the tasks on the queue of the role, with
/// those that its agents hold; LOAD the places for tasks that are taken, of those that there are.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew agent list
  sinew agent list --watch
  sinew agent list --skill rust --state idle --json")]
pub(crate) struct Args {
    /// Only this role
    #[arg(long = "of", value_name = "ROLE")]
    role: Option<Role>,
    /// Only roles with this skill
    #[arg(long, value_name = "SKILL")]
    skill: Option<String>,
    /// Only what stands so: idle, busy, paused, draining, stale, asleep or gone
    #[arg(long, value_name = "STATE")]
    state: Option<Standing>,
    /// Show it anew whenever it changes
    #[arg(long)]
    watch: bool,
}

#[derive(PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    role: Role,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceId>,
    state: Standing,
    /// Tasks that wait on the queue of the role or are with one of its agents.
    queued: u64,
    holds: Vec<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skills: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_at: Option<Time>,
}

/// Prints the list.
///
/// # Errors
/// When the backbone can't be asked.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    if !args.watch {
        let rows = rows(&client, args).await?;
        show(&rows, out)?;
        return Ok(Code::Done);
    }
    let stop = signals::listen()?;
    let clears = !out.is_json() && std::io::stdout().is_terminal();
    let mut shown: Option<Vec<Row>> = None;
    loop {
        let rows = rows(&client, args).await?;
        // On a terminal the ages go on; elsewhere only what changed is worth a line.
        if clears || shown.as_ref().is_none_or(|shown| changed(shown, &rows)) {
            if clears {
                out.line(CLEAR)?;
            }
            show(&rows, out)?;
        }
        shown = Some(rows);
        tokio::select! {
            () = clock::pause(WATCH_EVERY) => {}
            () = stop.gently.cancelled() => return Ok(Code::Done),
        }
    }
}

fn show(rows: &[Row], out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(&rows);
    }
    if rows.is_empty() {
        out.note("nobody is there, and no task waits");
        return Ok(());
    }
    let head = ["ROLE", "INSTANCE", "STATE", "QUEUED", "LOAD", "HOLDS", "SKILLS", "HEARD"];
    out.line(text::table(&head, rows.iter().map(cells)))
}

/// Whether anything but the time of the last sign of life is another.
fn changed(before: &[Row], now: &[Row]) -> bool {
    let bare = |row: &Row| {
        let Row { role, instance, state, queued, holds, concurrency, skills, heard_at: _ } = row;
        (
            role.clone(),
            instance.clone(),
            *state,
            *queued,
            holds.clone(),
            *concurrency,
            skills.clone(),
        )
    };
    !before.iter().map(bare).eq(now.iter().map(bare))
}

async fn rows(client: &Client, args: &Args) -> anyhow::Result<Vec<Row>> {
    let (role, skill, state) = (args.role.clone(), args.skill.clone(), args.state);
    let found = client.agents(&Query { role, skill, state }).await?;
    let rows = found.iter().flat_map(of_role);
    Ok(rows.filter(|row| state.is_none_or(|state| row.state == state)).collect())
}

/// A row for each instance; and one for the role where there is none.
fn of_role(known: &Known) -> Vec<Row> {
    let mut rows: Vec<Row> = known.instances.iter().map(|it| of_member(known, it)).collect();
    if known.state == Standing::Asleep {
        rows.push(Row {
            role: known.role.clone(),
            instance: None,
            state: Standing::Asleep,
            queued: known.queued,
            holds: Vec::new(),
            concurrency: None,
            skills: skills(known),
            heard_at: None,
        });
    }
    rows
}

fn of_member(known: &Known, member: &Member) -> Row {
    Row {
        role: known.role.clone(),
        instance: Some(member.instance.clone()),
        state: member.state,
        queued: known.queued,
        holds: member.holds.clone(),
        concurrency: Some(member.concurrency),
        skills: skills(known),
        heard_at: Some(member.heard_at),
    }
}

fn skills(known: &Known) -> Vec<String> {
    known.card.as_ref().map(|card| card.skills.clone()).unwrap_or_default()
}

fn cells(row: &Row) -> Vec<String> {
    let some = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let holds: Vec<&str> = row.holds.iter().map(TaskId::as_str).collect();
    let load = row.concurrency.map(|places| format!("{}/{places}", row.holds.len()));
    vec![
        row.role.to_string(),
        some(row.instance.as_ref().map(ToString::to_string).unwrap_or_default()),
        row.state.word().to_owned(),
        row.queued.to_string(),
        some(load.unwrap_or_default()),
        some(holds.join(" ")),
        some(text::short(&row.skills.join(", "), 40)),
        row.heard_at.map_or_else(|| "-".to_owned(), text::ago),
    ]
}
