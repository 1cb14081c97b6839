//! Publishing: what each caller is told, and what the stream then holds.

mod batch;
mod fault;
mod race;
mod replicas;
mod service;

use std::time::Duration;

use serde_json::{Value, json};
use sinew_bus::{Accepted, AppendError, Bus, Config, Outgoing, PublishError};
use sinew_model::{Entry, Role, Subject, TaskId, limits};
use sinew_testkit::NatsServer;

pub(crate) const EVENTS: &str = "ORG_EVENTS";
pub(crate) const MAIL: &str = "AGENT_MAIL";
pub(crate) const LOG: &str = "TASK_LOG";

/// Long enough for a loaded machine.
pub(crate) const LATE: Duration = Duration::from_secs(30);

pub(crate) fn config(url: &str) -> Config {
    let mut config = Config::new(url, "acme".parse().unwrap());
    // So that it does not depend on the machine which of them share a batch.
    config.batch_from = Some(16);
    config
}

pub(crate) async fn connect(url: &str) -> Bus {
    Bus::connect(config(url)).await.unwrap()
}

/// A stream that takes batches, with what `more` says on top.
pub(crate) async fn make(bus: &Bus, name: &str, subject: &str, more: Value) {
    let mut config = json!({
        "name": name, "subjects": [subject], "storage": "file", "allow_atomic": true,
        "discard": "new", "duplicate_window": 60_000_000_000_u64,
    });
    let (Value::Object(all), Value::Object(more)) = (&mut config, more) else { panic!("objects") };
    all.extend(more);
    bus.api::<Value>(&format!("STREAM.CREATE.{name}"), &config).await.unwrap();
}

pub(crate) async fn make_log(bus: &Bus, more: Value) {
    make(bus, LOG, "genbrain.org.*.tasks.*.*", more).await;
}

/// A server with one empty stream for events, and one for mail.
pub(crate) async fn world() -> (NatsServer, Bus) {
    let server = NatsServer::start();
    let bus = connect(&server.url()).await;
    make(&bus, EVENTS, "genbrain.org.acme.events", json!({})).await;
    make(&bus, MAIL, "genbrain.agents.*.inbox", json!({})).await;
    (server, bus)
}

pub(crate) fn event(bus: &Bus) -> Outgoing {
    Outgoing::new(EVENTS, bus.subjects().events(), "{}")
}

/// The inbox of one of many roles, so that a message can be known by its subject.
pub(crate) fn inbox(bus: &Bus, name: &str) -> Subject {
    bus.subjects().inbox(&name.parse::<Role>().unwrap())
}

pub(crate) fn mail(bus: &Bus, name: &str) -> Outgoing {
    Outgoing::new(MAIL, inbox(bus, name), "{}")
}

pub(crate) fn entry(task: &str) -> Entry {
    serde_json::from_value(json!({
        "taskId": task, "orgId": "acme", "at": "2026-05-10T14:23:01Z", "by": {"role": "cto"},
        "transition": "progress", "attempt": 1, "message": "half",
    }))
    .unwrap()
}

/// How many messages a stream holds.
pub(crate) async fn held(bus: &Bus, stream: &str) -> u64 {
    let info: Value = bus.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await.unwrap();
    info.pointer("/state/messages").and_then(Value::as_u64).unwrap()
}

/// The subject of one stored message.
pub(crate) async fn subject_at(bus: &Bus, stream: &str, seq: u64) -> String {
    let call = format!("STREAM.MSG.GET.{stream}");
    let got: Value = bus.api(&call, &json!({ "seq": seq })).await.unwrap();
    got.pointer("/message/subject").and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test]
async fn a_message_is_stored_and_its_twin_is_known() {
    let (_server, bus) = world().await;
    let first = bus.publish(event(&bus).id("e1")).await;
    assert_eq!(first, Ok(Accepted { seq: 1, duplicate: false }));
    assert_eq!(bus.publish(event(&bus).id("e1")).await, Ok(Accepted { seq: 1, duplicate: true }));
    assert_eq!(bus.publish(event(&bus)).await, Ok(Accepted { seq: 2, duplicate: false }));
    assert_eq!(held(&bus, EVENTS).await, 2);
    assert_eq!((bus.publish_stats().singles, bus.publish_stats().batches), (3, 0));
}

