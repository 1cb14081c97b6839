//! The verbs, one file each, and which of them was asked for.

pub(crate) mod agent;
pub(crate) mod bench;
pub(crate) mod broadcast;
pub(crate) mod completions;
pub(crate) mod dashboard;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod evidence;
pub(crate) mod inbox;
pub(crate) mod man;
pub(crate) mod mcp;
pub(crate) mod meeting;
pub(crate) mod org;
pub(crate) mod reference;
pub(crate) mod scale;
pub(crate) mod schedule;
pub(crate) mod schema;
pub(crate) mod server;
pub(crate) mod task;
pub(crate) mod topology;
pub(crate) mod up;

use crate::{
    args::{Cli, Command},
    exit::Code,
    output::Out,
};

/// The verb with which `sinew` starts programs that must end with it. For nobody else.
pub(crate) const GUARD: &str = "guard";

/// Runs the verb that was asked for.
///
/// # Errors
/// Whatever went wrong; [`exit`](crate::exit) says what code it ends in.
pub(crate) async fn run(cli: Cli, out: Out) -> anyhow::Result<Code> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => Box::pin(up::run(args, &global, out)).await,
        Command::Server(args) => Box::pin(server::run(args, &global, out)).await,
        Command::Agent(command) => agent::run(command, &global, out).await,
        Command::Task(command) => task::run(command, &global, out).await,
        Command::Schedule(command) => schedule::run(command, &global, out).await,
        Command::Inbox(command) => inbox::run(command, &global, out).await,
        Command::Broadcast(command) => broadcast::run(command, &global, out).await,
        Command::Meeting(command) => meeting::run(*command, &global, out).await,
        Command::Events(command) => events::run(command, &global, out).await,
        #[cfg(feature = "dashboard")]
        Command::Dashboard(args) => dashboard::run(&args, &global, out),
        Command::Mcp(args) => mcp::run(args, &global, out).await,
        Command::Topology(command) => topology::run(command, &global, out).await,
        Command::Org(command) => org::run(command, &global, out).await,
        Command::Scale(command) => scale::run(command, &global, out).await,
        Command::Schema(args) => schema::run(&args, out),
        Command::Evidence(args) => evidence::run(args, &global, out).await,
        Command::Doctor(args) => doctor::run(&args, &global, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Bench(args) => bench::command(&args, out).await,
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
        Command::Reference => reference::run(out),
    }
}
