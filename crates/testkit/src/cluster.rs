//! Several real nats-servers on loopback that form one JetStream cluster, each with its own data.
//! Each may be killed, paused and restarted by itself, through [`NatsCluster::node`].

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::port::Port;
use crate::server::{self, NatsServer};
use crate::wait;

/// A new cluster takes 1 to 3 s to elect; after a SIGKILL of the leader 4 to 6 s pass.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// How often a start may find that a stranger has taken one of its ports.
const START_TRIES: usize = 5;

/// What a cluster shall be; made by [`NatsCluster::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    size: usize,
    /// What every node gets, whatever its name.
    node: server::Builder,
    /// Where each node keeps its streams; a node beyond the last one in a folder of its own.
    stores: Vec<PathBuf>,
}

impl Builder {
    /// How many servers; three where nothing is said.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Whether every write is on the disk before it is acknowledged.
    pub fn sync_always(mut self, always: bool) -> Self {
        self.node = self.node.sync_always(always);
        self
    }

    /// Where each node keeps its streams, in their order. They are left there.
    pub fn store_dirs(mut self, dirs: impl IntoIterator<Item = PathBuf>) -> Self {
        self.stores = dirs.into_iter().collect();
        self
    }

    /// More text for the configuration of every node.
    pub fn extra_config(mut self, text: &str) -> Self {
        self.node = self.node.extra_config(text);
        self
    }

    /// Starts all nodes and waits until they are one cluster, see [`NatsCluster::wait_ready`].
    ///
    /// # Panics
    /// When they do not become one, with the logs; and when nats-server is not installed, with
    /// what to run.
    #[must_use]
    pub fn start(self) -> NatsCluster {
        for _ in 1..START_TRIES {
            let cluster = self.spawn();
            let started = cluster.nodes.iter().try_for_each(NatsServer::try_wait_ready);
            match started {
                Ok(()) => return cluster.ready(),
                Err(why) if server::is_port_taken(&why) => {}
                Err(why) => panic!("{why}"),
            }
        }
        self.spawn().ready()
    }

    fn spawn(&self) -> NatsCluster {
        let routes: Vec<Port> = (0..self.size).map(|_| Port::lease()).collect();
        let all: Vec<String> = routes
            .iter()
            .map(|port| format!("nats://{}:{}", Ipv4Addr::LOCALHOST, port.number()))
            .collect();
        let nodes = routes.iter().enumerate().map(|(at, port)| {
            // Nothing is advertised: a client knows the addresses that its test gave it, so a
            // proxy before a node cannot be gone round.
            let block = format!(
                "cluster {{\n  name: testkit\n  listen: \"127.0.0.1:{}\"\n  \
                 no_advertise: true\n  routes: [{}]\n}}",
                port.number(),
                all.join(", ")
            );
            let mut node = self.node.clone().name(&node_name(at)).extra_config(&block);
            if let Some(dir) = self.stores.get(at) {
                node = node.store_dir(dir);
            }
            node.spawn()
        });
        NatsCluster { nodes: nodes.collect(), _routes: routes }
    }
}

/// A running cluster. Dropping it kills every node and removes their data.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: Vec<NatsServer>,
    /// Kept so that a node that restarts finds its port free.
    _routes: Vec<Port>,
}

impl NatsCluster {
    /// Starts three nodes and waits until they are one cluster.
    ///
    /// # Panics
    /// When they do not become one, with the logs; and when nats-server is not installed, with
    /// what to run.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Says first what the cluster shall be.
    pub fn builder() -> Builder {
        Builder { size: 3, node: server::Builder::default(), stores: Vec::new() }
    }

    /// One node, counted from 0.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn node(&self, at: usize) -> &NatsServer {
        self.nodes.get(at).expect("the cluster has fewer nodes")
    }

    /// All nodes, in order.
    #[must_use]
    pub fn nodes(&self) -> &[NatsServer] {
        &self.nodes
    }

    /// The addresses of all nodes. Clients must be given all that they shall use, for the nodes
    /// do not advertise each other.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(NatsServer::url).collect()
    }

    /// Waits until all nodes that run name the same leader, the leader sees every node of the
    /// cluster that runs as current, and every stream and consumer on them is current.
    ///
    /// # Panics
    /// When this does not come about within a minute; that is so while most nodes are down.
    #[track_caller]
    pub fn wait_ready(&self) {
        self.wait_ready_within(READY_DEADLINE);
    }

    /// The same, with a time of the caller's: a node that was wiped while much was stored takes
    /// long.
    ///
    /// # Panics
    /// When this does not come about within that time.
    #[track_caller]
    pub fn wait_ready_within(&self, deadline: Duration) {
        wait::until_blocking("the cluster to be ready", deadline, || {
            for node in self.running() {
                node.health()?;
            }
            let leader = self.leader().ok_or("the nodes name no one leader")?;
            let meta = meta_cluster(self.node(leader))?;
            let current = meta
                .get("replicas")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter(|peer| is(peer, "current") && !is(peer, "offline"))
                .count();
            let expected = self.running().count() - 1;
            if current >= expected { Ok(()) } else { Err(format!("the leader says {meta}")) }
        });
    }

    /// The node that leads JetStream's own group, if all nodes that run name the same one. (A
    /// paused node answers nothing, so there is no answer while one is paused.)
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let mut named = self.running().map(|node| {
            let meta = meta_cluster(node).ok()?;
            self.position(meta.get("leader")?.as_str()?)
        });
        let first = named.next()??;
        // For seconds after its death a leader may still be named by the others.
        let alive = self.node(first).is_running();
        (alive && named.all(|other| other == Some(first))).then_some(first)
    }

    /// The node that leads a stream, in whichever account it is, if any node that answers knows.
    #[must_use]
    pub fn stream_leader(&self, stream: &str) -> Option<usize> {
        self.running().find_map(|node| {
            let page = node.monitor("/jsz?accounts=true&streams=true").ok()?;
            let accounts = page.get("account_details")?.as_array()?;
            let details = accounts.iter().filter_map(|account| account.get("stream_detail"));
            let mut streams = details.filter_map(Value::as_array).flatten();
            let found = streams.find(|one| text(one, "name") == Some(stream))?;
            self.position(text(found.get("cluster")?, "leader")?)
        })
    }

    fn ready(self) -> Self {
        self.nodes.iter().for_each(NatsServer::wait_ready);
        self.wait_ready();
        self
    }

    fn running(&self) -> impl Iterator<Item = &NatsServer> {
        self.nodes.iter().filter(|node| node.is_running())
    }

    fn position(&self, name: &str) -> Option<usize> {
        (0..self.nodes.len()).find(|at| node_name(*at) == name)
    }
}

fn node_name(at: usize) -> String {
    format!("n{}", at + 1)
}

fn meta_cluster(node: &NatsServer) -> Result<Value, String> {
    let mut page = node.monitor("/jsz")?;
    page.get_mut("meta_cluster").map(Value::take).ok_or_else(|| format!("no meta cluster: {page}"))
}

fn is(value: &Value, field: &str) -> bool {
    value.get(field).and_then(Value::as_bool).unwrap_or(false)
}

fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str)
}
