//! What somebody tries who has credentials, and what the operator sees of it: those who look on,
//! those who run an org, a pull that names another stream as its reply, and more than a quota.

use std::time::Duration;

use sinew_agent::{Client, Delegation};
use sinew_bus::Topology;
use sinew_model::{
    Band, TaskId,
    grant::{User, Way},
    incident::Incident,
};
use sinew_server::{Settings, account::Quota, serve};
use sinew_testkit::{TempDir, wait};
use tokio_util::sync::CancellationToken;

use crate::attack::{Town, is_refused, org, role};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// What somebody who looks on would like to send.
const OF_OBSERVERS: &[&str] = &[
    "genbrain.agents.cto.tasks",
    "genbrain.agents.cto.tasks.urgent",
    "genbrain.agents.cto.inbox",
    "genbrain.agents.cto.meetings",
    "genbrain.agents.cto.heartbeat",
    "genbrain.agents.cto.control.all",
    "genbrain.agents.broadcast",
    "genbrain.org.acme.events",
    "genbrain.org.acme.metrics",
    "genbrain.org.acme.tasks.T1.created",
    "genbrain.org.acme.tasks.T1.completed",
    "genbrain.org.acme.tasks.T1.revived",
    "genbrain.org.acme.tasks.completed",
    "genbrain.meetings.M1.messages",
    "genbrain.meetings.M1.decisions",
    "genbrain.schedules.T1",
    "genbrain.recurring.daily",
    "genbrain.due.cto.tasks",
    "$O.sinew-bodies.M.x",
    "$O.sinew-bodies.C.x",
    "$JS.ACK.AGENT_TASKS.cto-agent-consumer.1.1.1.0.0",
    "$JS.ACK.TASK_LOG.sinew-ends.1.1.1.0.0",
    "$JS.API.CONSUMER.MSG.NEXT.AGENT_TASKS.cto-agent-consumer",
    "$JS.API.CONSUMER.CREATE.AGENT_TASKS.x.genbrain.agents.cto.tasks",
    "$JS.API.CONSUMER.CREATE.AGENT_MAIL.x.genbrain.agents.cto.inbox",
    "$JS.API.STREAM.MSG.GET.AGENT_MAIL",
    "$JS.API.STREAM.MSG.GET.AGENT_TASKS",
    "$JS.API.STREAM.PURGE.OBJ_sinew-bodies",
    "$JS.API.STREAM.DELETE.TASK_LOG",
    "$JS.API.STREAM.CREATE.MINE",
];

/// What somebody who runs an org would like to send beyond it.
const OF_OPERATORS: &[&str] = &[
    "genbrain.org.other.events",
    "genbrain.org.other.tasks.T1.created",
    "genbrain.org.acme.tasks.completed",
    "genbrain.org.system.health",
    "genbrain.org.system.scaling",
    "genbrain.due.cto.tasks",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.REQ.CLAIMS.LIST",
    "$SYS.REQ.CLAIMS.DELETE",
    "$SYS.REQ.CLAIMS.PACK",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.JSZ",
    "$SYS.REQ.ACCOUNT.PING.STATZ",
    "$SYS.REQ.USER.AUTH",
    "_INBOX.server.x",
    "_INBOX.agent-cto.x",
];

#[tokio::test]
async fn nobody_goes_beyond_what_they_are_and_the_operator_sees_who_tries() {
    let town = Town::build().await;
    let mut count = 0;
    for (user, list) in [(User::Observer, OF_OBSERVERS), (User::Operator, OF_OPERATORS)] {
        let mut wire = town.wire("acme", &user);
        for subject in list {
            count += 1;
            let refused = is_refused(&mut wire, Way::Publish, subject, count);
            assert!(refused, "{user:?} {subject} went through");
        }
        for subject in ["genbrain.org.*.tasks.*", "_INBOX.>", "$SYS.>", ">"] {
            count += 1;
            let refused = is_refused(&mut wire, Way::Subscribe, subject, count);
            assert!(refused, "{user:?} hears {subject}");
        }
        // The same connection does what it may.
        assert!(!is_refused(&mut wire, Way::Subscribe, "genbrain.org.acme.tasks.*", 900));
    }
    let log = town.log();
    let seen = log.lines().filter(|line| line.contains("Violation")).count();
    assert!(seen >= count, "{count} refusals, and {seen} in the log");
    assert!(log.contains("\"genbrain.org.acme.tasks.T1.revived\""), "{log}");
    town.stop().await;
}

