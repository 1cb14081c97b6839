//! The catalogue on the real nats-server: made, compared, mended, and doing what it is for.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends with a message")]

mod consumers;
mod drift;
mod schedules;
mod streams;

use async_nats::HeaderMap;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_bus::{
    Bus, Config, Topology,
    ensure::{Consent, Report},
};

/// A connection for the org `acme`.
async fn bus(url: &str) -> Bus {
    Bus::connect(Config::new(url, "acme".parse().unwrap())).await.unwrap()
}

/// Everything of the catalogue, made.
async fn make(bus: &Bus, topology: &Topology) -> Report {
    let plan = topology.plan(bus).await.unwrap();
    topology.apply(bus, &plan, Consent::KeepMessages).await.unwrap()
}

/// What the server says about a stream.
async fn info(bus: &Bus, stream: &str) -> Value {
    bus.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await.unwrap()
}

/// A bare connection, as a program in another language has it.
async fn bare(url: &str) -> async_nats::Client {
    let servers: Vec<&str> = url.split(',').collect();
    async_nats::ConnectOptions::new().connect(servers).await.unwrap()
}

/// Publishes into a stream and gives what the server answers.
async fn publish(
    client: &async_nats::Client,
    subject: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Value {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let subject = subject.to_owned();
    let answer = client.request_with_headers(subject, map, body.to_owned().into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

/// Purges what a stream has stored under `filter`.
async fn purge(bus: &Bus, stream: &str, filter: &str) {
    let body = json!({ "filter": filter });
    let _: Value = bus.api(&format!("STREAM.PURGE.{stream}"), &body).await.unwrap();
}

/// Pulls one message, for at most ten seconds.
async fn pull(
    client: &async_nats::Client,
    stream: &str,
    consumer: &str,
) -> Option<async_nats::Message> {
    // Not by a request: what is delivered keeps the subject that it was stored under, by which
    // the client's shared inbox can't tell whose answer it is.
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.unwrap();
    let request = json!({ "batch": 1, "expires": 10_000_000_000_u64 }).to_string();
    let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
    client.publish_with_reply(subject, inbox, request.into()).await.unwrap();
    let message = answers.next().await.unwrap();
    // An answer with a status is no message of the stream.
    message.status.is_none().then_some(message)
}

/// The value of a header that a message must have.
fn value<'a>(message: &'a async_nats::Message, header: &str) -> &'a str {
    message.headers.as_ref().and_then(|headers| headers.get(header)).unwrap().as_str()
}

/// Acks a message and waits until that is done.
async fn ack(client: &async_nats::Client, message: &async_nats::Message) {
    client.request(message.reply.clone().unwrap(), "+ACK".into()).await.unwrap();
}
