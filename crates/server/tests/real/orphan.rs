//! Who is taken for dead and who is not: the controllers beside runtimes on links that are cut.

use std::time::Duration;

use sinew_agent::{
    Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime, Settings as Work,
};
use sinew_bus::{Hints, Topology};
use sinew_model::{Role, TaskId, presence::Heartbeat};
use sinew_server::{Settings, serve};
use sinew_testkit::{FaultProxy, NatsServer, TempDir, wait};
use tokio::{sync::watch, task::JoinHandle};

const LONG: Duration = Duration::from_secs(60);
/// An account for the org and the one that sees the server itself.
const ACCOUNTS: &str = r#"accounts {
  acme: { jetstream: enabled, users: [{ user: acme, password: a }] }
  SYS: { users: [{ user: sys, password: s }] }
}
system_account: SYS"#;

struct Org {
    server: NatsServer,
    bus: Bus,
    dir: TempDir,
    go: watch::Sender<bool>,
}

/// A runtime behind a link of its own, on threads of its own.
struct Agent {
    link: FaultProxy,
    threads: Option<tokio::runtime::Runtime>,
}

/// Signs of life as they come.
struct Heartbeats(Hints);

impl Heartbeats {
    async fn next(&mut self) -> Option<Heartbeat> {
        let hint = self.0.next().await?;
        Some(serde_json::from_slice(hint.payload()).unwrap())
    }
}

/// A service that is stopped when it is dropped.
struct Serving {
    _task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

impl Agent {
    /// As SIGKILL does it: the sockets close, and nothing is said.
    fn kill(self) {
        self.link.cut();
    }
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

fn login(port: u16, user: &str) -> Config {
    let password = user.chars().next().unwrap();
    let mut config = Config::new(format!("nats://127.0.0.1:{port}"), "acme".parse().unwrap());
    config.auth =
        sinew_agent::Auth::Password { user: user.to_owned(), password: password.to_string() };
    config
}

impl Org {
    async fn start() -> Self {
        let server = NatsServer::builder().extra_config(ACCOUNTS).start();
        let bus = Bus::connect(login(server.port(), "acme")).await.unwrap();
        let topology = Topology::standard(&bus);
        for spec in &topology.catalogue().streams {
            topology.ensure_stream(&bus, spec.name).await.unwrap();
        }
        Self { server, bus, dir: TempDir::new("orphan"), go: watch::Sender::new(false) }
    }

    /// The controllers, over a link to the org that starts at `port`, once they hear.
    async fn serve(&self, views: &str, port: u16) -> Serving {
        let bus = Bus::connect(login(port, "acme")).await.unwrap();
        let mut settings = Settings::new(Topology::standard(&bus), self.dir.join(views));
        settings.system = Some(login(self.server.port(), "sys"));
        let mut canaries = self.heartbeats("sinew").await;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { serve(bus, settings, token).await.unwrap() });
        while canaries.next().await.unwrap().extra.get("canary") != Some(&1.into()) {}
        Serving { _task: task, stop }
    }

    /// The heartbeats of a role from now on.
    async fn heartbeats(&self, name: &str) -> Heartbeats {
        let subject = self.bus.subjects().heartbeat(&role(name));
        Heartbeats(self.bus.watch_subject(subject.as_str()).await.unwrap())
    }

    /// Waits until whoever listens has heard a role.
    async fn until_heard(&self, name: &str) {
        let mut heartbeats = self.heartbeats(name).await;
        for _ in 0..4 {
            heartbeats.next().await;
        }
    }

    /// An agent whose handlers wait until the test lets all of them go.
    fn agent(&self, name: &str) -> Agent {
        let link = FaultProxy::start(self.server.port());
        let config = login(link.port(), "acme");
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (settings, go) = (Work::new(role(name)), self.go.subscribe());
        threads.spawn(async move {
            let bus = Bus::connect(config).await.unwrap();
            let handler = move |_: Context| {
                let mut go = go.clone();
                async move {
                    go.wait_for(|go| *go)
                        .await
                        .map_err(|error| Failure::fatal(error.to_string()))?;
                    Ok("done".into())
                }
            };
            Runtime::new(bus, settings).run(handler, CancellationToken::new()).await.unwrap();
        });
        Agent { link, threads: Some(threads) }
    }

