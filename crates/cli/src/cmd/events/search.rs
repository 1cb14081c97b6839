//! `sinew events search`: finding events by words, role, action, task and time.

use serde_json::json;
use sinew_model::{Role, Time, limits::VIEW_ROWS};
use sinew_views::{
    EventView,
    event::{EventRow, Search},
};

use super::line;
use crate::{
    args::Global,
    exit::Code,
    output::Out,
    target::Target,
    text::{self, number_to},
    view,
};

/// Find events by words, role, action, task and time, newest first.
///
/// All words must occur in the type, role, action or details; a word may end in * for any ending.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew events search blog 'post*'
  sinew events search --by marketing --action file.write --since 2h")]
pub(crate) struct SearchArgs {
    /// Words that all occur
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// The role that acted
    #[arg(long, value_name = "ROLE")]
    by: Option<Role>,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// What was done
    #[arg(long)]
    action: Option<String>,
    /// The task for which it was done, or the beginning of its id
    #[arg(long, value_name = "ID")]
    task: Option<String>,
    /// Stored then or later: a time, or a span back from now as 2h
    #[arg(long, value_name = "WHEN", value_parser = text::moment_back)]
    since: Option<Time>,
    /// Stored before: a time, or a span back from now
    #[arg(long, value_name = "WHEN", value_parser = text::moment_back)]
    until: Option<Time>,
    /// Only below this sequence: the `next` of the page before
    #[arg(long, value_name = "SEQ")]
    before: Option<u64>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = number_to::<VIEW_ROWS>)]
    limit: usize,
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(super) async fn run(args: SearchArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let task = match &args.task {
        Some(task) => Some(view::resolve(&target, &bus, task).await?),
        None => None,
    };
    let events: EventView = view::events(&target, &bus).await?;
    let words = args.words.join(" ");
    let found = events
        .search(Search {
            text: Some(words).filter(|words| !words.is_empty()),
            role: args.by,
            kind: args.kind,
            action: args.action,
            task,
            since: args.since,
            until: args.until,
            before: args.before,
            limit: Some(args.limit),
        })
        .await?;
    let next = found.last().filter(|_| found.len() == args.limit).map(|row| row.seq);
    if out.is_json() {
        out.document(&json!({ "events": found, "next": next }))?;
        return Ok(Code::Done);
    }
    for row in &found {
        out.line(shown(row))?;
    }
    match next {
        Some(next) => out.note(format_args!("there may be more: --before {next}")),
        None if found.is_empty() => out.note("no events"),
        None => {}
    }
    Ok(Code::Done)
}

/// A row: what was found of its details instead of their beginning.
fn shown(row: &EventRow) -> String {
    let shown = row
        .snippet
        .as_ref()
        .filter(|snippet| snippet.contains('[') && !row.event.details.is_null());
    let Some(snippet) = shown else { return line(&row.event) };
    let mut event = row.event.clone();
    event.details = serde_json::Value::Null;
    format!("{}  {}", line(&event), text::short(snippet, super::WIDE))
}
