//! Tasks that wait are moved on while the controllers run, and what ends is seen to, whoever died in
//! between. The sweep's pace is an hour where nothing but the controllers shall move a task.

mod disaster;
mod ends;
mod given_up;
mod waits;

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{Bus, CancellationToken, Client, Config, Handler, Runtime, Settings as Work};
use sinew_bus::{TaskLog, Topology, ensure::Consent};
use sinew_model::{
    Role, TaskId, Transition, mail::Mail, retry::Backoff, stream::AGENT_MAIL, task::Actor,
};
use sinew_server::{Settings, control::sweep::Pace, serve};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(90);

/// The sweep does nothing in a test.
const NEVER: Pace = Pace { every: Duration::from_secs(3600), grace: Duration::from_secs(3600) };

/// The sweep is in haste.
const HASTE: Pace = Pace { every: Duration::from_millis(100), grace: Duration::from_millis(300) };

struct Org {
    server: NatsServer,
    bus: Bus,
    topology: Topology,
    dir: TempDir,
}

/// Controllers or a runtime, in the background.
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Org {
    async fn start() -> Self {
        Self::with("").await
    }

    async fn with(overlay: &str) -> Self {
        let server = NatsServer::start();
        let bus = connect(&server).await;
        let topology = Topology::overlaid(&bus, overlay).unwrap();
        let plan = topology.plan(&bus).await.unwrap();
        topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
        Self { server, bus, topology, dir: TempDir::new("wake") }
    }

    fn client(&self) -> Client {
        Client::new(self.bus.clone(), role("ceo"))
    }

    async fn serve(&self, views: &str, pace: Pace) -> Running {
        let bus = connect(&self.server).await;
        let mut settings = Settings::new(self.topology.clone(), self.dir.join(views));
        settings.pace = pace;
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { serve(bus, settings, token).await.unwrap() });
        Running { shutdown, task }
    }

    async fn work(&self, of: &str, handler: impl Handler) -> Running {
        let mut settings = Work::new(role(of));
        settings.topology = Some(self.topology.clone());
        settings.drain = Duration::from_millis(100);
        let first = Duration::from_millis(50);
        settings.backoff = Backoff { first, longest: Duration::from_millis(200) };
        let runtime = Runtime::new(connect(&self.server).await, settings);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move {
            runtime.run(handler, token).await.unwrap();
        });
        Running { shutdown, task }
    }

    /// The log of a task, in the hand of somebody who writes and then does nothing more.
    async fn log(&self, id: &TaskId) -> TaskLog {
        let by = Actor { role: role("cto"), instance: Some("by-hand".parse().unwrap()) };
        TaskLog::read(&self.bus, id.clone(), by).await.unwrap()
    }

    async fn words(&self, id: &TaskId) -> Vec<&'static str> {
        let history = self.bus.history(id).await.unwrap();
        assert_eq!(history.task.voids, 0);
        let entries = history.entries.iter();
        entries.map(|logged| logged.stored.entry.change.transition().word()).collect()
    }

    async fn count(&self, id: &TaskId, transition: Transition) -> usize {
        let words = self.words(id).await;
        words.iter().filter(|word| **word == transition.word()).count()
    }

    async fn until(&self, id: &TaskId, transition: Transition) {
        self.until_count(id, transition, 1).await;
    }

    async fn until_count(&self, id: &TaskId, transition: Transition, count: usize) {
        let what = format!("{count} of {} for {id}", transition.word());
        wait::until(&what, LONG, async || {
            if self.count(id, transition).await >= count {
                Ok(())
            } else {
                Err(format!("{:?}", self.words(id).await))
            }
        })
        .await;
    }

    /// What lies in a role's inbox.
    async fn inbox(&self, of: &str) -> Vec<Mail> {
        let subject = self.bus.subjects().inbox(&role(of));
        let (mut found, mut from) = (Vec::new(), 1);
        let read =
            async |from| self.bus.first_from(AGENT_MAIL, subject.as_str(), from).await.unwrap();
        while let Some(message) = read(from).await {
            from = message.seq + 1;
            found.push(serde_json::from_slice(&message.payload).unwrap());
        }
        found
    }

    async fn until_told(&self, of: &str, kind: &str, id: &TaskId) {
        wait::until(&format!("{of} to be told {kind} of {id}"), LONG, async || {
            let inbox = self.inbox(of).await;
            let found = inbox.iter().any(|it| it.kind == kind && it.task_id.as_ref() == Some(id));
            if found { Ok(()) } else { Err(format!("{} messages", inbox.len())) }
        })
        .await;
    }

    async fn purge(&self, stream: &str) {
        let call = format!("STREAM.PURGE.{stream}");
        let _: Value = self.bus.api(&call, &Value::Null).await.unwrap();
    }

    async fn queued(&self) -> u64 {
        self.bus.stream_state(sinew_model::stream::AGENT_TASKS).await.unwrap().messages
    }
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// As a crash would: nothing is said.
    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.is_err(), "it had ended by itself");
    }
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn task(text: &str) -> TaskId {
    text.parse().unwrap()
}

fn done() -> Value {
    json!("done")
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}
