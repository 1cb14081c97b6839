//! A server that differs from the catalogue is mended, and nothing is deleted unasked.

use serde_json::{Value, json};
use sinew_bus::{
    Bus, Topology,
    ensure::{Change, Consent, Difference, Outcome, StreamReport, StreamState},
};
use sinew_model::stream::{AGENT_TASKS, ORG_EVENTS};
use sinew_testkit::NatsServer;

use super::{bare, bus, info, make, publish};

async fn apply(bus: &Bus, overlay: &str, consent: Consent, stream: &str) -> StreamReport {
    let topology = Topology::overlaid(bus, overlay).unwrap();
    let plan = topology.plan(bus).await.unwrap();
    let report = topology.apply(bus, &plan, consent).await.unwrap();
    report.streams.into_iter().find(|report| report.stream == stream).unwrap()
}

async fn stored(bus: &Bus, stream: &str) -> Value {
    info(bus, stream).await["state"]["messages"].clone()
}

#[tokio::test]
async fn drift_is_shown_by_field_and_mended() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let topology = Topology::standard(&bus);
    make(&bus, &topology).await;

    // Somebody changes the stream by hand, and sets things that the catalogue does not know.
    let mut config = info(&bus, AGENT_TASKS).await["config"].clone();
    config["max_msgs"] = 5.into();
    config["discard"] = "old".into();
    config["max_consumers"] = (-1).into();
    config["metadata"] = json!({ "team": "platform" });
    let subject = format!("STREAM.UPDATE.{AGENT_TASKS}");
    let _: Value = bus.api(&subject, &config).await.unwrap();

    let plan = topology.plan(&bus).await.unwrap();
    let drifted: Vec<_> =
        plan.streams.iter().filter(|stream| stream.state != StreamState::Same).collect();
    assert_eq!(drifted.len(), 1, "{plan:?}");
    let difference = |field: &str, wanted: Value, found: Value| Difference {
        field: field.to_owned(),
        wanted,
        found,
        change: Change::InPlace,
    };
    assert_eq!(
        drifted[0].state,
        StreamState::Drift(vec![
            difference("discard", "new".into(), "old".into()),
            difference("max_msgs", 100_000.into(), 5.into()),
        ])
    );

    let report = topology.apply(&bus, &plan, Consent::KeepMessages).await.unwrap();
    assert!(report.is_complete());
    assert!(topology.plan(&bus).await.unwrap().is_empty());
    let config = &info(&bus, AGENT_TASKS).await["config"];
    assert_eq!(config["metadata"]["team"], "platform", "what nobody asked about stays");
}

#[tokio::test]
async fn messages_are_deleted_only_with_consent() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    make(&bus, &Topology::standard(&bus)).await;
    let client = bare(&server.url()).await;
    for _ in 0..10 {
        publish(&client, "genbrain.org.acme.events", &[], "{}").await;
    }

    let overlay = "[streams.ORG_EVENTS]\nmax_msgs = 4\ndiscard = \"old\"\nmax_bytes = 9000";
    let report = apply(&bus, overlay, Consent::KeepMessages, ORG_EVENTS).await;
    assert_eq!(report.outcome, Outcome::Updated, "what does no harm is done");
    let left: Vec<_> = report.left.iter().map(|it| (it.field.as_str(), it.change)).collect();
    assert_eq!(left, [("discard", Change::DeletesMessages), ("max_msgs", Change::DeletesMessages)]);
    assert_eq!(stored(&bus, ORG_EVENTS).await, 10);
    assert_eq!(info(&bus, ORG_EVENTS).await["config"]["max_bytes"], 9000);

    let report = apply(&bus, overlay, Consent::DeleteMessages, ORG_EVENTS).await;
    assert_eq!((report.outcome, report.left.len()), (Outcome::Updated, 0));
    assert_eq!(stored(&bus, ORG_EVENTS).await, 4);
}

