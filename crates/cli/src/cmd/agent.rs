//! `sinew agent`: programs as agents, and who is there.

mod list;
mod run;

use crate::{args::Global, exit::Code, output::Out};

/// Make programs agents, and see who is there.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make any program an agent: it is started once for each task of a role
    Run(run::Args),
    /// Show who is alive, idle, busy, asleep or stale, and what they hold
    List(list::Args),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Run(args) => run::run(args, global, out).await,
        Command::List(args) => list::run(&args, global, out).await,
    }
}
