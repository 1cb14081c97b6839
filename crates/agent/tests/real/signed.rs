//! Tasks whose sender is known: a whole life under signatures, and what no runtime takes.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sinew_agent::{
    Auth, Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime, Tally,
};
use sinew_bus::{Outgoing, RawMessage, Signing};
use sinew_model::{
    Band, TaskId, header,
    signature::{Policy, Trust, Verdict},
    stream::{AGENT_TASKS, ORG_EVIDENCE},
    task::End,
};
use sinew_testkit::{NatsServer, TempDir, keys::Account, wait};
use tokio::task::JoinHandle;

use super::kit::{Backbone, PATIENCE, role, task};

struct World {
    backbone: Backbone,
    account: Account,
    folder: TempDir,
}

/// A runtime, and who delegated what it worked on.
struct Worker {
    delegators: Arc<Mutex<Vec<Option<String>>>>,
    stop: CancellationToken,
    running: JoinHandle<Tally>,
}

impl World {
    async fn new() -> Self {
        // Short, so that a copy under the same id is stored.
        let overlay = "streams.AGENT_TASKS.duplicate_window = \"100ms\"";
        let backbone = Backbone::with(NatsServer::start(), overlay).await;
        Self { backbone, account: Account::new(), folder: TempDir::new("signed") }
    }

    async fn bus(&self, user: Option<&str>, policy: Policy) -> Bus {
        let mut config = Config::new(self.backbone.server.url(), "acme".parse().unwrap());
        let trust = Trust { issuers: [self.account.key()].into(), ..Trust::default() };
        config.signing = Signing { policy, trust, ..Signing::default() };
        if let Some(name) = user {
            let creds = self.account.user(name).save(self.folder.path());
            config.auth = Auth::Credentials(creds);
        }
        Bus::connect(config).await.unwrap()
    }

    async fn client(&self, user: &str, speaks_for: &str) -> Client {
        Client::new(self.bus(Some(user), Policy::Require).await, role(speaks_for))
    }

    /// An agent of the role cto that fails the first attempt of each task named `twice`.
    async fn work(&self, policy: Policy) -> Worker {
        let bus = self.bus(Some("agent-cto"), policy).await;
        let (stop, delegators) = (CancellationToken::new(), Arc::<Mutex<Vec<_>>>::default());
        let seen = Arc::clone(&delegators);
        let handler = move |task: Context| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(task.delegated_by().map(ToString::to_string));
                if task.input() == "twice" && task.attempt() == 1 {
                    return Err(Failure::retry("once more"));
                }
                Ok::<Value, Failure>(json!("done"))
            }
        };
        let runtime = Runtime::new(bus, self.backbone.settings("cto"));
        let token = stop.clone();
        let running = tokio::spawn(async move { runtime.run(handler, token).await.unwrap() });
        Worker { delegators, stop, running }
    }
}

impl Worker {
    async fn until_worked(&self, count: usize) -> Vec<Option<String>> {
        let seen = || self.delegators.lock().unwrap().clone();
        wait::until("attempts", PATIENCE, async || match seen().len() {
            enough if enough >= count => Ok(()),
            few => Err(format!("{few} of {count}")),
        })
        .await;
        seen()
    }

    async fn stop(self) -> Tally {
        self.stop.cancel();
        self.running.await.unwrap()
    }
}

