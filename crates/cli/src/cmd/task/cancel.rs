//! `sinew task cancel`: calls a task off.

use serde_json::json;
use sinew_agent::Client;

use crate::{args::Global, exit::Code, output::Out, target::Target, view};

/// Call a task off.
///
/// Nothing more of it is started, and a running attempt is told to stop. What it delegated goes on: each child is a task of its own (`sinew task list --parent ID`). A task that has ended is left as it is, and the command ends with 4.
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
/// When there is no such task, or it has ended.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    let client = Client::new(bus, target.role);
    client.cancel(&id, &args.reason).await?;
    out.either(&json!({ "taskId": id, "cancelled": true }), format_args!("{id} is cancelled"))?;
    Ok(Code::Done)
}
