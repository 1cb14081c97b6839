//! Large bodies that nobody claims are deleted, and no other: the collector against a real server.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use sinew_agent::{Bus, Client, Config, Delegation, body};
use sinew_bus::Topology;
use sinew_model::{Claim, claim::Side, stream::OBJ_BODIES, stream::TASK_LOG};
use sinew_server::control::bodies::{Collected, Collector, Pace};
use sinew_testkit::NatsServer;

async fn start() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = Bus::connect(Config::new(server.url(), "acme".parse().unwrap())).await.unwrap();
    let topology = Topology::standard(&bus);
    for spec in &topology.catalogue().streams {
        topology.ensure_stream(&bus, spec.name).await.unwrap();
    }
    (server, bus)
}

fn collector(bus: &Bus, keep: Duration) -> Collector {
    Collector::new(bus.clone(), Pace { every: Duration::from_secs(3600), keep })
}

#[tokio::test]
async fn an_object_goes_when_nobody_claims_it_and_no_sooner() {
    let (_server, bus) = start().await;
    let ceo = Client::new(bus.clone(), "ceo".parse().unwrap());
    let what = Delegation::new("cto".parse().unwrap(), "Large").input("x".repeat(2_000_000));
    let id = ceo.delegate(what).await.unwrap().id;
    let claim = ceo.state(&id).await.unwrap().unwrap().assignment.unwrap().input_ref.unwrap();
    // As a delegator that died between the object and the assignment.
    let stray = Claim::of(&"T9".parse().unwrap(), Side::Input, b"\"stray\"");
    bus.put_object(&stray, b"\"stray\"".to_vec().into(), &BTreeMap::new()).await.unwrap();

    let young = collector(&bus, Duration::from_secs(3600)).round().await.unwrap();
    assert_eq!(young, Collected { looked: 2, deleted: 0, strays: 0 });
    let now = Duration::ZERO;
    let (one, other) = (collector(&bus, now), collector(&bus, now));
    let (one, other) = tokio::join!(one.round(), other.round());
    assert_eq!(one.unwrap().deleted + other.unwrap().deleted, 1, "two collectors, one deletion");
    assert!(bus.object(&stray.object).await.unwrap().is_none());
    assert!(body::fetch(&bus, &claim).await.is_ok(), "the log claims it");

    // Without a log, the message on the queue is as good as a claim.
    let purge = async |stream: &str| {
        let _: Value = bus.api(&format!("STREAM.PURGE.{stream}"), &Value::Null).await.unwrap();
    };
    purge(TASK_LOG).await;
    assert_eq!(collector(&bus, now).round().await.unwrap().deleted, 0);
    purge("AGENT_TASKS").await;
    assert_eq!(collector(&bus, now).round().await.unwrap().deleted, 1);
    assert_eq!(bus.stream_state(OBJ_BODIES).await.unwrap().messages, 0, "nothing is left");

    // Chunks that no object names.
    let subject = sinew_model::Subjects::chunks(sinew_model::stream::BODIES, "lost");
    bus.publish(sinew_bus::Outgoing::new(OBJ_BODIES, subject, json!(1).to_string())).await.unwrap();
    assert_eq!(collector(&bus, now).round().await.unwrap().strays, 1);
    assert_eq!(bus.stream_state(OBJ_BODIES).await.unwrap().messages, 0);
}