    async fn running(&self, name: &str) -> TaskId {
        let ceo = Client::new(self.bus.clone(), role("ceo"));
        let id = ceo.delegate(Delegation::new(role(name), "Wait")).await.unwrap().id;
        self.until(&id, &["created", "started"]).await;
        id
    }

    async fn words(&self, id: &TaskId) -> Vec<&'static str> {
        let history = self.bus.history(id).await.unwrap();
        let entries = history.entries.iter();
        entries.map(|logged| logged.stored.entry.change.transition().word()).collect()
    }

    async fn until(&self, id: &TaskId, expected: &[&str]) {
        wait::until(&format!("{id} to be {expected:?}"), LONG, async || {
            let words = self.words(id).await;
            if words == expected { Ok(()) } else { Err(format!("{words:?}")) }
        })
        .await;
    }

    /// Waits until a task was released, and no more: nobody else fills its role.
    async fn until_taken_back(&self, id: &TaskId) {
        self.until(id, &["created", "started", "released"]).await;
    }

    /// Ends everything, and shows that the task ran once.
    async fn ran_once(&self, id: &TaskId) {
        self.go.send_replace(true);
        self.until(id, &["created", "started", "completed"]).await;
    }
}

#[tokio::test]
async fn a_short_reconnect_releases_nothing() {
    let org = Org::start().await;
    let _serving = org.serve("views.db", org.server.port()).await;
    let (agent, clock) = (org.agent("cto"), org.agent("qa"));
    let (id, other) = (org.running("cto").await, org.running("qa").await);
    org.until_heard("qa").await;
    for _ in 0..3 {
        let accepted = agent.link.accepted();
        agent.link.cut();
        agent.link.heal();
        wait::until("the agent to be back", LONG, async || {
            if agent.link.accepted() > accepted { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
    }
    // The release of one that dies now comes after what could have come for the other.
    clock.kill();
    org.until_taken_back(&other).await;
    wait::holds("the task to be left alone", Duration::from_secs(2), async || {
        let words = org.words(&id).await;
        if words == ["created", "started"] { Ok(()) } else { Err(format!("{words:?}")) }
    })
    .await;
    org.ran_once(&id).await;
}

#[tokio::test]
async fn a_controller_that_was_cut_off_releases_nothing() {
    let org = Org::start().await;
    let link = FaultProxy::start(org.server.port());
    let _serving = org.serve("views.db", link.port()).await;
    let (agent, clock) = (org.agent("cto"), org.agent("qa"));
    let (id, other) = (org.running("cto").await, org.running("qa").await);
    org.until_heard("qa").await;
    // Deaf to the org, it still hears from the server that a connection ended, and not that the
    // agent is back.
    link.stall();
    let accepted = agent.link.accepted();
    agent.link.cut();
    agent.link.heal();
    wait::until("the agent to be back", LONG, async || {
        if agent.link.accepted() > accepted { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let quiet = async |what: &str, span: u64| {
        wait::holds(what, Duration::from_secs(span), async || {
            let words = org.words(&id).await;
            if words == ["created", "started"] { Ok(()) } else { Err(format!("{words:?}")) }
        })
        .await;
    };
    quiet("a deaf controller to do nothing", 8).await;
    link.cut();
    link.heal();
    clock.kill();
    org.until_taken_back(&other).await;
    quiet("one that hears again to know who lives", 1).await;
    org.ran_once(&id).await;
}

#[tokio::test]
async fn two_controllers_release_once() {
    let org = Org::start().await;
    let _one = org.serve("one.db", org.server.port()).await;
    let _two = org.serve("two.db", org.server.port()).await;
    let dying = org.agent("cto");
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(org.running("cto").await);
    }
    let _heir = org.agent("cto");
    org.until_heard("cto").await;
    dying.kill();
    for id in &ids {
        org.until(id, &["created", "started", "released", "started"]).await;
    }
    org.go.send_replace(true);
    for id in &ids {
        org.until(id, &["created", "started", "released", "started", "completed"]).await;
    }
}
