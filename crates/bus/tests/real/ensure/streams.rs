//! Every stream of the catalogue is made, and a second time nothing happens.

use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_bus::{
    Topology,
    ensure::{Consent, Ensured, Outcome, StreamState},
};
use sinew_model::stream::{AGENT_TASKS, MEETINGS, TASK_LOG, TASK_SCHEDULES};
use sinew_testkit::{NatsCluster, NatsServer, wait};

use super::{bare, bus, info, make, publish, value};

#[tokio::test]
async fn a_new_server_gets_every_stream_and_then_there_is_nothing_to_do() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let topology = Topology::standard(&bus);

    let plan = topology.plan(&bus).await.unwrap();
    assert!(plan.streams.iter().all(|stream| stream.state == StreamState::Missing));
    let report = topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
    assert!(report.streams.iter().all(|stream| stream.outcome == Outcome::Created), "{report:?}");

    let again = topology.plan(&bus).await.unwrap();
    assert!(again.is_empty(), "{again:?}");
    let report = topology.apply(&bus, &again, Consent::KeepMessages).await.unwrap();
    assert!(report.streams.iter().all(|stream| stream.outcome == Outcome::Unchanged));
    // The old plan says that all is missing; applied again it does no harm.
    let report = topology.apply(&bus, &plan, Consent::DeleteMessages).await.unwrap();
    assert!(report.streams.iter().all(|stream| stream.outcome == Outcome::Unchanged));
    assert!(report.is_complete());
}

#[tokio::test]
async fn the_seeds_numbers_are_on_the_server() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    make(&bus, &Topology::standard(&bus)).await;
    let config = info(&bus, AGENT_TASKS).await["config"].clone();
    let expect = json!({
        "subjects": ["genbrain.agents.*.tasks", "genbrain.agents.*.tasks.*"],
        "retention": "workqueue", "storage": "file", "max_msgs": 100_000,
        "duplicate_window": 60_000_000_000_u64, "max_msg_size": 1_048_576,
        "num_replicas": 1,
        // Where Sinew differs from the seed: nothing is dropped, and age is a deadline.
        "discard": "new", "max_age": 0,
    });
    for (field, value) in expect.as_object().unwrap() {
        assert_eq!(&config[field], value, "{field}");
    }
}

#[tokio::test]
async fn two_at_once_make_one_catalogue() {
    let server = NatsServer::start();
    let (one, two) = (bus(&server.url()).await, bus(&server.url()).await);
    let topology = Topology::standard(&one);
    let plan = topology.plan(&one).await.unwrap();
    let apply = |bus| topology.apply(bus, &plan, Consent::KeepMessages);
    let (first, second) = tokio::join!(apply(&one), apply(&two));
    assert!(first.unwrap().is_complete() && second.unwrap().is_complete());
    assert!(topology.plan(&one).await.unwrap().is_empty());
}

#[tokio::test]
async fn who_was_slower_reports_what_the_faster_one_made() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let standard = Topology::standard(&bus);
    let plan = standard.plan(&bus).await.unwrap();
    let other = Topology::overlaid(&bus, "[streams.MEETINGS]\nstorage = \"memory\"").unwrap();
    assert_eq!(other.ensure_stream(&bus, MEETINGS).await.unwrap(), Ensured::Created);

    let report = standard.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
    let meetings = report.streams.iter().find(|stream| stream.stream == MEETINGS).unwrap();
    assert_eq!(meetings.outcome, Outcome::Unchanged);
    assert_eq!(meetings.left[0].field, "storage");
    assert!(!report.is_complete());
}

#[tokio::test]
async fn a_stream_is_made_at_its_first_use_with_what_it_sources() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let topology = Topology::standard(&bus);
    assert_eq!(topology.ensure_stream(&bus, AGENT_TASKS).await.unwrap(), Ensured::Created);
    assert_eq!(topology.ensure_stream(&bus, AGENT_TASKS).await.unwrap(), Ensured::Same);
    assert_eq!(topology.ensure_stream(&bus, TASK_SCHEDULES).await.unwrap(), Ensured::Same);
    let names: Value = bus.api("STREAM.NAMES", &Value::Null).await.unwrap();
    assert_eq!(names["total"], 2);
    let fault = topology.ensure_stream(&bus, "TASKS").await.unwrap_err();
    assert_eq!(fault.to_string(), "\"TASKS\" is no stream of the catalogue");
}

