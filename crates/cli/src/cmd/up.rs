//! `sinew up`: a nats-server of its own on a data folder, the streams, the controllers, and the
//! context that leads every other command here. All of it ends with this process.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::json;
use sinew_bus::{Bus, Topology, ensure::Consent};
use sinew_model::{OrgId, signature::Policy};
use sinew_server::{
    Engine, Settings,
    account::{Orgs, Quota},
    context::{Context, Secret},
    control::org::{Pace, Tenants},
    engine::{Config, Durability, State, find},
    mcp::{http::HttpError, token::Tokens},
    tls::Encryption,
};
use sinew_views::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Global,
    cmd::{
        GUARD, dashboard, mcp,
        scale::{self, Extras},
        server,
    },
    env,
    exit::{Code, Fault},
    output::Out,
    signals,
    target::DATA_DIR,
    view,
};

/// Start a backbone on this machine, and keep it running.
///
/// It runs a nats-server as its child on a folder, makes the streams of one org, runs the
/// controllers of every org that is used, and writes a context file by which every other command in this folder and those
/// below finds it. One Ctrl-C ends all of it in order, a second one at once. What was stored is
/// there again when it is started on the same folder.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew up
  sinew up --team team.toml
  sinew up --data-dir /var/lib/sinew --port 4222
  sinew up --nats-url nats://nats.example:4222 --creds acme.creds --org acme")]
pub(crate) struct Args {
    /// The folder of everything that it keeps; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// The port on 127.0.0.1, and no other; else the one of the last time, or 4222, or a free one
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// What a stored message survives: a power cut (always), or the death of the server (interval)
    #[arg(long, value_name = "always|interval", default_value = "always", value_parser = durability)]
    durability: Durability,
    /// The nats-server program [env: SINEW_NATS_SERVER]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,
    /// Encrypt connections with certificates of an authority of this folder's own; `mutual`: let in
    /// only who shows one of the same authority
    #[arg(long, value_name = "server|mutual", num_args = 0..=1, default_missing_value = "server", value_parser = encryption)]
    tls: Option<Encryption>,
    /// Run no nats-server, and serve the org on this one
    #[arg(long, value_name = "URL", conflicts_with_all = ["port", "nats_server", "durability", "tls"])]
    nats_url: Option<String>,
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// A TOML file with the roles of a team, whose agents are started and stopped as work comes
    /// and goes
    #[arg(long, value_name = "FILE")]
    team: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics answer; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = scale::HEALTH)]
    health: SocketAddr,
    /// The port of the MCP server on 127.0.0.1, and no other; else the one of the last time, or
    /// the first free one from 4280
    #[arg(long, value_name = "N")]
    mcp_port: Option<u16>,
    /// The pages for people.
    #[command(flatten)]
    pages: dashboard::Where,
}

fn durability(text: &str) -> Result<Durability, String> {
    [Durability::Always, Durability::Interval]
        .into_iter()
        .find(|known| known.to_string() == text)
        .ok_or_else(|| "it is always or interval".to_owned())
}

fn encryption(text: &str) -> Result<Encryption, String> {
    match text {
        "server" => Ok(Encryption::Server),
        "mutual" => Ok(Encryption::Mutual),
        _ => Err("it is server or mutual".to_owned()),
    }
}

/// The org of a backbone that nobody named one for.
const ORG: &str = "acme";

/// Runs until it is told to stop.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let org = global.org.clone().map_or_else(|| env::parsed(env::ORG), |org| Ok(Some(org)))?;
    let org = org.map_or_else(|| ORG.parse(), Ok)?;
    // What is wrong with the team is known before anything is started.
    let extras = Extras::open(args.team.as_deref(), args.health, true).await?;
    let run = async {
        match &args.nats_url {
            Some(url) => {
                let mut config = sinew_bus::Config::new(url, org);
                if let Some(creds) = global.creds.clone().or_else(|| env::path(env::CREDS)) {
                    config.auth = sinew_bus::Auth::Credentials(creds);
                }
                global.secure.apply(&mut config)?;
                let places =
                    server::Places::new(&args.data_dir, args.topology.as_deref(), args.mcp_port);
                server::serve_on(
                    config,
                    (places.with(&args.pages), extras),
                    (out, stop.gently.clone()),
                )
                .await
            }
            None => {
                let how = (&args, extras, global.secure.policy()?);
                Box::pin(with_engine(org, how, (out, stop.gently.clone()))).await
            }
        }
    };
    tokio::select! {
        outcome = run => outcome,
        () = stop.now.cancelled() => Ok(Code::Interrupted),
    }
}

