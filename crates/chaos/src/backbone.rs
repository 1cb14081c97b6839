//! The servers of a run: one, or a cluster.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use sinew_model::stream::TASK_LOG;
use sinew_testkit::{NatsCluster, NatsServer, PowerStore, power::Entries, wait};

use crate::{
    alike::{Alike, PAGE},
    options::{Durability, Options, StoreKind},
};

/// How long a server may take to catch up with the others: one that was wiped copies every stream,
/// which takes some seconds here, and a machine may be several times slower.
const CAUGHT_UP: Duration = Duration::from_secs(300);

/// What the run stands on.
#[derive(Debug)]
pub(crate) struct Backbone {
    servers: Servers,
    /// What the servers are called among each other, in their order.
    names: Vec<String>,
    /// What the servers store on, in their order; empty where that is the disk. Behind the servers,
    /// which must be gone before it is.
    stores: Vec<PowerStore>,
}

#[derive(Debug)]
enum Servers {
    One(Box<NatsServer>),
    Many(NatsCluster),
}

impl Backbone {
    /// Starts what the options say, and waits until it serves.
    ///
    /// # Errors
    /// When the options ask for what cannot be had here.
    pub(crate) fn start(options: &Options) -> anyhow::Result<Self> {
        let always = options.durability == Durability::Always;
        let stores = match options.store {
            StoreKind::Disk => Vec::new(),
            StoreKind::Journaled => stores(options.nodes, Entries::Journaled)?,
            StoreKind::Strict => stores(options.nodes, Entries::Strict)?,
        };
        let dirs = stores.iter().map(|store| store.path().join("store"));
        let servers = if options.nodes == 1 {
            let mut server = NatsServer::builder().sync_always(always);
            for dir in dirs {
                server = server.store_dir(dir);
            }
            Servers::One(Box::new(server.start()))
        } else {
            let cluster = NatsCluster::builder().size(options.nodes).sync_always(always);
            Servers::Many(cluster.store_dirs(dirs).start())
        };
        let mut backbone = Self { servers, names: Vec::new(), stores };
        backbone.names = backbone.nodes().iter().map(name).collect::<anyhow::Result<_>>()?;
        Ok(backbone)
    }

    /// All servers.
    pub(crate) fn nodes(&self) -> &[NatsServer] {
        match &self.servers {
            Servers::One(server) => std::slice::from_ref(server),
            Servers::Many(cluster) => cluster.nodes(),
        }
    }

    /// The ports for clients, of all servers.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.nodes().iter().map(NatsServer::port).collect()
    }

    /// The addresses of all servers, without a link between.
    pub(crate) fn url(&self) -> String {
        self.nodes().iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// The server that leads the log of tasks; some server where that is not known.
    pub(crate) fn leader(&self, otherwise: u64) -> usize {
        let known = match &self.servers {
            Servers::One(_) => None,
            Servers::Many(cluster) => cluster.stream_leader(TASK_LOG),
        };
        known.unwrap_or_else(|| self.pick(otherwise))
    }

    /// One of the servers, counted round.
    pub(crate) fn pick(&self, number: u64) -> usize {
        let count = self.nodes().len() as u64;
        usize::try_from(number.checked_rem(count).unwrap_or_default()).unwrap_or_default()
    }

    /// One server.
    ///
    /// # Errors
    /// When there are not so many.
    pub(crate) fn node(&self, at: usize) -> anyhow::Result<&NatsServer> {
        self.nodes().get(at).context("there is no such server")
    }

    /// Waits until every server says that it is well, which is not yet that it has caught up.
    pub(crate) fn wait_ready(&self) {
        if let Servers::Many(cluster) = &self.servers {
            cluster.wait_ready_within(CAUGHT_UP);
        }
    }

    /// Waits until every server of a cluster holds of every stream what its leader holds, or has
    /// caught up with it while work goes on.
    ///
    /// # Errors
    /// The streams of which they do not, with what each holds.
    pub(crate) fn wait_alike(&self, mut alike: Alike) -> Result<(), String> {
        let Servers::Many(cluster) = &self.servers else { return Ok(()) };
        let look = || {
            let pages = cluster.nodes().iter().zip(&self.names);
            let pages = pages.map(|(node, name)| Ok((name.clone(), node.monitor(PAGE)?)));
            alike.look(&pages.collect::<Result<_, String>>()?)
        };
        wait::try_until_blocking("the servers to hold the same", CAUGHT_UP, look)
            .map_err(|apart| apart.to_string())
    }

    /// Takes everything that a dead server had stored.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn wipe(&self, at: usize) -> anyhow::Result<()> {
        let dir = self.node(at)?.store_dir();
        std::fs::remove_dir_all(&dir)?;
        std::fs::create_dir(&dir)?;
        if let Some(store) = self.stores.get(at) {
            // A new disk does not turn into the old one at a power cut.
            store.sync_all();
        }
        Ok(())
    }

    /// Makes durable what the servers have stored so far, where that can be lost at all.
    pub(crate) fn settle(&self) {
        self.stores.iter().for_each(PowerStore::sync_all);
    }

    /// What a server stores on.
    ///
    /// # Errors
    /// When that is the disk.
    pub(crate) fn store(&self, at: usize) -> anyhow::Result<&PowerStore> {
        self.stores.get(at).context("the server stores on the disk of this machine")
    }
}

fn stores(count: usize, entries: Entries) -> anyhow::Result<Vec<PowerStore>> {
    Ok((0..count).map(|_| PowerStore::start(entries)).collect::<Result<_, _>>()?)
}

/// What a server is called among the others.
fn name(node: &NatsServer) -> anyhow::Result<String> {
    let page = node.monitor("/varz").map_err(anyhow::Error::msg)?;
    let name = page.get("server_name").and_then(Value::as_str);
    Ok(name.context("the server does not say what it is called")?.to_owned())
}
