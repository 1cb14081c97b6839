//! `sinew task watch`: follows a task until it ends.

use sinew_agent::Client;

use super::print::{after, describe, tell_way_on};
use crate::{args::Global, exit::Code, output::Out, target::Target, view};

/// Follow a task until it ends.
///
/// Prints every entry of its log so far, then each new one. Where the task waits for an
/// answer or a verdict of a person, says on stderr how to give it. Ends with 1 if the task does not
/// complete.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew task watch t01983f")]
pub(crate) struct Args {
    /// The task: its id, or the beginning of one that only it has
    task: String,
}

/// Follows it.
///
/// # Errors
/// When there is no such task, or its log can't be read.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let id = view::resolve(&target, &bus, &args.task).await?;
    let client = Client::new(bus, target.role);
    let mut follow = client.follow(&id).await?;
    let mut begun = None;
    while let Some(entry) = follow.next().await? {
        if out.is_json() {
            out.document(&entry)?;
            continue;
        }
        let when = after(entry.at, *begun.get_or_insert(entry.at));
        let word = entry.change.transition().word();
        out.line(format_args!("{when:>9}  {word:<9}  {}", describe(&entry.change)))?;
        if let Some(state) = follow.state() {
            tell_way_on(&client, &id, state, out).await?;
        }
    }
    let end = follow.state().and_then(|state| state.end());
    Ok(match end.map(|end| end.transition()) {
        Some(sinew_model::Transition::Completed) => Code::Done,
        Some(_) | None => Code::Failed,
    })
}
