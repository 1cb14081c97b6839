//! A work queue in a real server, made by bare API calls, and a connection to it.

use std::time::Duration;

use serde_json::{Value, json};
use sinew_bus::{Bus, Config, Delivery, Intake, Slot, Slots};
use sinew_model::Band;
use sinew_testkit::{NatsServer, wait};

/// Long enough for anything that is meant to happen.
pub(crate) const LATE: Duration = Duration::from_secs(30);
/// Much longer than anything that happens at once, much shorter than any time-out.
pub(crate) const SOON: Duration = Duration::from_secs(2);
pub(crate) const STREAM: &str = "Q";

pub(crate) async fn connect(url: &str) -> Bus {
    let mut config = Config::new(url, "acme".parse().unwrap());
    config.name = "test".to_owned();
    Bus::connect(config).await.unwrap()
}

pub(crate) async fn plain_client(url: &str) -> async_nats::Client {
    async_nats::ConnectOptions::new().connect(url).await.unwrap()
}

/// A server with a work queue `Q` on `q.*`, and a connection.
pub(crate) struct Queue {
    pub(crate) server: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) client: async_nats::Client,
}

impl Queue {
    pub(crate) async fn start() -> Self {
        let server = NatsServer::start();
        let bus = connect(&server.url()).await;
        let client = plain_client(&server.url()).await;
        make_stream(&bus, 1).await;
        Self { server, bus, client }
    }

    /// A consumer of `q.{name}`.
    pub(crate) async fn consumer(&self, name: &str, more: Value) {
        make_consumer(&self.bus, name, more).await;
    }

    pub(crate) async fn put(&self, name: &str, bodies: impl IntoIterator<Item = u32>) {
        for body in bodies {
            store(&self.client, &format!("q.{name}"), &body.to_string()).await.unwrap();
        }
    }

    pub(crate) fn open(&self, slots: &Slots, names: &[&str]) -> Intake {
        let bands = [Band::Urgent, Band::Normal, Band::Low];
        let consumers = bands.into_iter().zip(names.iter().map(|name| (*name).to_owned()));
        Intake::open(&self.bus, STREAM, consumers.collect(), slots)
    }

    pub(crate) async fn info(&self, name: &str) -> Value {
        self.bus.api(&format!("CONSUMER.INFO.{STREAM}.{name}"), &Value::Null).await.unwrap()
    }

    /// Waits until a figure of the consumer is what it should be.
    pub(crate) async fn shows(&self, name: &str, field: &str, value: u64) {
        let what = format!("{name} to have {field} {value}");
        wait::until(&what, LATE, || async {
            let info = self.info(name).await;
            if info.get(field) == Some(&json!(value)) { Ok(()) } else { Err(info.to_string()) }
        })
        .await;
    }

    pub(crate) async fn stored(&self) -> u64 {
        self.bus.stream_state(STREAM).await.unwrap().messages
    }
}

pub(crate) async fn make_stream(bus: &Bus, replicas: usize) {
    let config = json!({
        "name": STREAM, "subjects": ["q.*"], "retention": "workqueue", "storage": "file",
        "num_replicas": replicas, "allow_direct": true,
    });
    bus.api::<Value>(&format!("STREAM.CREATE.{STREAM}"), &config).await.unwrap();
}

pub(crate) async fn make_consumer(bus: &Bus, name: &str, more: Value) {
    let mut config = json!({
        "durable_name": name, "filter_subject": format!("q.{name}"), "ack_policy": "explicit",
        "ack_wait": 300_000_000_000_u64,
    });
    let more = more.as_object().cloned().unwrap_or_default();
    config.as_object_mut().unwrap().extend(more);
    let call = format!("CONSUMER.CREATE.{STREAM}.{name}");
    let request = json!({ "stream_name": STREAM, "config": config });
    bus.api::<Value>(&call, &request).await.unwrap();
}

/// Publishes by request, and gives the sequence.
pub(crate) async fn store(
    client: &async_nats::Client,
    subject: &str,
    body: &str,
) -> Result<u64, String> {
    store_with(client, subject, body, async_nats::HeaderMap::new()).await
}

pub(crate) async fn store_with(
    client: &async_nats::Client,
    subject: &str,
    body: &str,
    headers: async_nats::HeaderMap,
) -> Result<u64, String> {
    let mut request = async_nats::Request::new().payload(body.to_owned().into());
    if !headers.is_empty() {
        request = request.headers(headers);
    }
    let answer = client.send_request(subject.to_owned(), request).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let answer: Value = serde_json::from_slice(&answer.payload).map_err(|e| e.to_string())?;
    let seq = answer.get("seq").and_then(Value::as_u64).filter(|_| answer.get("error").is_none());
    seq.ok_or_else(|| answer.to_string())
}

/// The next delivery, which must come before `within` is over.
pub(crate) async fn next(intake: &mut Intake, within: Duration) -> (Delivery, Slot) {
    tokio::time::timeout(within, intake.next()).await.unwrap().unwrap()
}

pub(crate) fn body(delivery: &Delivery) -> u32 {
    std::str::from_utf8(delivery.payload()).unwrap().parse().unwrap()
}

/// Takes and acks so many, and gives the bodies.
pub(crate) async fn work_off(intake: &mut Intake, count: usize) -> Vec<u32> {
    let mut done = Vec::new();
    while done.len() < count {
        let (delivery, _slot) = next(intake, LATE).await;
        done.push(body(&delivery));
        delivery.ack().await.unwrap();
    }
    done
}
