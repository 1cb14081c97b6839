//! `sinew scale …`, and what `up` and `server` have to do with scaling and health.

mod extras;
mod outside;
pub(crate) mod run;
pub(crate) mod status;

pub(crate) use extras::{Extras, HEALTH, reach};
pub(crate) use outside::{Askers, Outside};

use crate::{args::Global, exit::Code, output::Out};

/// The verbs of scaling.
#[derive(Clone, Debug, clap::Subcommand)]
pub(crate) enum Command {
    Status(status::Args),
    Run(run::Args),
}

/// Runs one of them.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Status(args) => status::run(&args, global, out).await,
        Command::Run(args) => run::run(args, global, out).await,
    }
}