#[tokio::test]
async fn a_server_without_jetstream_is_an_error_that_says_so() {
    let server = NatsServer::builder()
        .extra_config("accounts { A { users: [{ user: a, password: a }] } }\nno_auth_user: a")
        .start();
    let bus = bus(&server.url()).await;
    let fault = Topology::standard(&bus).plan(&bus).await.unwrap_err();
    let cause = std::error::Error::source(&fault).unwrap();
    assert!(std::error::Error::source(cause).unwrap().to_string().contains("10039"), "{cause}");
}

#[tokio::test]
async fn observers_get_each_transition_on_five_tokens() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    make(&bus, &Topology::standard(&bus)).await;
    let client = bare(&server.url()).await;
    let mut seen = client.subscribe("genbrain.org.*.tasks.*").await.unwrap();
    client.flush().await.unwrap();

    let stored = publish(&client, "genbrain.org.acme.tasks.T1.completed", &[], "{}").await;
    assert_eq!(stored["stream"], TASK_LOG);
    let live = seen.next().await.unwrap();
    assert_eq!(live.subject.as_str(), "genbrain.org.acme.tasks.completed");
    assert_eq!(value(&live, "Nats-Subject"), "genbrain.org.acme.tasks.T1.completed");
}

#[tokio::test]
async fn three_servers_keep_three_copies() {
    let cluster = NatsCluster::start();
    let bus = bus(&cluster.urls().join(",")).await;
    let topology = Topology::standard(&bus);
    let report = make(&bus, &topology).await;
    assert!(report.is_complete(), "{report:?}");
    for stream in &topology.catalogue().streams {
        let config = &info(&bus, stream.name).await["config"];
        assert_eq!(config["num_replicas"], 3, "{}", stream.name);
    }
    assert!(topology.plan(&bus).await.unwrap().is_empty());

    // What was made while one server stood alone is brought to three.
    let alone = Topology::overlaid(&bus, "[streams.MEETINGS]\nreplicas = 1").unwrap();
    make(&bus, &alone).await;
    assert_eq!(info(&bus, MEETINGS).await["config"]["num_replicas"], 1);
    make(&bus, &topology).await;
    assert_eq!(info(&bus, MEETINGS).await["config"]["num_replicas"], 3);
}

#[tokio::test]
async fn a_cluster_of_two_keeps_one_copy() {
    let cluster = NatsCluster::builder().size(2).start();
    let bus = bus(&cluster.urls().join(",")).await;
    let topology = Topology::standard(&bus);
    let report = make(&bus, &topology).await;
    assert!(report.streams.iter().all(|stream| stream.outcome == Outcome::Created), "{report:?}");
    assert_eq!(info(&bus, AGENT_TASKS).await["config"]["num_replicas"], 1);
    assert!(make(&bus, &topology).await.is_complete());
}

#[tokio::test]
async fn three_copies_are_kept_although_one_server_of_the_cluster_is_away() {
    let cluster = NatsCluster::start();
    let away = (cluster.leader().unwrap() + 1) % 3;
    cluster.node(away).kill();
    let bus = bus(&cluster.node((away + 1) % 3).url()).await;
    let ensured = Topology::standard(&bus).ensure_stream(&bus, MEETINGS).await.unwrap();
    assert_eq!(ensured, Ensured::Created);
    // Two of three servers may need an election before the stream has a leader that answers.
    wait::until("the stream to have a leader", Duration::from_secs(60), async || {
        let info: Value = bus
            .api(&format!("STREAM.INFO.{MEETINGS}"), &Value::Null)
            .await
            .map_err(|error| error.to_string())?;
        assert_eq!(info["config"]["num_replicas"], 3);
        Ok(())
    })
    .await;
}
