//! A backbone, and hosts on it.

use std::time::Duration;

use rmcp::{
    ClientHandler, RoleClient, ServiceExt as _,
    model::{
        CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation,
        ProgressNotificationParam, ResourceUpdatedNotificationParam,
    },
    service::{NotificationContext, RunningService},
};
use serde_json::Value;
use sinew_agent::{Bus, Client, Config};
use sinew_bus::{Topology, ensure::Consent};
use sinew_server::mcp::{Origin, stdio};
use sinew_testkit::NatsServer;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the streams of `acme`.
pub(crate) struct Backbone {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    topology: Topology,
}

/// A host that started the server as its child.
pub(crate) struct Host {
    pub(crate) mcp: RunningService<RoleClient, Ear>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    serving: JoinHandle<()>,
}

/// What the server told a host of its own accord.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    Updated(String),
    Progress(String),
}

/// A client that keeps what it is told.
#[derive(Clone)]
pub(crate) struct Ear(mpsc::Sender<Heard>);

impl Ear {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Heard>) {
        let (sender, heard) = mpsc::channel(100);
        (Self(sender), heard)
    }
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("test", "1"))
    }

    async fn on_resource_updated(
        &self,
        told: ResourceUpdatedNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0.send(Heard::Updated(told.uri)).await.ok();
    }

    async fn on_progress(
        &self,
        told: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.0.send(Heard::Progress(told.message.unwrap_or_default())).await.ok();
    }
}

/// What a tool came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) is_error: bool,
    pub(crate) value: Value,
    pub(crate) text: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn good(self) -> Value {
        assert!(!self.is_error, "{}", self.text);
        self.value
    }

    /// It is an error that says this, and what to do next.
    #[track_caller]
    pub(crate) fn bad(self, words: &str) {
        assert!(self.is_error, "it went well: {self:?}");
        assert!(self.text.contains(words), "{:?} does not say {words:?}", self.text);
        assert!(self.text.contains("\nnext: "), "{:?} says nothing of what is next", self.text);
    }
}

/// Calls a tool.
pub(crate) async fn call(mcp: &RunningService<RoleClient, Ear>, tool: &str, given: Value) -> Said {
    let mut request = CallToolRequestParams::new(tool.to_owned());
    request.arguments = given.as_object().cloned();
    let result = mcp.call_tool(request).await.unwrap();
    let text = result.content.iter().filter_map(|it| it.as_text()).map(|it| it.text.clone());
    Said {
        is_error: result.is_error == Some(true),
        text: text.collect(),
        value: result.structured_content.unwrap_or_default(),
    }
}

impl Backbone {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With something laid over the catalogue, as TOML.
    pub(crate) async fn with(overlay: &str) -> Self {
        let server = NatsServer::start();
        let bus = connect(&server).await;
        let topology = Topology::overlaid(&bus, overlay).unwrap();
        let plan = topology.plan(&bus).await.unwrap();
        topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
        Self { server, bus, topology }
    }

    pub(crate) fn client(&self, role: &str) -> Client {
        Client::new(self.bus.clone(), role.parse().unwrap())
    }

    pub(crate) async fn origin(&self) -> Origin {
        let origin = Origin::new(connect(&self.server).await).await.unwrap();
        Origin { topology: self.topology.clone(), ..origin }
    }

    /// A host that speaks for a role, over pipes.
    pub(crate) async fn host(&self, role: &str) -> Host {
        let (near, far) = tokio::io::duplex(1 << 16);
        let served = stdio::serve_on(
            self.origin().await,
            (role.parse().unwrap(), None),
            tokio::io::split(far),
            CancellationToken::new(),
        );
        let serving = tokio::spawn(async move { served.await.unwrap() });
        let (ear, heard) = Ear::new();
        let mcp = ear.serve(tokio::io::split(near)).await.unwrap();
        Host { mcp, heard, serving }
    }
}

impl Host {
    pub(crate) async fn call(&self, tool: &str, given: Value) -> Said {
        call(&self.mcp, tool, given).await
    }

    /// Waits until it is told something.
    pub(crate) async fn hears(&mut self) -> Heard {
        tokio::time::timeout(PATIENCE, self.heard.recv()).await.unwrap().unwrap()
    }

    /// It goes away without a word, and the server is waited for.
    pub(crate) async fn die(self) {
        let Self { mcp, serving, .. } = self;
        mcp.cancel().await.unwrap();
        tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
    }
}

pub(crate) async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}
