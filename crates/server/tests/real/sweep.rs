//! Whatever is taken from under a task, it ends: the sweep against a real server, with queues
//! emptied, schedules dropped and workers gone.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};
use sinew_agent::{
    Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime, Settings as Work,
};
use sinew_bus::{Topology, clock};
use sinew_model::{
    Role, TaskId,
    stream::{AGENT_MAIL, AGENT_TASKS, TASK_SCHEDULES},
    task::{DeadCause, End},
};
use sinew_server::{Settings, control::sweep::Pace, serve};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(60);

struct Org {
    server: NatsServer,
    bus: Bus,
    dir: TempDir,
}

struct Serving {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Org {
    async fn start() -> Self {
        let server = NatsServer::start();
        let bus = connect(&server).await;
        let org = Self { server, bus, dir: TempDir::new("sweep") };
        let topology = Topology::standard(&org.bus);
        for spec in &topology.catalogue().streams {
            topology.ensure_stream(&org.bus, spec.name).await.unwrap();
        }
        org
    }

    fn client(&self) -> Client {
        Client::new(self.bus.clone(), role("ceo"))
    }

    /// The controllers, in haste.
    async fn serve(&self, views: &str) -> Serving {
        let bus = connect(&self.server).await;
        let mut settings = Settings::new(Topology::standard(&bus), self.dir.join(views));
        let grace = Duration::from_millis(300);
        settings.pace = Pace { every: Duration::from_millis(100), grace };
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { serve(bus, settings, token).await.unwrap() });
        Serving { shutdown, task }
    }

    async fn work<F, R>(&self, handler: F) -> (CancellationToken, JoinHandle<()>)
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Failure>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let mut settings = Work::new(role("cto"));
        settings.drain = Duration::from_millis(100);
        let runtime = Runtime::new(connect(&self.server).await, settings);
        let token = shutdown.clone();
        let task = tokio::spawn(async move {
            runtime.run(handler, token).await.unwrap();
        });
        (shutdown, task)
    }

    async fn purge(&self, stream: &str) {
        let call = format!("STREAM.PURGE.{stream}");
        let _: Value = self.bus.api(&call, &Value::Null).await.unwrap();
    }

    async fn words(&self, id: &TaskId) -> Vec<String> {
        let history = self.bus.history(id).await.unwrap();
        assert_eq!(history.task.voids, 0);
        let word =
            |logged: &sinew_bus::Logged| logged.stored.entry.change.transition().word().to_owned();
        history.entries.iter().map(word).collect()
    }

    async fn until(&self, id: &TaskId, word: &str) {
        wait::until(&format!("{id} to be {word}"), LONG, async || {
            let words = self.words(id).await;
            if words.iter().any(|it| it == word) { Ok(()) } else { Err(format!("{words:?}")) }
        })
        .await;
    }
}

