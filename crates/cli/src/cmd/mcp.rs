//! `sinew mcp`: LLM hosts as agents. Without a further verb it speaks MCP on stdin and stdout, for
//! the host that started it.

mod install;
mod token;

use std::path::Path;

use sinew_bus::{Bus, Topology};
use sinew_model::{InstanceId, grant::User};
use sinew_server::{
    context::Context,
    mcp::{
        Origin,
        http::{HttpError, Server},
        stdio,
    },
};
use sinew_views::{Projection, Store};

use crate::{
    args::Global,
    env,
    exit::{Code, Fault},
    output::Out,
    signals,
    target::{self, Target},
    view,
};

/// Let an LLM host act as a role, over MCP.
///
/// Without a further verb it speaks MCP on stdin and stdout: a host starts it so. `install` writes
/// the configuration of common hosts, and `token` lets hosts in over HTTP, at the address that
/// `sinew up` prints. What a host has taken is its own while it lives, and goes back at once when
/// it is gone.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:
  sinew mcp --role cto
  sinew mcp install claude-code --role cto --write
  sinew mcp token --role cto"
)]
pub(crate) struct Args {
    /// A name that outlives a restart; never two at a time [env: SINEW_INSTANCE]
    #[arg(long, value_name = "NAME")]
    instance: Option<InstanceId>,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What else there is to do about hosts.
#[derive(Debug, clap::Subcommand)]
enum Command {
    Install(install::Args),
    Token(token::Args),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    match args.command {
        Some(Command::Install(args)) => install::run(&args, global, out),
        Some(Command::Token(args)) => token::run(&args, global, out),
        None => speak(args.instance, global).await,
    }
}

/// The role that a host acts as: there is none that would do for all.
fn role(global: &Global) -> Result<sinew_model::Role, Fault> {
    let role = target::role(global)?;
    role.ok_or_else(|| Fault::usage("a host needs a role").hint("name it: sinew mcp --role cto"))
}

async fn speak(instance: Option<InstanceId>, global: &Global) -> anyhow::Result<Code> {
    let role = role(global)?;
    let instance = match instance {
        Some(instance) => Some(instance),
        None => env::parsed(env::INSTANCE)?,
    };
    let mut target = Target::find(global)?;
    target.as_user(&User::Agent(role.clone()))?;
    let stop = signals::listen()?;
    let bus = target.connect().await?;
    let topology = Topology::standard(&bus);
    let views = Projection::new(view::open(&target, &bus).await?);
    let origin = Origin { bus, topology, views, closing: Origin::tracker() };
    tokio::select! {
        served = stdio::serve(origin, role, instance, stop.gently.clone()) => served?,
        () = stop.now.cancelled() => return Ok(Code::Interrupted),
    }
    Ok(Code::Done)
}

/// The port that hosts were configured with when this folder was served the last time.
pub(crate) fn port_of_last_time(data_dir: &Path) -> Option<u16> {
    let url = Context::load(&Context::path_in(data_dir)).ok()?.mcp_url?;
    url.strip_prefix("http://")?.split('/').next()?.rsplit(':').next()?.parse().ok()
}

/// Binds the MCP server of an org: on the port that was asked for and no other, else on the usual
/// one, else on a free one.
///
/// # Errors
/// When there is no view or no port.
pub(crate) async fn bind(
    bus: &Bus,
    topology: Topology,
    data_dir: &Path,
    (port, usual): (Option<u16>, Option<u16>),
) -> anyhow::Result<Server> {
    let path = view::path_in(data_dir);
    let views = Projection::new(Store::open(path, bus.subjects().clone()).await?);
    let origin = Origin { bus: bus.clone(), topology, views, closing: Origin::tracker() };
    if let (None, Some(usual)) = (port, usual)
        && let Ok(server) = Server::bind(origin.clone(), Some(usual)).await
    {
        return Ok(server);
    }
    Server::bind(origin, port).await.map_err(|error| match error {
        HttpError::Bind(_) => Fault::new(Code::Refused, crate::exit::told(&error.into()))
            .hint("name a free one with --mcp-port")
            .into(),
        HttpError::Serve(_) | _ => error.into(),
    })
}