#[tokio::test]
async fn a_stream_that_refuses_keeps_what_is_over_its_new_limit() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    make(&bus, &Topology::standard(&bus)).await;
    let client = bare(&server.url()).await;
    for _ in 0..10 {
        publish(&client, "genbrain.agents.cto.tasks", &[], "{}").await;
    }
    let overlay = "[streams.AGENT_TASKS]\nmax_msgs = 4";
    let report = apply(&bus, overlay, Consent::KeepMessages, AGENT_TASKS).await;
    assert_eq!((report.outcome, report.left.len()), (Outcome::Updated, 0));
    assert_eq!(stored(&bus, AGENT_TASKS).await, 10);
    let refused = publish(&client, "genbrain.agents.cto.tasks", &[], "{}").await;
    assert_eq!(refused["error"]["err_code"], 10077);
}

#[tokio::test]
async fn what_is_too_old_for_a_lower_age_is_kept() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    make(&bus, &Topology::standard(&bus)).await;
    let client = bare(&server.url()).await;
    publish(&client, "genbrain.org.acme.events", &[], "{}").await;
    let overlay = "[streams.ORG_EVENTS]\nmax_age = \"100ms\"\nduplicate_window = \"100ms\"";
    let deadline = std::time::Duration::from_secs(10);
    sinew_testkit::wait::until("the message to be older than the limit", deadline, || async {
        let plan = Topology::overlaid(&bus, overlay).unwrap().plan(&bus).await.unwrap();
        let events = plan.streams.iter().find(|stream| stream.stream == ORG_EVENTS).unwrap();
        let StreamState::Drift(drift) = &events.state else { return Err("same".into()) };
        let age = drift.iter().find(|it| it.field == "max_age").unwrap();
        if age.change == Change::DeletesMessages { Ok(()) } else { Err(format!("{age:?}")) }
    })
    .await;
    let report = apply(&bus, overlay, Consent::KeepMessages, ORG_EVENTS).await;
    assert_eq!(report.left[0].field, "max_age");
    assert_eq!(stored(&bus, ORG_EVENTS).await, 1);
}

#[tokio::test]
async fn what_cannot_be_changed_is_reported_and_the_rest_is_mended() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let body = json!({
        "name": AGENT_TASKS, "subjects": ["genbrain.agents.*.tasks"], "retention": "limits",
        "storage": "memory", "max_msgs": 7,
    });
    let _: Value = bus.api(&format!("STREAM.CREATE.{AGENT_TASKS}"), &body).await.unwrap();
    let report = apply(&bus, "", Consent::KeepMessages, AGENT_TASKS).await;
    assert_eq!(report.outcome, Outcome::Updated);
    let left: Vec<_> = report.left.iter().map(|it| (it.field.as_str(), it.change)).collect();
    assert_eq!(left, [("retention", Change::Impossible), ("storage", Change::Impossible)]);
    let config = &info(&bus, AGENT_TASKS).await["config"];
    assert_eq!((&config["max_msgs"], &config["discard"]), (&100_000.into(), &"new".into()));
    // A second time there is nothing left that could be done.
    let again = apply(&bus, "", Consent::DeleteMessages, AGENT_TASKS).await;
    assert_eq!((again.outcome, again.left.len()), (Outcome::Unchanged, 2));
}

#[tokio::test]
async fn a_topology_file_that_is_wrong_says_where() {
    let server = NatsServer::start();
    let bus = bus(&server.url()).await;
    let fault = |text: &str| {
        let fault = Topology::overlaid(&bus, text).unwrap_err();
        std::error::Error::source(&fault).unwrap().to_string()
    };
    let text = fault("[streams.AGENT_TASKS]\nmax_mesages = 5");
    assert!(text.contains("line 2") && text.contains("unknown field `max_mesages`"), "{text}");
    let text = fault("[consumers]\nack_wait = 20");
    assert!(text.contains("line 2"), "{text}");
    let text = fault("[streams.AGENT_TASKS]\nreplicas = 4");
    assert_eq!(text, "streams.AGENT_TASKS.replicas must be 1, 3 or 5");
}