impl Serving {
    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

fn ends(words: &[String]) -> usize {
    let is_end =
        |word: &&String| ["completed", "failed", "cancelled", "dead"].contains(&word.as_str());
    words.iter().filter(is_end).count()
}

#[tokio::test]
async fn a_queue_that_was_emptied_by_hand_is_filled_again_and_every_task_ends_once() {
    let org = Org::start().await;
    let ceo = org.client();
    let mut ids = Vec::new();
    for number in 0..40 {
        let what = Delegation::new(role("cto"), format!("Task {number}")).input(number);
        ids.push(ceo.delegate(what).await.unwrap().id);
    }
    org.purge(AGENT_TASKS).await;
    // Two at once, each with a view of its own, must not do more than one.
    let (one, two) = (org.serve("one.db").await, org.serve("two.db").await);
    wait::until("the queue to be filled again", LONG, async || {
        let held = org.bus.stream_state(AGENT_TASKS).await.unwrap().messages;
        if held >= 40 { Ok(()) } else { Err(format!("{held} messages")) }
    })
    .await;
    let (shutdown, worker) =
        org.work(|task: Context| async move { Ok(task.input().clone()) }).await;
    for (number, id) in ids.iter().enumerate() {
        let outcome = ceo.outcome(id).await.unwrap();
        assert_eq!(outcome.end, End::completed(json!(number)));
        let words = org.words(id).await;
        assert_eq!(ends(&words), 1, "{words:?}");
        assert!(words.iter().any(|word| word == "enqueued"), "{words:?}");
    }
    shutdown.cancel();
    worker.await.unwrap();
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_task_of_a_queue_that_was_deleted_is_not_taken_for_another_of_the_same_sequence() {
    let org = Org::start().await;
    let ceo = org.client();
    let id = ceo.delegate(Delegation::new(role("cto"), "First of the old queue")).await.unwrap().id;
    let call = format!("STREAM.DELETE.{AGENT_TASKS}");
    let _: Value = org.bus.api(&call, &Value::Null).await.unwrap();
    Topology::standard(&org.bus).ensure_stream(&org.bus, AGENT_TASKS).await.unwrap();
    // Nobody works for this role, so its message stays where the first one was.
    ceo.delegate(Delegation::new(role("qa"), "First of the new one")).await.unwrap();
    let serving = org.serve("views.db").await;
    org.until(&id, "enqueued").await;
    let (shutdown, worker) = org.work(|_| async { Ok(json!("done")) }).await;
    assert_eq!(ceo.outcome(&id).await.unwrap().end, End::completed(json!("done")));
    shutdown.cancel();
    worker.await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn a_service_stops_while_its_server_is_away_in_mid_round() {
    let org = Org::start().await;
    let ceo = org.client();
    for number in 0..200 {
        ceo.delegate(Delegation::new(role("cto"), format!("Task {number}"))).await.unwrap();
    }
    let serving = org.serve("views.db").await;
    // A purge that the sweep notices shows that it goes round.
    let clock = ceo.delegate(Delegation::new(role("qa"), "Clock")).await.unwrap().id;
    org.purge(AGENT_TASKS).await;
    org.until(&clock, "enqueued").await;
    org.server.kill();
    // Each look of the next round waits for the server.
    wait::holds("the service to go on", Duration::from_secs(2), async || {
        if serving.task.is_finished() { Err("it has ended".to_owned()) } else { Ok(()) }
    })
    .await;
    tokio::time::timeout(Duration::from_secs(20), serving.stop()).await.unwrap();
}

#[tokio::test]
async fn an_attempt_without_message_is_left_alone_while_its_worker_lives() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db").await;
    let release = CancellationToken::new();
    let token = release.clone();
    let (shutdown, worker) = org
        .work(move |_| {
            let token = token.clone();
            async move {
                token.cancelled().await;
                Ok(json!("alive"))
            }
        })
        .await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Long")).await.unwrap().id;
    org.until(&id, "started").await;
    org.purge(AGENT_TASKS).await;
    // The sweep has to look at it more than once before this shows anything: a second task that
    // is lost as well, and is found, is its clock.
    let clock = ceo.delegate(Delegation::new(role("qa"), "Clock")).await.unwrap().id;
    org.purge(AGENT_TASKS).await;
    org.until(&clock, "enqueued").await;
    release.cancel();
    assert_eq!(ceo.outcome(&id).await.unwrap().end, End::completed(json!("alive")));
    assert_eq!(org.words(&id).await, ["created", "started", "completed"]);
    shutdown.cancel();
    worker.await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn an_attempt_without_message_and_without_worker_is_released_and_repeated() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db").await;
    let (_shutdown, worker) = org.work(|_| std::future::pending()).await;
    let id = ceo.delegate(Delegation::new(role("cto"), "Orphan")).await.unwrap().id;
    org.until(&id, "started").await;
    worker.abort();
    assert!(worker.await.unwrap_err().is_cancelled());
    org.purge(AGENT_TASKS).await;
    let (shutdown, worker) = org.work(|_| async { Ok(json!("again")) }).await;
    let outcome = ceo.outcome(&id).await.unwrap();
    assert_eq!((outcome.end, outcome.attempts), (End::completed(json!("again")), 2));
    let expected = ["created", "started", "released", "enqueued", "started", "completed"];
    assert_eq!(org.words(&id).await, expected);
    shutdown.cancel();
    worker.await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn a_schedule_that_was_dropped_is_made_again_and_still_fires() {
    let org = Org::start().await;
    let ceo = org.client();
    let at = clock::now().plus(Duration::from_secs(4));
    let what = Delegation::new(role("cto"), "Later").not_before(at);
    let id = ceo.delegate(what).await.unwrap().id;
    org.purge(TASK_SCHEDULES).await;
    let serving = org.serve("views.db").await;
    org.until(&id, "enqueued").await;
    let (shutdown, worker) = org.work(|_| async { Ok(json!("late")) }).await;
    assert_eq!(ceo.outcome(&id).await.unwrap().end, End::completed(json!("late")));
    let history = org.bus.history(&id).await.unwrap();
    let started = history
        .entries
        .iter()
        .find(|logged| logged.stored.entry.change.transition() == sinew_model::Transition::Started);
    assert!(started.unwrap().stored.entry.at.plus(Duration::from_millis(100)) >= at);
    shutdown.cancel();
    worker.await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn a_task_past_its_deadline_is_dead_whether_it_waits_or_runs_and_its_delegator_is_told() {
    let org = Org::start().await;
    let ceo = org.client();
    let serving = org.serve("views.db").await;
    let stopped = CancellationToken::new();
    let token = stopped.clone();
    let (shutdown, worker) = org
        .work(move |task: Context| {
            let token = token.clone();
            async move {
                task.stopped().await;
                token.cancel();
                Err(Failure::retry("stopped"))
            }
        })
        .await;
    let due = || clock::now().plus(Duration::from_secs(2));
    let runs = ceo.delegate(Delegation::new(role("cto"), "Runs").deadline(due())).await.unwrap().id;
    let waits =
        ceo.delegate(Delegation::new(role("qa"), "Waits").deadline(due())).await.unwrap().id;
    for id in [&runs, &waits] {
        let end = ceo.outcome(id).await.unwrap().end;
        let cause = match end {
            End::Dead { cause, .. } => Some(cause),
            End::Completed { .. } | End::Failed { .. } | End::Cancelled { .. } => None,
        };
        assert_eq!(cause, Some(DeadCause::DeadlinePassed));
    }
    stopped.cancelled().await;
    wait::until("both ends to be reported", LONG, async || {
        let held = org.bus.stream_state(AGENT_MAIL).await.unwrap().messages;
        if held == 2 { Ok(()) } else { Err(format!("{held} messages")) }
    })
    .await;
    shutdown.cancel();
    worker.await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn a_view_that_can_not_be_opened_is_an_error_that_names_it() {
    let org = Org::start().await;
    let below_a_file = org.dir.join("file");
    std::fs::write(&below_a_file, "").unwrap();
    let path = Path::new(&below_a_file).join("views.db");
    let settings = Settings::new(Topology::standard(&org.bus), path);
    let fault = serve(org.bus.clone(), settings, CancellationToken::new()).await.unwrap_err();
    assert!(fault.to_string().contains("views"), "{fault}");
}