/// What it takes to run an engine here.
///
/// # Errors
/// When there is no nats-server.
pub(crate) async fn engine_config(
    data_dir: &Path,
    org: OrgId,
    nats_server: Option<&Path>,
) -> anyhow::Result<Config> {
    let (binary, guard) = self::nats_server(nats_server).await?;
    let mut config = Config::new(data_dir, org, binary);
    config.guard = Some(guard);
    Ok(config)
}

/// The nats-server to run, and the words that tie it to this process.
///
/// # Errors
/// When there is none.
pub(crate) async fn nats_server(
    explicit: Option<&Path>,
) -> anyhow::Result<(PathBuf, Vec<OsString>)> {
    let this = std::env::current_exe().context("this program does not know where it is")?;
    let near: Vec<PathBuf> =
        std::env::current_dir().ok().into_iter().chain([this.clone()]).collect();
    let given = env::path(env::NATS_SERVER).map(OsString::from);
    let binary = find(explicit, given, env::search_path(), &near).await?;
    Ok((binary, vec![this.into(), OsString::from(GUARD)]))
}

/// The topology of a file, or the standard one.
///
/// # Errors
/// When the file can't be read or makes no sense.
pub(crate) fn topology(bus: &Bus, file: Option<&Path>) -> anyhow::Result<Topology> {
    let Some(file) = file else { return Ok(Topology::standard(bus)) };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Fault::usage(format!("{}: {error}", file.display())))?;
    Topology::overlaid(bus, &text).with_context(|| file.display().to_string())
}

/// The topology of a file, or the standard one as far as the account has room for it.
///
/// # Errors
/// As [`topology`]; also when the server cannot be asked.
pub(crate) async fn fitting(bus: &Bus, file: Option<&Path>) -> anyhow::Result<Topology> {
    match file {
        Some(file) => topology(bus, Some(file)),
        None => Ok(Quota::of_account(bus).await?.topology(bus)?),
    }
}

async fn with_engine(
    org: OrgId,
    (args, extras, signatures): (&Args, Extras, Option<Policy>),
    (out, stop): (Out, CancellationToken),
) -> anyhow::Result<Code> {
    let mut config = engine_config(&args.data_dir, org, args.nats_server.as_deref()).await?;
    (config.port, config.durability, config.encryption) = (args.port, args.durability, args.tls);
    config.signatures = signatures;
    let usual = mcp::port_of_last_time(&args.data_dir);
    let engine = tokio::select! {
        engine = Engine::start(config) => engine?,
        () = stop.cancelled() => return Ok(Code::Done),
    };
    let mut context = engine.context().clone();
    let stop_others = stop.child_token();
    let orgs = Orgs::new(&context.data_dir, context.root.clone());
    let served = async {
        let bus = Bus::connect(context.server_config()).await?;
        let topology = prepare(&bus, args.topology.as_deref(), out).await?;
        let ports = (args.mcp_port, usual);
        let hosts = mcp::bind(&bus, topology.clone(), &context.data_dir, ports).await?;
        context.mcp_url = Some(hosts.url());
        let pages = args.pages.bind(&context.data_dir, &context.org).await?;
        context.dashboard = pages.link().cloned();
        let file = std::path::absolute(Context::path_in(&context.data_dir))?;
        context.save(&file)?;
        announce(&context, &extras, out)?;
        let hosts = hosts.run(Tokens::of(&context.data_dir), stop.clone());
        let mut settings = Settings::new(topology, view::path_in(&context.data_dir));
        let store = Store::open(&settings.views, bus.subjects().clone()).await?;
        settings.store = Some(store.clone());
        let open = dashboard::Open {
            bus: bus.clone(),
            store,
            data_dir: &context.data_dir,
            way: dashboard::Way::Folder(Box::new(context.clone())),
        };
        let pages = pages.open(open, stop.clone()).await?;
        settings.system = Some(context.system_config());
        settings.statement = Some(orgs.statement(&context.org)?);
        let reach = [(env::CONTEXT.into(), file.into())];
        extras.furnish(&mut settings, &context.data_dir, reach.into())?;
        let others = Tenants::new(context.clone(), Pace::default());
        let here = extras.serve(bus, settings, stop.clone()).boxed();
        let (served, ()) = tokio::join!(
            async {
                let _others_too = stop_others.clone().drop_guard();
                tokio::select! {
                    served = together(here, hosts.boxed(), pages) => served,
                    () = watch(&engine, out) => Ok(()),
                }
            },
            others.run(stop_others.clone()),
        );
        served
    };
    let served = Box::pin(served).await;
    if stop.is_cancelled() {
        out.note("stopping");
    }
    engine.stop().await;
    served.map(|()| Code::Done)
}

