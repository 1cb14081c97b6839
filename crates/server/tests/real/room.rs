//! A full queue loses nothing that comes back to it: an answered, a revived and a delayed task are
//! tried again until there is room, and run once.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_agent::{
    Ask, Bus, CancellationToken, Client, Config, Context, Delegation, Failure, Runtime,
};
use sinew_bus::Topology;
use sinew_model::{
    Role, TaskId, Transition,
    retry::Backoff,
    stream::AGENT_TASKS,
    task::{End, Phase},
};
use sinew_server::{Settings, control::sweep::Pace, serve};
use sinew_testkit::{NatsServer, TempDir, wait};
use tokio::task::JoinSet;

const LONG: Duration = Duration::from_secs(60);

/// Time between two rounds of the sweep.
const EVERY: Duration = Duration::from_millis(100);

fn role(text: &str) -> Role {
    text.parse().unwrap()
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

async fn phase(ceo: &Client, id: &TaskId) -> Phase {
    ceo.state(id).await.unwrap().unwrap().phase
}

async fn until(ceo: &Client, id: &TaskId, what: &str, suits: impl Fn(&Phase) -> bool) {
    wait::until(what, LONG, async || {
        let phase = phase(ceo, id).await;
        if suits(&phase) { Ok(()) } else { Err(format!("{phase:?}")) }
    })
    .await;
}

/// How often each transition is in the log of a task.
async fn count(bus: &Bus, id: &TaskId, which: Transition) -> usize {
    let entries = bus.history(id).await.unwrap().entries;
    entries.iter().filter(|it| it.stored.entry.change.transition() == which).count()
}

/// What the agent does, by what it is given and which attempt it is.
async fn work(task: Context) -> Result<Value, Failure> {
    match task.input().as_str() {
        Some("asks") => task.ask(Ask::new("Which one?")),
        Some("dies" | "fails") if task.attempt() == 1 => Err(Failure::retry("not today")),
        _ => Ok(json!("done")),
    }
}

/// The controllers in haste and an agent of the role `cto`, on queues that hold two.
async fn start(server: &NatsServer, dir: &TempDir, shutdown: &CancellationToken) -> JoinSet<()> {
    let bus = connect(server).await;
    let topology = Topology::overlaid(&bus, "[streams.AGENT_TASKS]\nmax_msgs = 2").unwrap();
    for spec in &topology.catalogue().streams {
        topology.ensure_stream(&bus, spec.name).await.unwrap();
    }
    let mut controllers = Settings::new(topology.clone(), dir.join("views.db"));
    controllers.pace = Pace { every: EVERY, grace: Duration::from_millis(300) };
    let mut agent = sinew_agent::Settings::new(role("cto"));
    agent.topology = Some(topology);
    // Later than a nak may delay it: the next attempt comes from a schedule.
    let later = Duration::from_secs(7);
    agent.backoff = Backoff { first: later, longest: later };
    let runtime = Runtime::new(connect(server).await, agent);
    let mut parts = JoinSet::new();
    let token = shutdown.clone();
    parts.spawn(async move { serve(bus, controllers, token).await.unwrap() });
    let token = shutdown.clone();
    parts.spawn(async move {
        runtime.run(work, token).await.unwrap();
    });
    parts
}

#[tokio::test]
async fn what_comes_back_to_a_full_queue_waits_for_room_and_runs_once() {
    let (server, dir) = (NatsServer::start(), TempDir::new("room"));
    let (bus, shutdown) = (connect(&server).await, CancellationToken::new());
    let mut parts = start(&server, &dir, &shutdown).await;
    let ceo = Client::new(bus.clone(), role("ceo"));
    let delegate = async |to: &str, what: &str| {
        let attempts = if what == "dies" { 1 } else { 3 };
        let what = Delegation::new(role(to), what).input(what).max_attempts(attempts);
        ceo.delegate_when_room(what, LONG).await.unwrap().id
    };
    let fails = delegate("cto", "fails").await;
    until(&ceo, &fails, "the failed one to be on a schedule", |phase| {
        matches!(phase, Phase::Queued { not_before: Some(_), .. })
    })
    .await;
    let (asks, dies) = (delegate("cto", "asks").await, delegate("cto", "dies").await);
    until(&ceo, &asks, "the question", |phase| matches!(phase, Phase::Blocked { .. })).await;
    until(&ceo, &dies, "the end", |phase| matches!(phase, Phase::Ended { .. })).await;
    // Nobody works for this role: the queue is full until somebody empties it.
    delegate("qa", "One").await;
    delegate("qa", "Two").await;
    assert_eq!(bus.stream_state(AGENT_TASKS).await.unwrap().messages, 2);

    let refused = ceo.answer(&asks, None, json!("this one")).await;
    assert!(refused.is_err(), "there is no room to go on: {refused:?}");
    assert!(ceo.retry(&dies).await.is_err());
    for id in [&asks, &dies] {
        assert!(
            matches!(phase(&ceo, id).await, Phase::Ready { .. }),
            "{:?}",
            phase(&ceo, id).await
        );
    }
    wait::until("the schedule to fire", LONG, async || {
        let due = bus.depth("TASK_SCHEDULES", "genbrain.due.>").await.unwrap();
        if due.values().sum::<u64>() == 1 { Ok(()) } else { Err(format!("{due:?}")) }
    })
    .await;
    // Rounds of the sweep in which it finds no room.
    wait::holds("they wait", EVERY * 10, async || {
        for id in [&asks, &dies] {
            let phase = phase(&ceo, id).await;
            if !matches!(phase, Phase::Ready { .. }) {
                return Err(format!("{phase:?}"));
            }
        }
        Ok(())
    })
    .await;

    let call = format!("STREAM.PURGE.{AGENT_TASKS}");
    let filter = json!({ "filter": "genbrain.agents.qa.tasks" });
    let _: Value = bus.api(&call, &filter).await.unwrap();
    for (id, result) in
        [(&asks, json!("this one")), (&dies, json!("done")), (&fails, json!("done"))]
    {
        let outcome = ceo.outcome(id).await.unwrap();
        assert_eq!(outcome.end, End::completed(result));
        assert_eq!(count(&bus, id, Transition::Started).await, 2, "once before, and once after");
    }
    shutdown.cancel();
    while let Some(ended) = parts.join_next().await {
        ended.unwrap();
    }
}
