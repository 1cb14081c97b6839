//! One request for deliveries, and what the server says about it. Each has a reply subject of its
//! own, so that it is known which one a delivery belongs to.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use serde_json::json;
use sinew_model::limits::{PULL_EXPIRES, PULL_GRACE, PULL_HEARTBEAT, PULL_NOW, PULL_SILENCE};
use tokio::{sync::oneshot, time::Instant};

use crate::{clock, connect::Bus};

/// How long a pull waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all: what is there now, or nothing.
    Now,
    /// Until something comes or the pull expires.
    Waiting,
}

/// What the server says about a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is still open.
    Heartbeat,
    /// Nothing is there now.
    Empty,
    /// It is over, as it should be after its time: open the next one.
    Expired,
    /// Nobody takes pulls there: the consumer is gone, or has no leader, or JetStream is off.
    NoResponders,
    /// The consumer was deleted.
    Gone,
    /// It asked for more than the consumer allows; at most so many may be asked for.
    AtMost(usize),
    /// Something passing, or something that only an operator can mend: try again later.
    Later(String),
}

impl Status {
    pub(crate) fn of(code: u16, description: &str) -> Self {
        match code {
            100 => Self::Heartbeat,
            404 => Self::Empty,
            408 => Self::Expired,
            503 => Self::NoResponders,
            409 => Self::conflict(description),
            _ => Self::Later(format!("{code} {description}")),
        }
    }

    fn conflict(description: &str) -> Self {
        let lower = description.to_ascii_lowercase();
        if lower.contains("consumer deleted") {
            return Self::Gone;
        }
        if lower.contains("batch completed") {
            return Self::Expired;
        }
        match lower.strip_prefix("exceeded maxrequestbatch of ").map(str::trim).map(str::parse) {
            Some(Ok(most)) if most > 0 => Self::AtMost(most),
            Some(_) | None => Self::Later(format!("409 {description}")),
        }
    }
}

/// Whom a pull asks.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Which of the intake's consumers.
    pub(crate) consumer: usize,
    /// Where it is asked.
    next: String,
}

impl Target {
    pub(crate) fn new(consumer: usize, stream: &str, name: &str) -> Self {
        Self { consumer, next: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}") }
    }

    /// Sends a pull: first the ear, then the request, on one connection and so in this order.
    pub(crate) async fn ask(
        &self,
        bus: &Bus,
        batch: usize,
        patience: Patience,
    ) -> Result<async_nats::Subscriber, String> {
        let nats = bus.nats();
        let reply = nats.new_inbox();
        let replies = nats.subscribe(reply.clone()).await.map_err(|error| error.to_string())?;
        nats.publish_with_reply(self.next.clone(), reply, request(batch, patience))
            .await
            .map_err(|error| error.to_string())?;
        Ok(replies)
    }
}

/// A pull that the server has, as far as is known.
#[derive(Debug)]
pub(crate) struct Pull {
    /// Which of the intake's consumers.
    pub(crate) consumer: usize,
    pub(crate) patience: Patience,
    /// Deliveries that may still come.
    pub(crate) left: usize,
    /// When the server was last heard of it.
    heard: Instant,
    /// When it is certain that nothing more comes.
    over: Instant,
    /// Given up: it no longer counts, but what it brings is as good as any other delivery.
    pub(crate) void: bool,
    /// Ends the listening when the pull is forgotten, also where nothing comes to wake it: the
    /// replies have the other end.
    _ear: oneshot::Sender<()>,
}

impl Pull {
    /// Opens a pull; `id` comes back with each reply.
    pub(crate) async fn open(
        bus: &Bus,
        id: u64,
        target: &Target,
        (batch, patience): (usize, Patience),
    ) -> Result<(Self, Replies), String> {
        let subscriber = target.ask(bus, batch, patience).await?;
        let (ear, forgotten) = oneshot::channel();
        let replies = Replies { id, subscriber, forgotten };
        let now = clock::instant();
        let over = now + PULL_EXPIRES + PULL_GRACE;
        let consumer = target.consumer;
        let pull =
            Self { consumer, patience, left: batch, heard: now, over, void: false, _ear: ear };
        Ok((pull, replies))
    }

    pub(crate) fn hear(&mut self) {
        self.heard = clock::instant();
    }

    /// When to look after it again.
    pub(crate) fn due(&self) -> Instant {
        match (self.void, self.patience) {
            (true, _) => self.over,
            (false, Patience::Now) => self.heard + PULL_NOW,
            (false, Patience::Waiting) => (self.heard + PULL_SILENCE).min(self.over),
        }
    }

    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.over
    }
}

fn request(batch: usize, patience: Patience) -> Bytes {
    let request = match patience {
        Patience::Now => json!({ "batch": batch, "no_wait": true }),
        Patience::Waiting => json!({
            "batch": batch,
            "expires": nanos(PULL_EXPIRES),
            "idle_heartbeat": nanos(PULL_HEARTBEAT),
        }),
    };
    request.to_string().into()
}

/// A span as the API wants it.
pub(crate) fn nanos(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// What comes back on one pull, each with the number of the pull, until the [`Pull`] is dropped.
/// The server learns of that by the end of the subscription.
#[derive(Debug)]
pub(crate) struct Replies {
    id: u64,
    subscriber: async_nats::Subscriber,
    /// Ready when the pull is dropped.
    forgotten: oneshot::Receiver<()>,
}

impl Replies {
    /// Tells the server that nobody listens any more: it hands nothing more to the pull. What has
    /// come before can still be read, and then the stream ends.
    ///
    /// # Errors
    /// In words, when the connection is closed.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        self.subscriber.drain().await.map_err(|error| error.to_string())
    }
}

impl Stream for Replies {
    type Item = (u64, async_nats::Message);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if Pin::new(&mut self.forgotten).poll(context).is_ready() {
            return Poll::Ready(None);
        }
        let id = self.id;
        Pin::new(&mut self.subscriber).poll_next(context).map(|got| got.map(|it| (id, it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_told_apart() {
        let check = |code, words: &str, expect| assert_eq!(Status::of(code, words), expect);
        check(100, "Idle Heartbeat", Status::Heartbeat);
        check(404, "No Messages", Status::Empty);
        check(408, "Request Timeout", Status::Expired);
        check(503, "", Status::NoResponders);
        check(409, "Consumer Deleted", Status::Gone);
        check(409, "Batch Completed", Status::Expired);
        check(409, "Exceeded MaxRequestBatch of 5", Status::AtMost(5));
        let later = |words: &str| Status::Later(words.to_owned());
        check(409, "Exceeded MaxRequestBatch of 0", later("409 Exceeded MaxRequestBatch of 0"));
        check(409, "Exceeded MaxWaiting", later("409 Exceeded MaxWaiting"));
        check(409, "Leadership Change", later("409 Leadership Change"));
        check(400, "Bad Request", later("400 Bad Request"));
    }

    #[test]
    fn only_a_waiting_pull_expires_and_beats() {
        let now = request(1, Patience::Now);
        assert_eq!(now, r#"{"batch":1,"no_wait":true}"#);
        let waiting = request(5, Patience::Waiting);
        let expect = r#"{"batch":5,"expires":30000000000,"idle_heartbeat":2000000000}"#;
        assert_eq!(waiting, expect);
    }
}