/// A service that runs. Boxed, because two of them are large.
type Boxed<E> = BoxFuture<'static, Result<(), E>>;

/// Serves the org, its hosts and its visitors. Where one fails, the others end too.
///
/// # Errors
/// What the first of them ended with.
pub(crate) async fn together(
    org: Boxed<anyhow::Error>,
    hosts: Boxed<HttpError>,
    pages: Boxed<anyhow::Error>,
) -> anyhow::Result<()> {
    let hosts = async { Ok::<_, anyhow::Error>(hosts.await?) };
    tokio::try_join!(org, hosts, pages)?;
    Ok(())
}

/// Makes the streams, and says where they differ from what they are to be.
///
/// # Errors
/// When they can't be made, or the file can't be read or makes no sense.
pub(crate) async fn prepare(bus: &Bus, file: Option<&Path>, out: Out) -> anyhow::Result<Topology> {
    let topology = fitting(bus, file).await?;
    let plan = topology.plan(bus).await?;
    let report = topology.apply(bus, &plan, Consent::KeepMessages).await?;
    if !report.is_complete() {
        out.note("warning: some streams are not as they are to be: see `sinew topology plan`");
    }
    Ok(topology)
}

fn announce(context: &Context, extras: &Extras, out: Out) -> anyhow::Result<()> {
    let Context { url, org, data_dir, durability, monitor_url, tls, mcp_url, dashboard, .. } =
        context;
    let file = Context::path_in(data_dir);
    let ready = json!({
        "event": "ready", "url": url, "org": org, "dataDir": data_dir, "context": file,
        "durability": durability, "monitorUrl": monitor_url, "healthUrl": extras.health_url(),
        "tls": tls, "signatures": context.policy(), "mcpUrl": mcp_url,
        "dashboard": dashboard,
    });
    let encrypted = tls.ca.as_ref().map(|ca| format!("\n  authority {}", ca.display()));
    let encrypted = encrypted.unwrap_or_default();
    let text = format!(
        "sinew is up\n  \
           url      {url}\n  \
           org      {org}\n  \
           data     {}\n  \
           durable  {durability}{encrypted}\n  \
           health   {}/readyz\n  \
           mcp      {}\n  \
           pages    {}\n\
         next, in another terminal:\n  \
           sinew agent run --role cto -- wc -w\n  \
           sinew task delegate cto \"Count these words\" --wait",
        data_dir.display(),
        extras.health_url(),
        mcp_url.as_deref().unwrap_or("-"),
        dashboard.as_ref().map_or("-", Secret::expose)
    );
    out.either(&ready, text)
}

/// Says when the server goes and comes back. Ends when it is stopped for good.
async fn watch(engine: &Engine, out: Out) {
    let mut states = engine.states();
    while states.changed().await.is_ok() {
        let state = states.borrow_and_update().clone();
        match state {
            State::Starting | State::Ready { restarts: 0, .. } => {}
            State::Ready { pid, restarts } => {
                out.note(format_args!("nats-server is back (process {pid}, restart {restarts})"));
            }
            State::Down { why } => out.note(format_args!("nats-server is down: {why}")),
            State::Stopped => return,
        }
    }
}
