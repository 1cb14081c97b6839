//! `sinew events`: telling the org what was done, hearing it, finding it, and keeping it.

mod export;
mod replay;
mod search;
mod verify;

use serde_json::{Value, json};
use sinew_agent::{Client, Emission};
use sinew_bus::Topology;
use sinew_model::{TaskId, event::Event, stream::ORG_EVENTS};

use crate::{
    args::Global,
    cmd::task,
    env,
    exit::{Code, Fault},
    output::Out,
    signals,
    target::Target,
    text,
};

/// Characters of an event's details that a line shows.
const WIDE: usize = 100;

/// Tell the org what was done, hear it, find it and keep it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Emit(EmitArgs),
    Tail(TailArgs),
    Search(search::SearchArgs),
    Replay(replay::ReplayArgs),
    Export(export::ExportArgs),
    Archive(export::ArchiveArgs),
    Verify(verify::VerifyArgs),
}

/// Tell the org that something was done.
///
/// Inside a program that `agent run` started, the event names the task, and a later attempt that
/// says it again is recognised.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew events emit file.write --details '{\"path\":\"blog/new-post.md\"}' --role marketing")]
pub(crate) struct EmitArgs {
    /// What was done, as file.write
    action: String,
    /// What belongs to it, as JSON
    #[arg(long, value_name = "JSON")]
    details: Option<String>,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE", default_value = "agent.action")]
    kind: String,
    /// The session of the agent
    #[arg(long, value_name = "ID")]
    session: Option<String>,
}

/// Print events as they come, after the last few.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew events tail
  sinew events tail --last 1000 --no-follow --json")]
pub(crate) struct TailArgs {
    /// Begin with so many of those that there are
    #[arg(long, value_name = "N", default_value_t = 10)]
    last: u64,
    /// End when there are no more
    #[arg(long)]
    no_follow: bool,
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Emit(args) => emit(args, global, out).await,
        Command::Tail(args) => tail(&args, global, out).await,
        Command::Search(args) => search::run(args, global, out).await,
        Command::Replay(args) => replay::run(args, global, out).await,
        Command::Export(args) => export::export(args, global, out).await,
        Command::Archive(args) => export::archive(args, global, out).await,
        Command::Verify(args) => verify::run(&args, out),
    }
}

async fn emit(args: EmitArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let mut event = Emission::new(args.action.as_str()).kind(args.kind);
    if let Some(details) = &args.details {
        let details: Value = serde_json::from_str(details)
            .map_err(|error| Fault::usage(format!("the details are no JSON: {error}")))?;
        event = event.details(details);
    }
    if let Some(session) = args.session {
        event = event.session(session);
    }
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    Topology::standard(&bus).ensure_stream(&bus, ORG_EVENTS).await?;
    let task: Option<TaskId> = env::parsed(env::TASK_ID)?;
    let client = match task {
        Some(task) => {
            let attempt = env::parsed(env::ATTEMPT)?.unwrap_or_default();
            event = event.key(task::ordinal("event")?);
            Client::acting(bus, target.role, task, attempt).await?
        }
        None => Client::new(bus, target.role),
    };
    client.emit(event).await?;
    if out.is_json() {
        out.document(&json!({ "emitted": args.action }))?;
    }
    Ok(Code::Done)
}

async fn tail(args: &TailArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    let stop = signals::listen()?;
    Topology::standard(&bus).ensure_stream(&bus, ORG_EVENTS).await?;
    let last = bus.stream_state(ORG_EVENTS).await?.last_seq;
    let from = last.saturating_add(1).saturating_sub(args.last);
    if last == 0 && args.no_follow {
        out.note("no events");
    }
    let mut scan = bus.scan(ORG_EVENTS, bus.subjects().events().as_str(), from).await?;
    while !args.no_follow || scan.pending() > 0 {
        let message = tokio::select! {
            message = scan.next() => message?,
            () = stop.gently.cancelled() => break,
        };
        match serde_json::from_slice::<Event>(&message.payload) {
            Ok(event) => out.either(&event, line(&event))?,
            Err(_) => out.note(format_args!("message {} is no event", message.seq)),
        }
    }
    Ok(Code::Done)
}

fn line(event: &Event) -> String {
    let details = Some(&event.details).filter(|details| !details.is_null());
    let details = details.map(|details| text::short(&details.to_string(), WIDE));
    let details = details.unwrap_or_default();
    let action = text::short(&event.action, WIDE);
    let task = event.task_id.as_ref().map(|task| format!("  [{task}]")).unwrap_or_default();
    let (at, role, wide) = (event.timestamp.to_string(), &event.agent_role, text::AT_WIDE);
    format!("{at:<wide$}  {role:<12}  {action:<16}  {details}{task}").trim_end().to_owned()
}
