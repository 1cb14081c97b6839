//! The servers of a run: one, or a cluster.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde_json::Value;
use sinew_model::stream::{AGENT_PRESENCE, TASK_LOG};
use sinew_testkit::{NatsCluster, NatsServer, PowerStore, power::Entries};

use crate::options::{Durability, Options, StoreKind};

/// What the run stands on.
#[derive(Debug)]
pub(crate) struct Backbone {
    servers: Servers,
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
        Ok(Self { servers, stores })
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

    /// Waits until every server serves and has caught up.
    pub(crate) fn wait_ready(&self) {
        if let Servers::Many(cluster) = &self.servers {
            cluster.wait_ready();
        }
    }

    /// Streams of which the servers do not hold the same, with what each holds. They say it
    /// themselves, so this is asked when all is at rest.
    pub(crate) fn diverged(&self) -> Vec<String> {
        let held: Vec<BTreeMap<String, String>> = self.nodes().iter().map(held).collect();
        let names: BTreeSet<&String> = held.iter().flat_map(BTreeMap::keys).collect();
        let mut diverged = Vec::new();
        for name in names {
            let all: Vec<Option<&String>> = held.iter().map(|node| node.get(name)).collect();
            if all.iter().any(|one| Some(one) != all.first()) {
                diverged.push(format!("{name}: {all:?}"));
            }
        }
        diverged
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

/// What a server says that it holds of each stream.
fn held(node: &NatsServer) -> BTreeMap<String, String> {
    let page = node.monitor("/jsz?accounts=true&streams=true").unwrap_or_default();
    let accounts = page.get("account_details").and_then(Value::as_array).into_iter().flatten();
    let streams = accounts.filter_map(|one| one.get("stream_detail")?.as_array()).flatten();
    let told = |stream: &Value| {
        let number = |name: &str| stream.get("state")?.get(name)?.as_u64();
        let (messages, last) = (number("messages")?, number("last_seq")?);
        let name = stream.get("name")?.as_str()?.to_owned();
        Some((name, format!("{messages} messages up to {last}")))
    };
    // What lives in memory comes and goes.
    streams.filter_map(told).filter(|(name, _)| name != AGENT_PRESENCE).collect()
}