#[tokio::test]
async fn a_tasks_log_takes_appends_only() {
    let (_server, bus) = world().await;
    make_log(&bus, json!({})).await;
    let task: TaskId = "T1".parse().unwrap();
    let subject = bus.subjects().entry(&task, sinew_model::Transition::Progress);
    let refused = bus.publish(Outgoing::new(LOG, subject, "{}")).await;
    assert!(matches!(refused, Err(PublishError::TaskLog { .. })), "{refused:?}");
    assert_eq!(bus.append(&entry("T1"), 0, "a").await.unwrap(), 1);
    let late = bus.append(&entry("T1"), 0, "b").await;
    assert!(matches!(late, Err(AppendError::Conflict { doubtful: false })), "{late:?}");
    assert_eq!(bus.append(&entry("T2"), 0, "c").await.unwrap(), 2, "another task is not held up");
    assert_eq!(bus.append(&entry("T1"), 1, "d").await.unwrap(), 3);
    let mut alien = entry("T3");
    alien.org_id = "other".parse().unwrap();
    assert!(matches!(bus.append(&alien, 0, "e").await, Err(AppendError::Alien { .. })));
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_it_is_sent() {
    let (_server, bus) = world().await;
    let two_megabytes = vec![b'x'; 2 * 1_048_576];
    let sent = bus.publish(Outgoing::new(EVENTS, bus.subjects().events(), two_megabytes)).await;
    let Err(PublishError::TooLarge { bytes, limit }) = sent else { panic!("{sent:?}") };
    assert!(bytes > 2 * 1_048_576);
    assert_eq!(limit, Some(bus.max_payload()));
    assert_eq!(bus.publish_stats().singles, 0);

    // The largest message that the server takes has no room for the headers of a batch.
    let overhead = "NATS/1.0\r\nNats-Expected-Stream: ORG_EVENTS\r\n\r\n".len() + 4;
    let largest = vec![b'x'; bus.max_payload() - overhead];
    let events = bus.subjects().events();
    let outs = (0..4).map(|_| Outgoing::new(EVENTS, events.clone(), largest.clone()));
    for sent in futures::future::join_all(outs.map(|out| bus.publish(out))).await {
        sent.unwrap();
    }
}

#[tokio::test]
async fn a_log_entry_that_is_too_large_is_refused() {
    let (_server, bus) = world().await;
    let mut large = serde_json::to_value(entry("T1")).unwrap();
    large["message"] = Value::String("x".repeat(limits::MESSAGE_BYTES));
    let large: Entry = serde_json::from_value(large).unwrap();
    let refused = bus.append(&large, 0, "a").await;
    let Err(AppendError::Publish { source: PublishError::TooLarge { .. } }) = refused else {
        panic!("{refused:?}")
    };
}

#[tokio::test]
async fn every_refusal_has_its_own_error() {
    let (_server, bus) = world().await;
    make(&bus, "SYSTEM", "genbrain.org.system.health", json!({"max_msgs": 1, "max_msg_size": 64}))
        .await;
    let health = |body: String| Outgoing::new("SYSTEM", bus.subjects().system_health(), body);
    let sent = bus.publish(health("x".repeat(65))).await;
    assert!(matches!(sent, Err(PublishError::TooLarge { limit: None, .. })), "{sent:?}");
    bus.publish(health("{}".to_owned())).await.unwrap();
    let sent = bus.publish(health("{}".to_owned())).await;
    assert!(matches!(sent, Err(PublishError::Full { .. })), "{sent:?}");

    let cto = inbox(&bus, "cto");
    bus.publish(mail(&bus, "cto").expecting(&cto, 0)).await.unwrap();
    let sent = bus.publish(mail(&bus, "cto").expecting(&cto, 0)).await;
    assert!(matches!(sent, Err(PublishError::Conflict { doubtful: false, .. })), "{sent:?}");

    let astray = Outgoing::new(MAIL, bus.subjects().events(), "{}");
    let sent = bus.publish(astray).await;
    assert!(matches!(sent, Err(PublishError::NoStream { .. })), "{sent:?}");
    let nowhere = Outgoing::new("MEETINGS", bus.subjects().metrics(), "{}");
    let sent = bus.publish(nowhere).await;
    assert!(matches!(sent, Err(PublishError::NoStream { .. })), "{sent:?}");

    let sent = bus.publish(event(&bus).header("Nats-Batch-Id", "b")).await;
    assert!(matches!(sent, Err(PublishError::Header { .. })), "{sent:?}");
}
