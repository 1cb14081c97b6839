//! `sinew task`: delegating, and what became of it.

mod answer;
mod cancel;
mod delegate;
mod list;
mod print;
mod questions;
mod retry;
mod show;
mod verdict;
mod watch;
mod words;

pub(crate) use delegate::ordinal;
pub(crate) use print::describe;
pub(crate) use words::{json as read_json, text as read_text};

use crate::{args::Global, exit::Code, output::Out};

/// Delegate tasks, and see what becomes of them.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Delegate(delegate::Args),
    List(list::Args),
    Show(show::Args),
    Watch(watch::Args),
    Questions(questions::Args),
    Answer(answer::Args),
    Accept(verdict::Accept),
    Refuse(verdict::Refuse),
    Retry(retry::Args),
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
        Command::Questions(args) => questions::run(args, global, out).await,
        Command::Answer(args) => answer::run(&args, global, out).await,
        Command::Accept(args) => verdict::accept(&args, global, out).await,
        Command::Refuse(args) => verdict::refuse(&args, global, out).await,
        Command::Retry(args) => retry::run(args, global, out).await,
        Command::Cancel(args) => cancel::run(&args, global, out).await,
    }
}
