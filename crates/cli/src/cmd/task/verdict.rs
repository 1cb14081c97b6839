//! `sinew task accept` and `sinew task refuse`: a verdict on a result.

use serde_json::{Value, json};
use sinew_agent::Client;

use super::words;
use crate::{args::Global, exit::Code, output::Out, target::Target, view};

/// Accept the result of a task that is submitted.
///
/// The task is completed. A role does not judge its own work: the command ends with 4 where it acts
/// as the worker's role, and where no result waits for a verdict.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew task accept t01983f --evidence \"all tests pass\"")]
pub(crate) struct Accept {
    /// The task: its id, or the beginning of one that only it has
    task: String,
    /// On what evidence: a text or JSON, @FILE with it, or - for stdin
    #[arg(long, value_name = "TEXT|@FILE|-")]
    evidence: Option<String>,
}

/// Refuse the result of a task that is submitted.
///
/// The task goes back to a worker, whose next attempt is handed the reason; after three refusals in
/// a row a person decides, who is asked in the inbox of the role that the task escalates to. A role
/// does not judge its own work: the command ends with 4 where it acts as the worker's role, and
/// where no result waits for a verdict.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew task refuse t01983f --reason \"the second link is dead\"")]
pub(crate) struct Refuse {
    /// The task: its id, or the beginning of one that only it has
    task: String,
    /// Why, for the worker
    #[arg(long)]
    reason: String,
}

/// Accepts it.
///
/// # Errors
/// When there is no such result, or it may not be judged.
pub(crate) async fn accept(args: &Accept, global: &Global, out: Out) -> anyhow::Result<Code> {
    let said = args.evidence.as_deref().map(|text| words::json_or_text("the evidence", text));
    let evidence: Value = said.transpose()?.unwrap_or_default();
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    Client::new(bus, target.role).accept(&id, evidence).await?;
    out.either(&json!({ "taskId": id, "accepted": true }), format_args!("{id}  accepted"))?;
    Ok(Code::Done)
}

/// Refuses it.
///
/// # Errors
/// As [`accept`].
pub(crate) async fn refuse(args: &Refuse, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    Client::new(bus, target.role).refuse(&id, &args.reason).await?;
    out.either(&json!({ "taskId": id, "accepted": false }), format_args!("{id}  refused"))?;
    Ok(Code::Done)
}
