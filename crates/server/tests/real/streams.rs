//! A stream that somebody deletes under a running backbone is made again, and work flows on.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime};
use sinew_bus::Topology;
use sinew_model::{
    Role, TaskId, Transition,
    stream::{AGENT_TASKS, TASK_LOG},
    task::End,
};
use sinew_server::{
    Settings,
    control::{streams, sweep},
    serve,
};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);

/// A backbone that runs: controllers in haste, and an agent of the role `qa`.
struct Running {
    server: NatsServer,
    dir: TempDir,
    bus: Bus,
    ceo: Client,
    shutdown: CancellationToken,
    parts: JoinSet<()>,
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

async fn echo(task: Context) -> Result<Value, Failure> {
    Ok(task.input().clone())
}

impl Running {
    async fn start() -> Self {
        let server = NatsServer::start();
        let bus = connect(&server).await;
        let ceo = Client::new(bus.clone(), role("ceo"));
        let dir = TempDir::new("streams");
        let (shutdown, parts) = (CancellationToken::new(), JoinSet::new());
        let mut it = Self { server, dir, bus, ceo, shutdown, parts };
        let bus = connect(&it.server).await;
        let mut settings = Settings::new(Topology::standard(&bus), it.dir.join("views.db"));
        let every = Duration::from_millis(200);
        settings.pace = sweep::Pace { every, grace: Duration::from_millis(300) };
        settings.streams = streams::Pace { every, astray: every };
        let token = it.shutdown.clone();
        it.parts.spawn(async move { serve(bus, settings, token).await.unwrap() });
        it.work("qa").await;
        it.delegate("qa", 0).await.ends().await;
        it
    }

    async fn work(&mut self, of: &str) {
        let runtime =
            Runtime::new(connect(&self.server).await, sinew_agent::Settings::new(role(of)));
        let token = self.shutdown.clone();
        self.parts.spawn(async move {
            runtime.run(echo, token).await.unwrap();
        });
    }

    async fn delegate(&self, to: &str, number: u64) -> Delegated<'_> {
        let what = Delegation::new(role(to), format!("Task {number}")).input(number);
        let id = self.ceo.delegate(what).await.unwrap().id;
        Delegated { of: self, id, number }
    }

    /// Deletes a stream, and waits until it is there again.
    async fn lose(&self, stream: &str) {
        let created = async || -> Option<String> {
            let call = format!("STREAM.INFO.{stream}");
            let info = self.bus.api::<Value>(&call, &Value::Null).await.ok()?;
            Some(info.get("created")?.as_str()?.to_owned())
        };
        let before = created().await;
        let call = format!("STREAM.DELETE.{stream}");
        let _: Value = self.bus.api(&call, &Value::Null).await.unwrap();
        wait::until("the stream to be there again", LONG, async || match created().await {
            Some(now) if before.as_ref() != Some(&now) => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.parts.join_next().await {
            ended.unwrap();
        }
    }
}

struct Delegated<'a> {
    of: &'a Running,
    id: TaskId,
    number: u64,
}

impl Delegated<'_> {
    /// Waits for its end, which must be the right one and the only one.
    async fn ends(&self) {
        wait::until(&format!("task {} to end", self.number), LONG, async || {
            let state = self.of.ceo.state(&self.id).await.map_err(|error| error.to_string())?;
            match state.as_ref().and_then(|state| state.end()) {
                Some(end) if *end == End::completed(json!(self.number)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let entries = self.of.bus.history(&self.id).await.unwrap().entries;
        let count = |which| {
            entries.iter().filter(|it| it.stored.entry.change.transition() == which).count()
        };
        assert_eq!((count(Transition::Started), count(Transition::Completed)), (1, 1));
    }
}

/// Ten tasks lie on a queue that nobody works on while the stream goes.
async fn work_flows_after_losing(stream: &str) {
    let mut it = Running::start().await;
    let mut waiting = Vec::new();
    for number in 1..=10 {
        waiting.push(it.delegate("cto", number).await.id);
    }
    it.lose(stream).await;
    // The agent that ran all the time goes on, and so does delegation.
    it.delegate("qa", 11).await.ends().await;
    it.work("cto").await;
    for (id, number) in waiting.into_iter().zip(1..) {
        Delegated { of: &it, id, number }.ends().await;
    }
    wait::until("the queue to be empty", LONG, async || {
        match it.bus.stream_state(AGENT_TASKS).await.unwrap().messages {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        }
    })
    .await;
    it.stop().await;
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_made_again_and_filled_from_the_log() {
    work_flows_after_losing(AGENT_TASKS).await;
}

#[tokio::test]
async fn a_log_that_was_deleted_is_made_again_and_begun_anew_from_the_queue() {
    work_flows_after_losing(TASK_LOG).await;
}

#[tokio::test]
async fn a_delegation_into_a_queue_that_is_gone_is_refused_or_comes_in_once() {
    let it = Running::start().await;
    let call = format!("STREAM.DELETE.{AGENT_TASKS}");
    let _: Value = it.bus.api(&call, &Value::Null).await.unwrap();
    for number in 1..=5 {
        let id: TaskId = format!("G{number}").parse().unwrap();
        let what = Delegation::new(role("qa"), "Into nothing").input(number).id(id.clone());
        match it.ceo.delegate(what).await {
            Ok(_) => Delegated { of: &it, id, number }.ends().await,
            Err(error) => {
                assert!(it.ceo.state(&id).await.unwrap().is_none(), "{error} left something");
            }
        }
    }
    it.stop().await;
}
