//! `sinew task`: delegating, and what became of it.

mod cancel;
mod delegate;
mod list;
mod print;
mod show;
mod watch;

pub(crate) use delegate::{ordinal, read as read_input};
pub(crate) use print::describe;

use crate::{args::Global, exit::Code, output::Out};

/// Delegate tasks, and see what becomes of them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Delegate(delegate::Args),
    List(list::Args),
    Show(show::Args),
    Watch(watch::Args),
    Cancel(cancel::Args),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Delegate(args) => delegate::run(args, global, out).await,
        Command::List(args) => list::run(args, global, out).await,
        Command::Show(args) => show::run(&args, global, out).await,
        Command::Watch(args) => watch::run(&args, global, out).await,
        Command::Cancel(args) => cancel::run(&args, global, out).await,
    }
}
