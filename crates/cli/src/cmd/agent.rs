//! `sinew agent`: programs as agents, who is there, and the flow of work to them.

pub(crate) mod card;
mod control;
mod list;
mod run;

use crate::{args::Global, exit::Code, output::Out};

/// Make programs agents, see who is there, and stop the flow of work to them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Run(run::Args),
    List(list::Args),
    Show(card::ShowArgs),
    Describe(card::DescribeArgs),
    Forget(card::ForgetArgs),
    Pause(control::PauseArgs),
    Resume(control::ResumeArgs),
    Drain(control::DrainArgs),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Run(args) => run::run(args, global, out).await,
        Command::List(args) => list::run(&args, global, out).await,
        Command::Show(args) => card::show(&args, global, out).await,
        Command::Describe(args) => card::describe(&args, global, out).await,
        Command::Forget(args) => card::forget(&args, global, out).await,
        Command::Pause(args) => control::pause(&args, global, out).await,
        Command::Resume(args) => control::resume(&args, global, out).await,
        Command::Drain(args) => control::drain(&args, global, out).await,
    }
}
