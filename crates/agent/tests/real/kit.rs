//! A backbone for one test, and runtimes on it.

use std::time::Duration;

use serde_json::Value;
use sinew_agent::{
    Bus, CancellationToken, Client, Config, Context, Failure, Handler, Runtime, RuntimeError,
    Settings, Tally,
};
use sinew_bus::Topology;
use sinew_model::{Entry, Role, TaskId, retry::Backoff};
use sinew_testkit::{NatsServer, wait};
use tokio::task::JoinHandle;

/// A server, a connection to it, and the streams of the org `acme`.
pub(crate) struct Backbone {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) topology: Topology,
}

/// A runtime that runs in the background.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<Tally, RuntimeError>>,
}

pub(crate) fn role(text: &str) -> Role {
    text.parse().unwrap()
}

pub(crate) fn task(text: &str) -> TaskId {
    text.parse().unwrap()
}

impl Backbone {
    pub(crate) async fn start() -> Self {
        Self::with(NatsServer::start(), "").await
    }

    /// With something laid over the catalogue, as TOML.
    pub(crate) async fn with(server: NatsServer, overlay: &str) -> Self {
        let bus = connect(&server).await;
        let topology = Topology::overlaid(&bus, overlay).unwrap();
        let plan = topology.plan(&bus).await.unwrap();
        topology.apply(&bus, &plan, sinew_bus::ensure::Consent::KeepMessages).await.unwrap();
        Self { server, bus, topology }
    }

    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(self.bus.clone(), role(name))
    }

    pub(crate) fn settings(&self, name: &str) -> Settings {
        let mut settings = Settings::new(role(name));
        settings.topology = Some(self.topology.clone());
        let first = Duration::from_millis(50);
        settings.backoff = Backoff { first, longest: Duration::from_millis(200) };
        settings.drain = Duration::from_secs(5);
        settings
    }

    /// Runs an agent on a connection of its own.
    pub(crate) async fn run(&self, settings: Settings, handler: impl Handler) -> Running {
        let shutdown = CancellationToken::new();
        let runtime = Runtime::new(connect(&self.server).await, settings);
        let task = tokio::spawn(runtime.run(handler, shutdown.clone()));
        Running { shutdown, task }
    }

    /// All that the log says about a task.
    pub(crate) async fn entries(&self, id: &TaskId) -> Vec<Entry> {
        let history = self.bus.history(id).await.unwrap();
        assert_eq!(history.task.voids, 0, "void entries in the log of {id}");
        history.entries.into_iter().map(|logged| logged.stored.entry).collect()
    }

    /// The transitions of a task, in words.
    pub(crate) async fn words(&self, id: &TaskId) -> Vec<&'static str> {
        let entries = self.entries(id).await;
        entries.iter().map(|entry| entry.change.transition().word()).collect()
    }

    /// Waits until the log of a task has an entry that suits.
    pub(crate) async fn until(&self, id: &TaskId, what: &str, suits: impl Fn(&[Entry]) -> bool) {
        wait::until(what, Duration::from_secs(30), async || {
            let entries = self.entries(id).await;
            if suits(&entries) { Ok(()) } else { Err(format!("{entries:?}")) }
        })
        .await;
    }
}

impl Running {
    pub(crate) async fn stop(self) -> Tally {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap()
    }

    /// As a crash would: nothing is drained, nothing is said.
    pub(crate) async fn crash(self) {
        self.task.abort();
        let ended = self.task.await;
        assert!(ended.is_err(), "it had ended by itself: {ended:?}");
    }
}

pub(crate) async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

/// A handler that says what it was given.
pub(crate) async fn echo(task: Context) -> Result<Value, Failure> {
    Ok(task.input().clone())
}