async fn ended(client: &Client, id: &TaskId) {
    wait::until("the end", PATIENCE, async || {
        let state = client.state(id).await.unwrap();
        match state.as_ref().and_then(|state| state.end()) {
            Some(End::Completed { .. }) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The newest assignment in the queue, before anybody takes it.
async fn queued(bus: &Bus) -> RawMessage {
    let subject = bus.subjects().tasks(&role("cto"), Band::Normal);
    bus.last(AGENT_TASKS, subject.as_str()).await.unwrap().unwrap()
}

/// Stores the same message again, byte for byte, as somebody with a bare client does.
async fn copy(bus: &Bus, message: &RawMessage, change: impl Fn(String) -> String) {
    let body = change(String::from_utf8(message.payload.to_vec()).unwrap());
    let subject = bus.subjects().tasks(&role("cto"), Band::Normal);
    let header = |name: &str| message.header(name).unwrap().to_owned();
    let id = header(header::MSG_ID);
    let out = Outgoing::new(AGENT_TASKS, subject, body)
        .id(id)
        .header(header::EPOCH, header(header::EPOCH))
        .header(header::SIGNATURE, header(header::SIGNATURE));
    let stored = wait::until("a copy is stored", PATIENCE, async || {
        let accepted = bus.publish(out.clone()).await.unwrap();
        if accepted.duplicate { Err("the id is still remembered".to_owned()) } else { Ok(accepted) }
    });
    assert!(!stored.await.duplicate);
}

#[tokio::test]
async fn a_whole_life_is_signed_and_its_delegator_known_in_every_attempt() {
    let world = World::new().await;
    let worker = world.work(Policy::Require).await;
    let ceo = world.client("agent-ceo", "ceo").await;
    let twice = Delegation::new(role("cto"), "Twice").input(json!("twice"));
    let id = ceo.delegate(twice).await.unwrap().id;
    ended(&ceo, &id).await;
    let ceo_each = vec![Some("agent-ceo".to_owned()); 2];
    assert_eq!(worker.until_worked(2).await, ceo_each, "the second epoch is sent by the worker");
    let history = ceo.bus().history(&id).await.unwrap();
    assert!(history.entries.iter().all(|logged| logged.verdict.sender().is_some()));
    let at = sinew_bus::clock::now().plus(std::time::Duration::from_millis(300));
    let later = Delegation::new(role("cto"), "Later").not_before(at);
    let id = ceo.delegate(later).await.unwrap().id;
    ended(&ceo, &id).await;
    let operator = world.client("operator", "ceo").await;
    let id = operator.delegate(Delegation::new(role("cto"), "By hand")).await.unwrap().id;
    ended(&ceo, &id).await;
    let all = worker.until_worked(4).await;
    assert_eq!(all[2..], [Some("agent-ceo".to_owned()), Some("operator".to_owned())]);
    let tally = worker.stop().await;
    assert_eq!((tally.refused.total(), tally.started), (0, 4));
}

#[tokio::test]
async fn what_is_not_from_who_it_says_is_refused_counted_and_kept() {
    let world = World::new().await;
    let ceo = world.client("agent-ceo", "ceo").await;
    let bare = world.bus(None, Policy::AcceptUnsigned).await;
    let good = Delegation::new(role("cto"), "Good").id(task("T1"));
    ceo.delegate(good).await.unwrap();
    let genuine = queued(&bare).await;
    let id = genuine.seq;
    copy(&bare, &genuine, |body| body.replace("Good", "Evil").replace("\"T1\"", "\"T2\"")).await;
    copy(&bare, &genuine, |body| body).await;
    // Another agent says that the ceo has delegated this.
    let marketing = world.client("agent-marketing", "ceo").await;
    marketing.delegate(Delegation::new(role("cto"), "Claimed").id(task("T3"))).await.unwrap();
    Client::new(bare.clone(), role("ceo"))
        .delegate(Delegation::new(role("cto"), "Unsigned").id(task("T4")))
        .await
        .unwrap();
    let worker = world.work(Policy::Require).await;
    ended(&ceo, &task("T1")).await;
    world.backbone.until_queue_is_empty().await;
    assert_eq!(worker.until_worked(1).await, [Some("agent-ceo".to_owned())]);
    let refused = worker.stop().await.refused;
    assert_eq!((refused.forged, refused.replayed, refused.unsigned), (2, 1, 1), "{refused:?}");
    for (id, there) in [("T1", true), ("T2", false), ("T3", false), ("T4", false)] {
        let state = ceo.state(&task(id)).await.unwrap();
        assert_eq!(state.is_some(), there, "{id}");
    }
    let filter = bare.subjects().all_evidence().to_string();
    let kept = world.backbone.stored(ORG_EVIDENCE, &filter).await;
    let kept: Vec<Value> =
        kept.iter().map(|record| serde_json::from_slice(&record.payload).unwrap()).collect();
    let of_queue: Vec<_> = kept.iter().filter(|it| it["stream"] == AGENT_TASKS).collect();
    assert_eq!(of_queue.len(), 4, "{kept:?}");
    assert!(of_queue.iter().all(|it| it["seq"].as_u64() > Some(id) && it["claimed"] == "ceo"));
}

#[tokio::test]
async fn an_unsigned_task_is_worked_on_where_that_is_allowed_and_its_delegator_is_not_known() {
    let world = World::new().await;
    let worker = world.work(Policy::AcceptUnsigned).await;
    let bare = world.bus(None, Policy::AcceptUnsigned).await;
    let client = Client::new(bare.clone(), role("ceo"));
    let id = client.delegate(Delegation::new(role("cto"), "Plain")).await.unwrap().id;
    ended(&client, &id).await;
    assert_eq!(worker.until_worked(1).await, [None]);
    let entries = bare.history(&id).await.unwrap().entries;
    assert_eq!(entries[0].verdict, Verdict::Unsigned);
    assert!(entries.last().unwrap().verdict.sender().is_some(), "the worker signs all the same");
    assert_eq!(worker.stop().await.refused.total(), 0);
}
