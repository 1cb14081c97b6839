//! A backbone for one test, and runtimes on it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sinew_agent::{
    Bus, CancellationToken, Client, Config, Context, Failure, Handler, Runtime, RuntimeError,
    Settings, Tally,
};
use sinew_bus::{Delivery, Intake, Outgoing, RawMessage, Slots, TaskLog, Topology};
use sinew_model::{
    Band, Entry, Role, TaskId, Transition, header,
    mail::Mail,
    presence::Heartbeat,
    retry::Backoff,
    stream::{AGENT_MAIL, AGENT_PRESENCE, AGENT_TASKS, work_consumer_name},
    task::Actor,
};
use sinew_testkit::{FaultProxy, NatsServer, wait};
use tokio::{sync::watch, task::JoinHandle};

/// How long a state may take to come, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server, a connection to it, and the streams of the org `acme`.
pub(crate) struct Backbone {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) topology: Topology,
}

/// A runtime that runs as a process of its own would.
pub(crate) struct Process {
    pub(crate) proxy: FaultProxy,
    shutdown: CancellationToken,
    task: JoinHandle<Result<Tally, RuntimeError>>,
    threads: Option<tokio::runtime::Runtime>,
}

/// Where handlers wait until the test lets them pass.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

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

    /// Runs an agent as a process of its own would: on threads of its own, and over a link that
    /// can be cut.
    pub(crate) fn process(&self, settings: Settings, handler: impl Handler) -> Process {
        let proxy = FaultProxy::start(self.server.port());
        let config = Config::new(proxy.url(), "acme".parse().unwrap());
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let task = threads.spawn(async move {
            let bus = Bus::connect(config).await.unwrap();
            Runtime::new(bus, settings).run(handler, stop).await
        });
        Process { proxy, shutdown, task, threads: Some(threads) }
    }

    /// Publishes a body on a role's queue as a client without an SDK does.
    pub(crate) async fn put(
        &self,
        to: &str,
        body: impl Into<Vec<u8>>,
        (id, epoch): (Option<&str>, Option<&str>),
    ) -> u64 {
        let subject = self.bus.subjects().tasks(&role(to), Band::Normal);
        let mut out = Outgoing::new(AGENT_TASKS, subject, body.into());
        if let Some(id) = id {
            out = out.id(id);
        }
        if let Some(epoch) = epoch {
            out = out.header(header::EPOCH, epoch);
        }
        self.bus.publish(out).await.unwrap().seq
    }

    /// The log of a task, in the hand of an instance that is no runtime.
    pub(crate) async fn log(&self, id: &TaskId) -> TaskLog {
        let instance = Some("by-hand".parse().unwrap());
        let by = Actor { role: role("cto"), instance };
        TaskLog::read(&self.bus, id.clone(), by).await.unwrap()
    }

    /// Takes the next delivery of a role's queue, as a worker that then does nothing.
    pub(crate) async fn take(&self, from: &str) -> Delivery {
        let role = role(from);
        self.topology.ensure_work_consumer(&self.bus, &role, Band::Normal).await.unwrap();
        let slots = Slots::new(1);
        let consumers = vec![(Band::Normal, work_consumer_name(&role, Band::Normal))];
        let mut intake = Intake::open(&self.bus, AGENT_TASKS, consumers, &slots);
        let (mut delivery, _slot) = intake.next().await.unwrap();
        delivery.leave_to_log();
        delivery
    }

    /// Everything that a stream holds on a filter subject.
    pub(crate) async fn stored(&self, stream: &str, filter: &str) -> Vec<RawMessage> {
        let mut found = Vec::new();
        let mut from = 1;
        while let Some(message) = self.bus.first_from(stream, filter, from).await.unwrap() {
            from = message.seq + 1;
            found.push(message);
        }
        found
    }

    /// What lies in a role's inbox.
    pub(crate) async fn inbox(&self, of: &str) -> Vec<Mail> {
        let subject = self.bus.subjects().inbox(&role(of));
        let stored = self.stored(AGENT_MAIL, subject.as_str()).await;
        stored.iter().map(|message| serde_json::from_slice(&message.payload).unwrap()).collect()
    }

    /// How many assignments all queues hold.
    pub(crate) async fn queued(&self) -> u64 {
        self.bus.stream_state(AGENT_TASKS).await.unwrap().messages
    }

    pub(crate) async fn until_queue_is_empty(&self) {
        wait::until("the queue to be empty", PATIENCE, async || match self.queued().await {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        })
        .await;
    }

    /// Waits until a task has as many entries of a transition.
    pub(crate) async fn until_count(&self, id: &TaskId, transition: Transition, count: usize) {
        let what = format!("{count} of {} for {id}", transition.word());
        self.until(id, &what, |entries| {
            entries.iter().filter(|it| it.change.transition() == transition).count() >= count
        })
        .await;
    }

    /// Waits for a sign of life that suits.
    pub(crate) async fn until_flow(&self, what: &str, suits: impl Fn(&Heartbeat) -> bool) {
        let filter = self.bus.subjects().heartbeats();
        wait::until(what, PATIENCE, async || {
            let last = self.bus.last(AGENT_PRESENCE, filter.as_str()).await.unwrap();
            let last = last.ok_or("nobody was heard")?;
            let beat = serde_json::from_slice::<Heartbeat>(&last.payload).unwrap();
            if suits(&beat) { Ok(()) } else { Err(format!("{beat:?}")) }
        })
        .await;
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
        wait::until(what, PATIENCE, async || {
            let entries = self.entries(id).await;
            if suits(&entries) { Ok(()) } else { Err(format!("{entries:?}")) }
        })
        .await;
    }
}

impl Process {
    /// As SIGKILL does it: the sockets close, and nothing is said.
    pub(crate) fn kill(self) {
        self.proxy.cut();
    }

    pub(crate) async fn stop(mut self) -> Tally {
        self.shutdown.cancel();
        (&mut self.task).await.unwrap().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// A handler that waits here, and then says which attempt it was.
    pub(crate) fn handler(&self) -> impl Handler + use<> {
        let gate = self.clone();
        move |task: Context| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(task.attempt().into())
            }
        }
    }
}

impl Running {
    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends by itself.
    pub(crate) async fn ended(self) -> Tally {
        self.task.await.unwrap().unwrap()
    }

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
