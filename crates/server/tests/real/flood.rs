//! A bare client that publishes as fast as it can is cut off, and stays out; whoever works through
//! Sinew, however fast, and whoever is of another org, goes on.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    time::Duration,
};

use sinew_agent::{Client, Delegation};
use sinew_bus::{Outgoing, clock};
use sinew_model::{
    flood::Rate,
    grant::User,
    incident::{FLOOD, Incident},
    limits::FLOOD_MESSAGES,
    stream::{ORG_EVENTS, ORG_EVIDENCE},
};
use sinew_server::{account::EXPELLED, control::flood::Guard};
use sinew_testkit::wait;
use tokio_util::sync::CancellationToken;

use crate::{
    attack::{Town, org, role},
    wire::Wire,
};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// How soon a flood must be over.
const SOON: Duration = Duration::from_secs(5);

/// Sends as fast as it can until it is cut off, and says how long that took.
fn flood(wire: Wire, subject: &str) -> Duration {
    let stream = wire.into_stream();
    let mut ear = stream.try_clone().expect("a copy");
    // One that does not read what the server says is cut off for that.
    let listening = std::thread::spawn(move || {
        let mut part = [0; 65_536];
        while let Ok(1..) = ear.read(&mut part) {}
    });
    let lines = format!("PUB {subject} 16\r\n0123456789abcdef\r\n").repeat(1_000);
    let begun = clock::instant();
    let mut mouth = &stream;
    while begun.elapsed() < LONG && mouth.write_all(lines.as_bytes()).is_ok() {}
    let span = begun.elapsed();
    // It is closed already where it was cut.
    stream.shutdown(Shutdown::Both).ok();
    listening.join().expect("listening");
    span
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_off_within_five_seconds_and_leaves_a_record() {
    let town = Town::build().await;
    let stop = CancellationToken::new();
    // Two of them, as where several servers run.
    let guards: Vec<_> =
        [(); 2].map(|()| tokio::spawn(Guard::new(town.context().clone()).run(stop.clone()))).into();
    let acme = town.bus("acme", &User::Server).await;
    let worker = town.bus("acme", &User::Agent(role("qa"))).await;
    let other = town.bus("other", &User::Agent(role("cto"))).await;

    let times = || [&worker, &other].map(|it| *it.connections().borrow());
    let before = times();
    // What is stored, what is refused, and what nobody hears.
    for (name, subject) in [
        ("cto", "genbrain.org.acme.tasks.T1.created"),
        ("ops", "genbrain.org.other.events"),
        ("dev", "genbrain.org.acme.metrics"),
    ] {
        let creds = town.creds("acme", &User::Agent(role(name)));
        let wire = Wire::enter(town.url(), &creds).expect("entering");
        let flooding = tokio::task::spawn_blocking(move || flood(wire, subject));
        let span = flooding.await.expect("flooding");
        assert!(span < SOON, "{subject}: cut off after {span:?}");
        let again = Wire::enter(town.url(), &creds).map(drop).expect_err("it is let in again");
        assert!(again.to_string().contains("Authorization Violation"), "{again}");
    }

    // Those who did nothing are as they were, whether in the same org or in another.
    for bus in [&worker, &other] {
        let client = Client::new(bus.clone(), role("qa"));
        client.delegate(Delegation::new(role("cto"), "Work")).await.expect("delegating");
    }
    assert_eq!(times(), before, "they were cut as well");

    // One record each, in the org and with the operator, however many have looked.
    wait::until("the records", LONG, async || {
        match acme.stream_state(ORG_EVIDENCE).await.map_err(|error| error.to_string())?.messages {
            3 => Ok(()),
            count => Err(format!("{count} records")),
        }
    })
    .await;
    let mut names = Vec::new();
    for seq in 1..=3 {
        let message = acme.at(ORG_EVIDENCE, seq).await.expect("reading").expect("a record");
        let record: Incident = serde_json::from_slice(&message.payload).expect("an incident");
        assert_eq!((record.kind.as_str(), record.org_id), (FLOOD, org("acme")));
        names.extend(record.name);
    }
    names.sort();
    assert_eq!(names, ["agent-cto", "agent-dev", "agent-ops"]);
    let history = town.orgs().history(&org("acme")).expect("a history");
    let expelled = |it: &&serde_json::Value| it.get("action") == Some(&EXPELLED.into());
    assert_eq!(history.iter().filter(expelled).count(), 3, "{history:?}");
    stop.cancel();
    for guard in guards {
        guard.await.expect("not panicking");
    }
    town.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_through_sinew_is_not_cut_off() {
    let town = Town::build().await;
    let stop = CancellationToken::new();
    let guard = tokio::spawn(Guard::new(town.context().clone()).run(stop.clone()));
    // As many as it can for longer than a flood lasts, each of which waits for its answer.
    let bus = town.bus("acme", &User::Agent(role("cto"))).await;
    let (begun, before) = (clock::instant(), *bus.connections().borrow());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..512 {
        let bus = bus.clone();
        callers.spawn(async move {
            let mut count = 0_u64;
            while begun.elapsed() < SOON {
                let out = Outgoing::new(ORG_EVENTS, bus.subjects().events(), "{}");
                // A full stream refuses, which is an answer too.
                bus.publish(out.id(clock::unique())).await.ok();
                count += 1;
            }
            count
        });
    }
    let counts = callers.join_all().await;
    let sent: u64 = counts.into_iter().sum();
    let rate = Rate { messages: sent / SOON.as_secs(), bytes: 0 };
    assert!(!rate.is_over() && rate.messages < FLOOD_MESSAGES / 2, "{rate:?} is close to a flood");
    assert_eq!(*bus.connections().borrow(), before, "it was cut off");
    let history = town.orgs().history(&org("acme")).expect("a history");
    assert!(!history.iter().any(|it| it.get("action") == Some(&EXPELLED.into())), "{history:?}");
    // The controllers may send as they like.
    let expelled = |user: &User| {
        let record = town.orgs().record(&org("acme")).expect("a record");
        let key =
            record.users.iter().find(|it| it.name == user.name()).expect("a user").key.clone();
        town.orgs().expel(&org("acme"), &key, "a try").expect("an answer")
    };
    assert_eq!(expelled(&User::Server), None);
    assert_eq!(expelled(&User::Agent(role("cto"))).map(|it| it.was_out), Some(false));
    assert_eq!(expelled(&User::Agent(role("cto"))).map(|it| it.was_out), Some(true));
    stop.cancel();
    guard.await.expect("not panicking");
    town.stop().await;
}
