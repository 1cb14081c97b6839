//! `sinew server`: the controllers of an org on NATS servers that somebody else runs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use futures::FutureExt as _;
use serde_json::json;
use sinew_bus::{Bus, connect::without_login};
use sinew_model::grant::User;
use sinew_server::{
    Settings,
    context::{Context, Login, Secret},
    control::org::{Pace, Tenants},
    mcp::token::Tokens,
};
use sinew_views::Store;
use tokio_util::sync::CancellationToken;

use crate::{
    args::Global,
    cmd::{
        dashboard, mcp,
        scale::{self, Extras},
        up,
    },
    env,
    exit::{Code, Fault},
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
  sinew server --url nats://127.0.0.1:4222 --org acme --data-dir /var/lib/sinew
  sinew --context plant server --orgs")]
pub(crate) struct Args {
    /// The folder of its view; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    /// A TOML file with the roles of a team, for which it says how many instances are needed; it
    /// starts none
    #[arg(long, value_name = "FILE")]
    team: Option<PathBuf>,
    /// Where /healthz, /readyz and /metrics answer; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = scale::HEALTH)]
    health: SocketAddr,
    /// Who else may ask how a team is scaled.
    #[command(flatten)]
    outside: scale::Askers,
    /// Serve every other org of the context's data folder too, while it is used
    #[arg(long)]
    orgs: bool,
    /// The port of the MCP server on 127.0.0.1, and no other; else the first free one from 4280
    #[arg(long, value_name = "N")]
    mcp_port: Option<u16>,
    /// The pages for people.
    #[command(flatten)]
    pages: dashboard::Where,
}

/// Runs until it is told to stop.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let mut target = Target::find(global)?;
    target.as_user(&User::Server)?;
    let others = if args.orgs { Some(others(&target)?) } else { None };
    let mut places = Places::new(&args.data_dir, args.topology.as_deref(), args.mcp_port);
    places.statement = target.statement()?;
    places.pages = Some(&args.pages);
    places.folder = folder(&target);
    let extras = Extras::open(args.team.as_deref(), args.health, false).await?;
    let extras = extras.asked_by(args.outside.bind(&target.config.tls).await?);
    let all = async {
        let stop = stop.gently.clone();
        let stop_others = stop.child_token();
        let attending = async {
            if let Some(others) = others {
                others.run(stop_others.clone()).await;
            }
        };
        let serving = async {
            let _others_too = stop_others.clone().drop_guard();
            serve_on(target.config, (places, extras), (out, stop)).await
        };
        tokio::join!(serving, attending).0
    };
    tokio::select! {
        outcome = all => outcome,
        () = stop.now.cancelled() => Ok(Code::Interrupted),
    }
}

/// The data folder with orgs that the context led to, where there is one.
fn folder(target: &Target) -> Option<Box<Context>> {
    let known = target.own_context().filter(|(_, it)| matches!(it.login, Login::Creds { .. }));
    known.map(|(_, context)| Box::new(context.clone()))
}

/// The controllers of the other orgs of the data folder.
fn others(target: &Target) -> Result<Tenants, Fault> {
    let known = target.own_context().filter(|(_, it)| matches!(it.login, Login::Creds { .. }));
    let Some((_, context)) = known else {
        return Err(Fault::usage("there is no data folder with orgs")
            .hint("name the context of `sinew org init`: sinew --context FOLDER server --orgs"));
    };
    let mut context = context.clone();
    context.org = target.config.org.clone();
    Ok(Tenants::new(context, Pace::default()))
}

/// The files of a service.
#[derive(Clone, Debug)]
pub(crate) struct Places<'a> {
    data_dir: &'a Path,
    topology: Option<&'a Path>,
    mcp_port: Option<u16>,
    /// What the org's account says of its keys, where this is who may say so.
    statement: Option<String>,
    /// Where the pages for people are to be.
    pages: Option<&'a dashboard::Where>,
    /// The data folder with the keys of the orgs, where there is one.
    folder: Option<Box<Context>>,
}

impl<'a> Places<'a> {
    /// The folder of its view, the file with values for the streams, and the port of the MCP
    /// server.
    pub(crate) fn new(
        data_dir: &'a Path,
        topology: Option<&'a Path>,
        mcp_port: Option<u16>,
    ) -> Self {
        Self { data_dir, topology, mcp_port, statement: None, pages: None, folder: None }
    }

    /// With pages for people.
    pub(crate) const fn with(mut self, pages: &'a dashboard::Where) -> Self {
        self.pages = Some(pages);
        self
    }
}

/// Serves an org on servers that somebody else runs, until `stop`.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn serve_on(
    config: sinew_bus::Config,
    (places, extras): (Places<'_>, Extras),
    (out, stop): (Out, CancellationToken),
) -> anyhow::Result<Code> {
    let Places { data_dir, topology, mcp_port, statement, pages, folder } = places;
    let (url, org) = (config.url.clone(), config.org.clone());
    let reach = scale::reach(&config)?;
    let way = match folder {
        Some(context) => dashboard::Way::Folder(context),
        None => dashboard::Way::Login(Box::new(config.clone())),
    };
    let bus = Bus::connect(config).await?;
    let topology = up::prepare(&bus, topology, out).await?;
    let hosts = mcp::bind(&bus, topology.clone(), data_dir, (mcp_port, None)).await?;
    let pages = match pages {
        Some(pages) => pages.bind(data_dir, &org).await?,
        None => dashboard::Pages::default(),
    };
    let link = pages.link().map_or("-", Secret::expose).to_owned();
    let (shown, mcp_url) = (without_login(&url), hosts.url());
    let ready = json!({
        "event": "ready", "url": shown, "org": org, "dataDir": data_dir,
        "healthUrl": extras.health_url(), "mcpUrl": mcp_url,
        "kedaUrl": extras.keda_url(), "dashboard": pages.link(),
    });
    let login = if shown == url { "" } else { "   # and the login" };
    let keda = extras.keda_url().map(|url| format!(", and KEDA on {url}")).unwrap_or_default();
    let text = format!(
        "sinew serves {org} on {shown}, and MCP hosts on {mcp_url}{keda}\n\
         pages for people: {link}\nnext, in another terminal:\n  \
           export {}={shown} {}={org}{login}\n  \
           sinew agent run --role cto -- wc -w",
        env::URL,
        env::ORG
    );
    out.either(&ready, text)?;
    let mut settings = Settings::new(topology, view::path_in(data_dir));
    settings.statement = statement;
    let store = Store::open(&settings.views, bus.subjects().clone()).await?;
    settings.store = Some(store.clone());
    let open = dashboard::Open { bus: bus.clone(), store, data_dir, way };
    let pages = pages.open(open, stop.clone()).await?;
    extras.furnish(&mut settings, data_dir, reach)?;
    let hosts = hosts.run(Tokens::of(data_dir), stop.clone());
    up::together(extras.serve(bus, settings, stop).boxed(), hosts.boxed(), pages).await?;
    Ok(Code::Done)
}
