//! `sinew schedule`: tasks that recur.

mod add;

use serde_json::json;
use sinew_agent::Schedules;
use sinew_bus::Topology;
use sinew_model::{
    Schedule, ScheduleName,
    schedule::{Change, Firing, Standing, Timing},
    stream::TASK_RECURRING,
};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// Characters of a title, and of a reason, that a line shows.
const WIDE: usize = 48;

/// Make tasks recur, and see how they do.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Add(add::Args),
    List(ListArgs),
    Show(ShowArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Run(RunArgs),
    Remove(RemoveArgs),
}

/// List the recurring tasks, by name.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule list")]
pub(crate) struct ListArgs {}

/// Print a recurring task, and what happened to it.
///
/// Its newest hundred entries are kept: a firing writes two, one when it fires and one when its task
/// is on the queue.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule show nightly")]
pub(crate) struct ShowArgs {
    /// Its name
    name: ScheduleName,
}

/// Stop a recurring task from firing, until it is resumed.
///
/// A task of it that is there already goes on.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule pause nightly")]
pub(crate) struct PauseArgs {
    /// Its name
    name: ScheduleName,
}

/// Let a recurring task fire again.
///
/// What it missed while it was paused is left out.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule resume nightly")]
pub(crate) struct ResumeArgs {
    /// Its name
    name: ScheduleName,
}

/// Fire a recurring task now, besides its own times.
///
/// It fires also where it is paused or has ended, and where its last task has not ended.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule run nightly")]
pub(crate) struct RunArgs {
    /// Its name
    name: ScheduleName,
}

/// Remove a recurring task.
///
/// A task of it that is there already goes on. The name may be used again.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew schedule remove nightly")]
pub(crate) struct RemoveArgs {
    /// Its name
    name: ScheduleName,
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Add(args) => add::run(args, global, out).await,
        Command::List(_) => list(&open(global).await?, out).await,
        Command::Show(args) => show(&open(global).await?, &args.name, out).await,
        Command::Pause(PauseArgs { name }) => {
            let it = open(global).await?.pause(&name).await?;
            out.either(&it, format_args!("{name} is paused"))?;
            Ok(Code::Done)
        }
        Command::Resume(ResumeArgs { name }) => {
            let it = open(global).await?.resume(&name).await?;
            out.either(&it, format_args!("{name} {}", coming(&it)))?;
            Ok(Code::Done)
        }
        Command::Run(RunArgs { name }) => {
            let id = open(global).await?.run(&name).await?;
            out.either(&json!({ "schedule": name, "taskId": id }), &id)?;
            Ok(Code::Done)
        }
        Command::Remove(RemoveArgs { name }) => {
            open(global).await?.remove(&name).await?;
            let document = json!({ "schedule": name, "removed": true });
            out.either(&document, format_args!("{name} is removed"))?;
            Ok(Code::Done)
        }
    }
}

/// The recurring tasks of the org that is acted in. Their stream is made where it is missing.
async fn open(global: &Global) -> anyhow::Result<Schedules> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    Topology::standard(&bus).ensure_stream(&bus, TASK_RECURRING).await?;
    Ok(Schedules::new(bus, target.role))
}

async fn list(schedules: &Schedules, out: Out) -> anyhow::Result<Code> {
    let all = schedules.list().await?;
    if out.is_json() {
        out.document(&json!({ "schedules": all }))?;
        return Ok(Code::Done);
    }
    if all.is_empty() {
        out.note("no recurring tasks");
        return Ok(Code::Done);
    }
    let head = ["NAME", "ROLE", "WHEN", "NEXT", "RUNS", "LAST TASK", "TITLE"];
    out.line(text::table(&head, all.iter().map(cells)))?;
    Ok(Code::Done)
}

fn cells(it: &Schedule) -> Vec<String> {
    let next = it.next.map_or_else(|| standing(it.standing).to_owned(), |next| next.to_string());
    let last = it.last.as_ref().or(it.pending.as_ref());
    vec![
        it.name().to_string(),
        it.definition.role.to_string(),
        text::short(&when(&it.definition.timing), WIDE),
        next,
        it.runs.to_string(),
        last.map_or_else(|| "-".to_owned(), |firing| firing.task_id.to_string()),
        text::short(&it.definition.title, WIDE),
    ]
}

async fn show(schedules: &Schedules, name: &ScheduleName, out: Out) -> anyhow::Result<Code> {
    let history = schedules.history(name).await?;
    let Some(it) = history.last() else {
        return Err(Fault::not_found(format!("there is no schedule {name}"))
            .hint("`sinew schedule list` shows them")
            .into());
    };
    if out.is_json() {
        out.document(&json!({ "schedule": it, "history": history }))?;
        return Ok(Code::Done);
    }
    let definition = &it.definition;
    let mut rows = vec![
        ("schedule", name.to_string()),
        ("title", text::short(&definition.title, usize::MAX)),
        ("role", definition.role.to_string()),
        ("delegator", it.delegator.to_string()),
        ("when", when(&definition.timing)),
        ("stands", standing(it.standing).to_owned()),
    ];
    rows.extend(it.next.map(|next| ("next", next.to_string())));
    rows.extend(definition.until.map(|until| ("until", until.to_string())));
    let most = definition.max_runs.map_or_else(String::new, |most| format!(" of {most}"));
    rows.push(("runs", format!("{}{most}, {} left out", it.runs, it.skipped)));
    rows.extend(it.pending.as_ref().map(|firing| ("waits", firing.task_id.to_string())));
    rows.extend(it.last.as_ref().map(|firing| ("last task", firing.task_id.to_string())));
    for (key, value) in rows {
        out.line(format_args!("{key:<10} {value}"))?;
    }
    out.line("")?;
    for entry in &history {
        out.line(line(entry))?;
    }
    Ok(Code::Done)
}

/// What happened, in one line.
fn line(entry: &Schedule) -> String {
    let task = |firing: &Option<Firing>| {
        firing.as_ref().map(|firing| firing.task_id.to_string()).unwrap_or_default()
    };
    let (word, what) = match entry.change {
        Change::Added => ("added", coming(entry)),
        Change::Fired => ("fired", task(&entry.pending)),
        Change::Ran => ("run by hand", task(&entry.pending)),
        Change::Skipped => ("left out", String::new()),
        Change::Delegated => ("delegated", task(&entry.last)),
        Change::Refused => ("refused", String::new()),
        Change::Paused => ("paused", String::new()),
        Change::Resumed => ("resumed", coming(entry)),
        Change::Removed => ("removed", String::new()),
    };
    let detail = text::short(entry.detail.as_deref().unwrap_or(&what), usize::MAX);
    let (at, wide) = (entry.at.to_string(), text::AT_WIDE);
    format!("{at:<wide$}  {word:<11}  {:<12}  {detail}", entry.by.as_str()).trim_end().to_owned()
}

/// When it fires next, in words.
fn coming(it: &Schedule) -> String {
    it.next.map_or_else(|| "has no further run".to_owned(), |next| format!("next runs at {next}"))
}

fn when(timing: &Timing) -> String {
    match timing {
        Timing::Every { seconds } => {
            format!("every {}", text::span(std::time::Duration::from_secs(*seconds)))
        }
        Timing::Cron { expression, time_zone } => format!("{expression} ({time_zone})"),
    }
}

const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Paused => "paused",
        Standing::Ended => "ended",
        Standing::Removed => "removed",
    }
}
