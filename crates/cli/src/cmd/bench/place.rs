//! The server under test: its own nats-server on a throw-away folder, and two connections of each
//! kind to it, one for who asks and one for who works.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream;
use sinew_agent::model::{
    OrgId, Role,
    grant::User,
    signature::Policy,
    stream::{AGENT_MAIL, AGENT_TASKS, ORG_EVENTS, TASK_LOG, TASK_SCHEDULES},
};
use sinew_bus::{Auth, Bus, Topology};
use sinew_server::{
    Context,
    engine::{Config, Durability, Engine},
};
use tempfile::TempDir;

use super::Server;

/// The org that everything is measured in.
const ORG: &str = "bench";

/// One end of the measurement, on connections of its own.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// What Sinew uses.
    pub(super) bus: Bus,
    /// What the bare loop uses.
    pub(super) nats: async_nats::Client,
    /// The same, as JetStream.
    pub(super) bare: jetstream::Context,
}

/// A server and the connections to it.
#[derive(Debug)]
pub(super) struct Place {
    engine: Engine,
    /// Removed with the place.
    folder: TempDir,
    pub(super) topology: Topology,
    /// Who publishes and delegates.
    pub(super) caller: Side,
    /// Who takes what was delegated.
    pub(super) worker: Side,
}

impl Place {
    pub(super) async fn open(
        folder: &Path,
        server: &Server,
        durability: Durability,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("sinew-bench-")
            .tempdir_in(folder)
            .with_context(|| format!("no folder can be made in {}", folder.display()))?;
        let org: OrgId = ORG.parse()?;
        let mut config = Config::new(folder.path(), org, &server.binary);
        config.durability = durability;
        config.guard.clone_from(&server.guard);
        let engine = Engine::start(config).await.context("nats-server does not start")?;
        let caller = Side::connect(engine.context(), "caller").await?;
        let worker = Side::connect(engine.context(), "worker").await?;
        let topology = Topology::standard(&caller.bus);
        for stream in [TASK_SCHEDULES, AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS] {
            topology.ensure_stream(&caller.bus, stream).await?;
        }
        Ok(Self { engine, folder, topology, caller, worker })
    }

    pub(super) fn context(&self) -> &Context {
        self.engine.context()
    }

    /// Where the context of this server is, for other processes.
    pub(super) fn context_path(&self) -> std::path::PathBuf {
        Context::path_in(self.folder.path())
    }

    /// Removes every message, so that each round begins alike.
    pub(super) async fn clear(&self) -> Result<()> {
        for stream in [AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS] {
            let answer: serde_json::Value = self
                .caller
                .bus
                .api(&format!("STREAM.PURGE.{stream}"), &serde_json::Value::Null)
                .await
                .with_context(|| format!("{stream} could not be emptied"))?;
            if answer.get("success") != Some(&true.into()) {
                bail!("{stream} was not emptied: {answer}");
            }
        }
        Ok(())
    }

    pub(super) async fn close(self) {
        drop((self.caller, self.worker));
        self.engine.stop().await;
    }
}

impl Side {
    pub(super) async fn connect(context: &Context, name: &str) -> Result<Self> {
        let mut config = context.server_config();
        config.name = format!("bench {name}");
        // The bare loop signs nothing either; what signatures cost is measured by itself.
        config.signing.policy = Policy::Off;
        let bus = Bus::connect(config).await?;
        let nats = connect_bare(context, name).await?;
        let bare = jetstream::new(nats.clone());
        Ok(Self { bus, nats, bare })
    }
}

/// A connection of the client as it comes.
pub(super) async fn connect_bare(context: &Context, name: &str) -> Result<async_nats::Client> {
    let Auth::Credentials(creds) = context.server_config().auth else {
        bail!("the engine of a benchmark is entered by credentials");
    };
    let options = async_nats::ConnectOptions::with_credentials_file(creds)
        .await?
        .custom_inbox_prefix(User::Server.inbox_prefix());
    Ok(options.name(format!("bench bare {name}")).connect(&context.url).await?)
}

/// A role of the benchmark.
pub(super) fn role(name: &str) -> Result<Role> {
    Ok(name.parse()?)
}
