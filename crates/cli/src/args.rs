//! The arguments that every verb has, and the verbs. What a verb takes besides stands beside what
//! it does, in [`cmd`].

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use sinew_model::{OrgId, Role};

use crate::{cmd, env, exit, secure::Secure};

/// The backbone of a team of AI agents, and everything that is done with it.
///
/// `sinew up` starts a backbone on this machine. `sinew agent run` makes any program an agent.
/// `sinew task delegate` gives an agent something to do. `sinew demo` shows all of it at work.
#[derive(Debug, Parser)]
#[command(name = "sinew", version, after_long_help = tables(), max_term_width = 100)]
pub(crate) struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The verb.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Print data as JSON: one document, or one on each line where it goes on
    #[arg(long, global = true, help_heading = "Every verb")]
    pub(crate) json: bool,
    /// Where the backbone is: nats://HOST:PORT [env: SINEW_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    pub(crate) url: Option<String>,
    /// The .creds file that lets in [env: SINEW_CREDS]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) creds: Option<PathBuf>,
    /// The org to act in [env: SINEW_ORG]
    #[arg(long, global = true, value_name = "ORG", help_heading = "Connection")]
    pub(crate) org: Option<OrgId>,
    /// The role to act as; else that of the credentials, else `operator` [env: SINEW_ROLE]
    #[arg(long, global = true, value_name = "ROLE", help_heading = "Connection")]
    pub(crate) role: Option<Role>,
    /// The context that `sinew up` wrote; looked for in .sinew of this folder and those above if
    /// nothing says otherwise [env: SINEW_CONTEXT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    pub(crate) context: Option<PathBuf>,
    /// Encryption and signatures.
    #[command(flatten)]
    pub(crate) secure: Secure,
    /// What is logged on stderr: error, warn, info, debug [env: SINEW_LOG]
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Every verb")]
    pub(crate) log: Option<String>,
}

/// The verbs, in the order in which a newcomer needs them. Where a verb has no words here, those of
/// its arguments are its help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(cmd::up::Args),
    Server(cmd::server::Args),
    /// Make programs agents, see who is there, and stop the flow of work to them
    #[command(subcommand)]
    Agent(cmd::agent::Command),
    /// Delegate tasks, and see what becomes of them
    #[command(subcommand)]
    Task(cmd::task::Command),
    /// Make tasks recur, and see how they do
    #[command(subcommand)]
    Schedule(cmd::schedule::Command),
    /// Send messages to roles, and read those of one
    #[command(subcommand)]
    Inbox(cmd::inbox::Command),
    /// Send messages to everybody, and see who has acknowledged them
    #[command(subcommand)]
    Broadcast(cmd::broadcast::Command),
    /// Meet: call a meeting, speak, vote, and read what came of it
    #[command(subcommand)]
    Meeting(Box<cmd::meeting::Command>),
    /// Tell the org what was done, and hear it
    #[command(subcommand)]
    Events(cmd::events::Command),
    #[cfg(feature = "dashboard")]
    Dashboard(cmd::dashboard::Args),
    Mcp(cmd::mcp::Args),
    /// The streams of the org: what they are to be, and are
    #[command(subcommand)]
    Topology(cmd::topology::Command),
    /// The orgs of a backbone, and who is let in
    #[command(subcommand)]
    Org(cmd::org::Command),
    /// How many instances each role is to have, and has
    #[command(subcommand)]
    Scale(cmd::scale::Command),
    Schema(cmd::schema::Args),
    Evidence(cmd::evidence::Args),
    Doctor(cmd::doctor::Args),
    Demo(cmd::demo::Args),
    Bench(cmd::bench::Args),
    Completions(cmd::completions::Args),
    Man(cmd::man::Args),
    /// Print this reference as Markdown
    #[command(hide = true)]
    Reference,
}

/// The environment and the exit codes, as the help shows them.
fn tables() -> String {
    let variables = env::TABLE.map(|(name, what)| format!("  {name:<18}  {what}")).join("\n");
    let codes = exit::TABLE.map(|(_, number, what)| format!("  {number:>3}  {what}")).join("\n");
    format!("Environment:\n{variables}\n\nExit codes:\n{codes}")
}
