//! `sinew meeting`: meetings of roles.

mod act;
mod open;
mod print;
mod show;

use sinew_agent::{Client, Meeting};
use sinew_bus::Topology;
use sinew_model::{MeetingId, stream::MEETINGS};

use crate::{args::Global, exit::Code, output::Out, target::Target};

/// Meet: call a meeting, speak, vote, and read what came of it.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Open(open::Args),
    List(show::ListArgs),
    Show(show::ShowArgs),
    Watch(show::WatchArgs),
    Join(act::JoinArgs),
    Leave(act::LeaveArgs),
    Say(act::SayArgs),
    Pass(act::PassArgs),
    Give(act::GiveArgs),
    Skip(act::SkipArgs),
    Propose(act::ProposeArgs),
    Vote(act::VoteArgs),
    Assign(act::AssignArgs),
    Next(act::NextArgs),
    Close(act::CloseArgs),
    Minutes(show::MinutesArgs),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    match command {
        Command::Open(args) => open::run(args, global, out).await,
        Command::List(args) => show::list(&args, global, out).await,
        Command::Show(args) => show::show(&args, global, out).await,
        Command::Watch(args) => show::watch(&args, global, out).await,
        Command::Join(args) => act::join(&args, global, out).await,
        Command::Leave(args) => act::leave(&args, global, out).await,
        Command::Say(args) => act::say(&args, global, out).await,
        Command::Pass(args) => act::pass(&args, global, out).await,
        Command::Give(args) => act::give(args, global, out).await,
        Command::Skip(args) => act::skip(&args, global, out).await,
        Command::Propose(args) => act::propose(args, global, out).await,
        Command::Vote(args) => act::vote(args, global, out).await,
        Command::Assign(args) => act::assign(args, global, out).await,
        Command::Next(args) => act::next(&args, global, out).await,
        Command::Close(args) => act::close(args, global, out).await,
        Command::Minutes(args) => show::minutes(&args, global, out).await,
    }
}

/// Who acts, in the org that is acted in. The stream of meetings is made where it is missing.
async fn client(global: &Global) -> anyhow::Result<Client> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    Topology::standard(&bus).ensure_stream(&bus, MEETINGS).await?;
    Ok(Client::new(bus, target.role))
}

/// A meeting, by who acts.
async fn meeting(global: &Global, id: &MeetingId) -> anyhow::Result<Meeting> {
    Ok(client(global).await?.meet(id).await?)
}
