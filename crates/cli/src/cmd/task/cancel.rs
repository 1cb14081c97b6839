//! `sinew task cancel`: calls a task off, with all that it delegated.

use serde_json::json;
use sinew_agent::{Cancelled, CancelledTask, Client};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    view,
};

/// Call a task off, with all that it delegated.
///
/// Nothing more of it is started, and a running attempt is told to stop. The same goes for every task below it. Prints what became of each: `stopped`, `too late` where it had ended before, `unknown` where that could not be found out now. Where the task itself had ended, the command ends with 4; where a task's outcome is unknown, with 6.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew task cancel t01983f --reason \"no longer needed\"")]
pub(crate) struct Args {
    /// The task: its id, or the beginning of one that only it has
    task: String,
    /// Why, for its log
    #[arg(long, default_value = "called off by hand")]
    reason: String,
}

/// Cancels it.
///
/// # Errors
/// When there is no such task.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    let client = Client::new(bus, target.role);
    let tasks = client.cancel(&id, &args.reason).await;
    let mut code = Code::Done;
    for CancelledTask { outcome, parent, .. } in &tasks {
        let is_meant = parent.is_none();
        if is_meant && *outcome == Cancelled::NoTask {
            return Err(Fault::not_found(format!("there is no task {id}")).into());
        }
        if matches!(outcome, Cancelled::Unknown(_)) {
            code = Code::Unknown;
        } else if is_meant && matches!(outcome, Cancelled::TooLate(_)) {
            code = Code::Refused;
        }
    }
    if out.is_json() {
        let told: Vec<_> = tasks.iter().map(document).collect();
        out.document(&json!({ "taskId": id, "tasks": told }))?;
        return Ok(code);
    }
    for task in &tasks {
        let (word, detail) = words(&task.outcome);
        out.line(format_args!("{}  {word}{detail}", task.id))?;
    }
    Ok(code)
}

fn words(outcome: &Cancelled) -> (&'static str, String) {
    match outcome {
        Cancelled::Stopped => ("stopped", String::new()),
        Cancelled::TooLate(how) => ("too late", format!(": it is {}", how.word())),
        Cancelled::NoTask => ("no such task", String::new()),
        Cancelled::Unknown(why) => ("unknown", format!(": {why}")),
    }
}

fn document(task: &CancelledTask) -> serde_json::Value {
    let (word, _) = words(&task.outcome);
    let ended = if let Cancelled::TooLate(how) = &task.outcome { Some(how.word()) } else { None };
    let why = if let Cancelled::Unknown(why) = &task.outcome { Some(why) } else { None };
    json!({
        "taskId": task.id, "parent": task.parent, "outcome": word, "ended": ended, "why": why,
    })
}