/// The server lets a pull name any subject as its reply, and stores what comes there, but under the
/// subject of the queue: it is no part of any task's log, so no reader ever takes it for an entry.
#[tokio::test]
async fn a_pull_into_another_stream_is_void() {
    let town = Town::build().await;
    let bus = town.bus("acme", &User::Agent(role("qa"))).await;
    let client = Client::new(bus.clone(), role("qa"));
    // Bare, as Sinew's own messages name the stream that they are for and are stored in no other.
    let queue = bus.subjects().tasks(&role("cto"), Band::Normal);
    bus.send_unanswered(&queue, "{\"bait\":true}").await.expect("sending");
    bus.flush().await.expect("flushing");
    let victim: TaskId = "T9".parse().expect("an id");
    let mut wire = town.wire("acme", &User::Agent(role("cto")));
    let pull = "$JS.API.CONSUMER.MSG.NEXT.AGENT_TASKS.cto-agent-consumer";
    let entry = bus.subjects().entry(&victim, sinew_model::Transition::Created);
    // No server rule can refuse it.
    let refused = wire.refused(&format!("PUB {pull} {entry} 0\r\n\r\n")).expect("an answer");
    assert_eq!(refused, Vec::<String>::new());
    wait::until("what the pull stored", LONG, async || {
        let state = bus.stream_state("TASK_LOG").await.map_err(|error| error.to_string())?;
        if state.messages == 1 { Ok(()) } else { Err(format!("{state:?}")) }
    })
    .await;
    let history = bus.history(&victim).await.expect("a history");
    assert_eq!((history.entries.len(), history.task.state.is_none()), (0, true));
    let stored = bus.at("TASK_LOG", 1).await.expect("a message").expect("it is there");
    assert_eq!(stored.subject, queue.as_str());
    // A task of that id can still be made, and is what it says.
    let what = Delegation::new(role("qa"), "Real").id(victim.clone());
    client.delegate(what).await.expect("delegating");
    let state = client.state(&victim).await.expect("a state").expect("a task");
    assert_eq!(state.end(), None);

    // The controllers find it, and the operator is told.
    let controllers = town.bus("acme", &User::Server).await;
    let (folder, stop) = (TempDir::new("theft"), CancellationToken::new());
    let topology = Topology::standard(&controllers);
    let mut settings = Settings::new(topology, folder.join("views.db"));
    settings.streams.astray = Duration::from_millis(200);
    let running = tokio::spawn(serve(controllers, settings, stop.clone()));
    let place = bus
        .subjects()
        .incident("astray", &format!("TASK_LOG-{}", queue.as_str().replace('.', "_")));
    let boss = town.bus("acme", &User::Operator).await;
    let told = wait::until("an incident", LONG, async || {
        let last = boss.last("ORG_EVIDENCE", place.as_str()).await.map_err(|it| it.to_string())?;
        last.ok_or_else(|| "none".to_owned())
    })
    .await;
    let told: Incident = serde_json::from_slice(&told.payload).expect("an incident");
    assert_eq!((told.kind.as_str(), told.user), ("astray", None));
    assert!(told.found.contains("1 messages of AGENT_TASKS lie in TASK_LOG"), "{}", told.found);
    stop.cancel();
    running.await.expect("no panic").expect("serving");
    town.stop().await;
}

#[tokio::test]
async fn an_org_stops_at_its_quota_and_another_goes_on() {
    let town = Town::build().await;
    let quota = Quota {
        connections: 2,
        streams: 1,
        consumers: 1,
        storage_bytes: 1 << 20,
        memory_bytes: 1 << 16,
    };
    town.add("small", quota).await;
    let mut wire = town.wire("small", &User::Operator);
    let make = |name: &str| {
        let subject = format!("genbrain.org.small.{name}");
        serde_json::json!({ "name": name, "subjects": [subject], "storage": "file" }).to_string()
    };
    let mut ask = |call: &str, body: &str| {
        wire.ask(&format!("$JS.API.{call}"), "", body.as_bytes()).expect("an answer")
    };
    let first = ask("STREAM.CREATE.events", &make("events"));
    assert!(!first.contains("err_code"), "{first}");
    let second = ask("STREAM.CREATE.metrics", &make("metrics"));
    assert!(second.contains("10027"), "{second}");
    let body = vec![b'x'; 300_000];
    let mut refused = String::new();
    for _ in 0..5 {
        let answer = wire.ask("genbrain.org.small.events", "", &body).expect("an answer");
        if answer.contains("err_code") {
            refused = answer;
        }
    }
    assert!(refused.contains("resource"), "nothing was refused: {refused}");
    let other = town.wire("small", &User::Observer);
    let more = crate::wire::Wire::enter(town.url(), &town.creds("small", &User::Observer));
    let error = more.err().expect("a third connection was let in").to_string();
    assert!(error.contains("maximum account active connections exceeded"), "{error}");
    drop(other);
    let neighbour = town.bus("acme", &User::Agent(role("cto"))).await;
    let client = Client::new(neighbour, role("cto"));
    client.delegate(Delegation::new(role("qa"), "Goes on")).await.expect("delegating");
    assert!(town.knows(&org("small")).await);
    town.stop().await;
}
