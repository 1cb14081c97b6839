//! `sinew server`: the controllers of an org on NATS servers that somebody else runs.

use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use serde_json::json;
use sinew_bus::{Bus, connect::without_login};
use sinew_server::{Settings, mcp::token::Tokens, serve};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Global,
    cmd::{mcp, up},
    env,
    exit::Code,
    output::Out,
    signals,
    target::{DATA_DIR, Target},
    view,
};

/// Run the controllers of an org on NATS servers that are already there.
///
/// It makes the streams of the org, keeps a view of its tasks, and moves every task that nobody
/// moves any more, until it is told to stop. It may run several times for one org, on as many
/// machines: each with a folder of its own.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew server --url nats://a.example:4222,nats://b.example:4222 --creds acme.creds --org acme
  sinew server --url nats://127.0.0.1:4222 --org acme --data-dir /var/lib/sinew")]
pub(crate) struct Args {
    /// The folder of its view; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// The port of the MCP server on 127.0.0.1, and no other; else the first free one from 4280
    #[arg(long, value_name = "N")]
    mcp_port: Option<u16>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let target = Target::find(global)?;
    let places = Places::new(&args.data_dir, args.topology.as_deref(), args.mcp_port);
    tokio::select! {
        outcome = serve_on(target.config, places, (out, stop.gently.clone())) => outcome,
        () = stop.now.cancelled() => Ok(Code::Interrupted),
    }
}

/// The files of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    data_dir: &'a Path,
    topology: Option<&'a Path>,
    mcp_port: Option<u16>,
}

impl<'a> Places<'a> {
    /// The folder of its view, the file with values for the streams, and the port of the MCP
    /// server.
    pub(crate) const fn new(
        data_dir: &'a Path,
        topology: Option<&'a Path>,
        mcp_port: Option<u16>,
    ) -> Self {
        Self { data_dir, topology, mcp_port }
    }
}

/// Serves an org on servers that somebody else runs, until `stop`.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn serve_on(
    config: sinew_bus::Config,
    places: Places<'_>,
    (out, stop): (Out, CancellationToken),
) -> anyhow::Result<Code> {
    let Places { data_dir, topology, mcp_port } = places;
    let (url, org) = (config.url.clone(), config.org.clone());
    let bus = Bus::connect(config).await?;
    let topology = up::prepare(&bus, topology, out).await?;
    let hosts = mcp::bind(&bus, topology.clone(), data_dir, (mcp_port, None)).await?;
    let (shown, mcp_url) = (without_login(&url), hosts.url());
    let ready = json!({
        "event": "ready", "url": shown, "org": org, "dataDir": data_dir, "mcpUrl": mcp_url,
    });
    let login = if shown == url { "" } else { "   # and the login" };
    let text = format!(
        "sinew serves {org} on {shown}, and MCP hosts on {mcp_url}\nnext, in another terminal:\n  \
           export {}={shown} {}={org}{login}\n  \
           sinew agent run --role cto -- wc -w",
        env::URL,
        env::ORG
    );
    out.either(&ready, text)?;
    let settings = Settings::new(topology, view::path_in(data_dir));
    let hosts = hosts.run(Tokens::of(data_dir), stop.clone());
    up::both(serve(bus, settings, stop).boxed(), hosts.boxed()).await?;
    Ok(Code::Done)
}
