//! An agent that is started while the server does not answer, or elects, waits and then works.

use std::time::Duration;

use sinew_agent::{Bus, CancellationToken, Config, Delegation, Runtime, Settings};
use sinew_model::stream::AGENT_TASKS;
use sinew_testkit::{NatsCluster, wait};

use crate::kit::{Backbone, echo, role};

/// Longer than one request may stay unanswered, and shorter than all of them.
const FROZEN: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_runtime_outlasts_a_server_that_is_frozen_while_it_starts() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let id = ceo.delegate(Delegation::new(role("cto"), "Wait for it")).await.unwrap().id;
    let runtime = backbone.run(backbone.settings("cto"), echo).await;
    backbone.server.pause();
    wait::holds("it goes on trying", FROZEN, async || {
        if runtime.is_over() { Err("it gave up".to_owned()) } else { Ok(()) }
    })
    .await;
    backbone.server.resume();
    ceo.outcome(&id).await.unwrap();
    assert_eq!(runtime.stop().await.ended, 1);
}

#[tokio::test]
async fn a_runtime_outlasts_the_election_of_a_leader_while_it_starts() {
    let cluster = NatsCluster::start();
    let connect = async || {
        let config = Config::new(cluster.urls().join(","), "acme".parse().unwrap());
        Bus::connect(config).await.unwrap()
    };
    let bus = connect().await;
    let ceo = sinew_agent::Client::new(bus.clone(), role("ceo"));
    let topology = sinew_bus::Topology::standard(&bus);
    for spec in &topology.catalogue().streams {
        topology.ensure_stream(&bus, spec.name).await.unwrap();
    }
    let id = ceo.delegate(Delegation::new(role("cto"), "Wait for it")).await.unwrap().id;
    let leader = cluster.stream_leader(AGENT_TASKS).expect("the stream has a leader");
    let runtime = Runtime::new(connect().await, Settings::new(role("cto")));
    cluster.node(leader).kill();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runtime.run(echo, shutdown.clone()));
    let outcome = tokio::select! {
        outcome = ceo.outcome(&id) => outcome,
        ended = running => panic!("it gave up: {ended:?}"),
    };
    outcome.unwrap();
    shutdown.cancel();
}
