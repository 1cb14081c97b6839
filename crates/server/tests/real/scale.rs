//! The scaler on the real server: it sees queues without consumers, one of several leads, another
//! one takes over, and one that stood still is fenced off.

use std::{sync::Arc, time::Duration};

use sinew_agent::{Bus, CancellationToken, Client, Config, Context, Runtime, Settings as Work};
use sinew_bus::{Outgoing, PublishError, Topology, clock, ensure::Consent};
use sinew_model::{
    Role,
    lease::LeaseName,
    scale::{RoleSignal, Signal},
    stream::{AGENT_TASKS, SYSTEM, work_consumer_name},
    team::Team,
};
use sinew_server::control::{presence::Presence, scale::Scaler};
use sinew_testkit::{NatsServer, wait};
use tokio::{sync::watch, task::JoinHandle};

const LONG: Duration = Duration::from_secs(60);

async fn org() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = connect(&server).await;
    let topology = Topology::standard(&bus);
    let plan = topology.plan(&bus).await.unwrap();
    topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
    (server, bus)
}

async fn connect(server: &NatsServer) -> Bus {
    Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap()
}

fn role(name: &str) -> Role {
    name.parse().unwrap()
}

struct Running {
    team: watch::Sender<Arc<Team>>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// A scaler for some roles, which cool down at once.
async fn scaler(server: &NatsServer, me: &str, roles: &[&str]) -> Running {
    let member = serde_json::json!({ "max": 40, "concurrency": 5, "cooldown": "0s" });
    let roles: serde_json::Map<_, _> =
        roles.iter().map(|role| ((*role).to_owned(), member.clone())).collect();
    let team: Team = serde_json::from_value(serde_json::json!({ "roles": roles })).unwrap();
    let team = watch::Sender::new(Arc::new(team));
    let bus = connect(server).await;
    let presence = Presence::default();
    let scaler =
        Scaler::new(bus.clone(), me.to_owned(), team.subscribe(), (presence.clone(), None));
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    let task = tokio::spawn(async move {
        tokio::join!(presence.listen(bus, token.clone()), scaler.run(token));
    });
    Running { team, shutdown, task }
}

async fn signal(bus: &Bus) -> Option<Signal> {
    let last = bus.last(SYSTEM, bus.subjects().system_scaling().as_str()).await.unwrap();
    last.map(|last| serde_json::from_slice(&last.payload).unwrap())
}

async fn until(bus: &Bus, what: &str, holds: impl Fn(&Signal) -> bool) -> Signal {
    wait::until(what, LONG, || async {
        match signal(bus).await {
            Some(signal) if holds(&signal) => Ok(signal),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

fn of<'a>(signal: &'a Signal, name: &str) -> &'a RoleSignal {
    signal.roles.iter().find(|it| it.role == role(name)).unwrap()
}

async fn delegate(bus: &Bus, to: &str, tasks: usize) {
    let client = Client::new(bus.clone(), role("ceo"));
    let all = (0..tasks).map(|number| {
        client.delegate(sinew_agent::Delegation::new(role(to), format!("Task {number}")))
    });
    for delegated in futures::future::join_all(all).await {
        delegated.unwrap();
    }
}

async fn consumers(bus: &Bus) -> u64 {
    let info: serde_json::Value =
        bus.api(&format!("STREAM.INFO.{AGENT_TASKS}"), &serde_json::Value::Null).await.unwrap();
    info.pointer("/state/consumer_count").and_then(serde_json::Value::as_u64).unwrap()
}

#[tokio::test]
async fn the_queues_of_sleeping_roles_are_seen_without_a_consumer() {
    let (server, bus) = org().await;
    let roles: Vec<String> = (0..20).map(|number| format!("role-{number}")).collect();
    let names: Vec<&str> = roles.iter().map(String::as_str).collect();
    let running = scaler(&server, "a", &names).await;
    until(&bus, "a signal", |signal| signal.roles.len() == 20).await;
    for name in &names {
        delegate(&bus, name, 7).await;
    }
    let wakes = |signal: &Signal| signal.roles.iter().all(|it| it.replicas == 2);
    let signal = until(&bus, "two for each", wakes).await;
    assert!(signal.roles.iter().all(|it| it.backlog == 7 && it.running == 0), "{signal:?}");
    assert_eq!(consumers(&bus).await, 0);
    running.shutdown.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn a_role_that_has_done_its_work_sleeps_without_a_consumer() {
    let (server, bus) = org().await;
    let running = scaler(&server, "a", &["cto"]).await;
    delegate(&bus, "cto", 3).await;
    let mut settings = Work::new(role("cto"));
    settings.instance = Some("cto-0".parse().unwrap());
    let stop = CancellationToken::new();
    let runtime = Runtime::new(connect(&server).await, settings);
    let (token, handler) =
        (stop.clone(), |task: Context| async move { Ok(task.assignment().title.clone().into()) });
    let work = tokio::spawn(async move { runtime.run(handler, token).await.unwrap() });
    let done = |signal: &Signal| {
        let it = of(signal, "cto");
        (it.replicas, it.running, it.backlog) == (0, 1, 0)
    };
    until(&bus, "it to be needed no more", done).await;
    let name = work_consumer_name(&role("cto"), sinew_model::Band::Normal);
    assert!(!bus.retire_consumer(AGENT_TASKS, &name).await.unwrap(), "it is pulled from");
    assert_eq!(consumers(&bus).await, 1);
    stop.cancel();
    work.await.unwrap();
    wait::until("no consumer", LONG, || async {
        match consumers(&bus).await {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
    running.shutdown.cancel();
    running.task.await.unwrap();
}

#[tokio::test]
async fn of_two_scalers_one_acts_and_the_other_takes_over_when_it_is_killed() {
    let (server, bus) = org().await;
    let first = scaler(&server, "a", &["cto"]).await;
    until(&bus, "the first", |signal| signal.by == "a").await;
    let second = scaler(&server, "b", &["cto"]).await;
    delegate(&bus, "cto", 12).await;
    let raised = until(&bus, "three", |signal| of(signal, "cto").replicas == 3).await;
    assert_eq!((raised.by.as_str(), raised.term), ("a", 1), "one acts");

    first.task.abort();
    let taken = until(&bus, "the second", |signal| signal.by == "b").await;
    assert_eq!(taken.term, 2);
    assert_eq!(of(&taken, "cto").replicas, 3, "a change of leaders is no reason to scale");

    // What the first would still say, had it only stood still, is refused by the server.
    let (seq, _) = bus.lease(LeaseName::Scaler).await.unwrap();
    let late = |seq| {
        Outgoing::new(SYSTEM, bus.subjects().system_scaling(), "{}")
            .id(clock::unique())
            .expecting(&bus.subjects().lease(LeaseName::Scaler), seq)
    };
    let refused = bus.publish(late(seq - 1)).await;
    assert!(matches!(refused, Err(PublishError::Conflict { .. })), "{refused:?}");

    // One that ends in order is followed at once.
    let third = scaler(&server, "c", &["cto"]).await;
    second.shutdown.cancel();
    second.task.await.unwrap();
    assert_eq!(until(&bus, "the third", |signal| signal.by == "c").await.term, 3);
    third.shutdown.cancel();
    third.task.await.unwrap();
}

#[tokio::test]
async fn a_heap_of_work_raises_a_role_by_steps_and_a_new_bound_holds_at_once() {
    let (server, bus) = org().await;
    let running = scaler(&server, "a", &["cto"]).await;
    until(&bus, "a signal", |signal| signal.roles.len() == 1).await;
    delegate(&bus, "cto", 500).await;
    until(&bus, "the maximum", |signal| of(signal, "cto").replicas == 40).await;
    let mut team = Team::clone(&running.team.borrow());
    team.roles.get_mut(&role("cto")).unwrap().policy.max = 7;
    running.team.send_replace(Arc::new(team));
    until(&bus, "the new maximum", |signal| of(signal, "cto").replicas == 7).await;
    let mut scan = bus.scan(SYSTEM, bus.subjects().system_scaling().as_str(), 1).await.unwrap();
    let mut steps = Vec::new();
    while scan.pending() > 0 {
        let message = scan.next().await.unwrap();
        let signal: Signal = serde_json::from_slice(&message.payload).unwrap();
        steps.push(of(&signal, "cto").replicas);
    }
    steps.dedup();
    assert!(steps.windows(2).all(|it| it[1] <= it[0] + 10), "a step is no burst: {steps:?}");
    assert!(steps.iter().all(|it| *it <= 40), "{steps:?}");
    running.shutdown.cancel();
    running.task.await.unwrap();
}
