//! `sinew agent`: programs as agents, and who is there.

mod list;
mod run;

use crate::{args::Global, exit::Code, output::Out};

/// Make programs agents, and see who is there.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
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
