//! One try of the server to hand a message over. Whoever holds a [`Delivery`] must end it, once:
//! the ends take it by value. It does not decide whether the holder may still end it; a task's log
//! does that.
//!
//! Every end is a request whose answer is read. The client's own confirmed ack takes a 503 for a
//! success, so it is not used.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use sinew_model::{
    Time,
    limits::{DROPPED_DELAY, NAKS_QUEUED, REQUEST_TIMEOUT, TERM_BYTES, head},
};
use tokio::sync::mpsc;

use crate::{
    connect::Bus,
    request::{RequestError, read_answer},
};

/// A delivery in hand.
#[must_use = "a delivery that is not ended is delivered again only after its ack wait"]
#[derive(Debug)]
pub struct Delivery {
    message: async_nats::Message,
    meta: Meta,
    bus: Bus,
    ender: Ender,
    /// Whether nobody has ended it yet, nor taken over to do so.
    open: bool,
}

/// Where a delivery is ended, by whoever knows this subject, on any connection of the account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AckSubject(String);

/// A subject on which no delivery is ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the ack subject of a delivery")]
pub struct AckSubjectError {
    /// What was given, cut to a readable length.
    text: String,
}

/// A delivery could not be ended, or it is not known whether it was. The same end may be tried
/// again with [`Bus::ack`] or [`Bus::nak_on_behalf`].
#[derive(Debug, thiserror::Error)]
#[error("the delivery could not be ended on {ack}")]
pub struct AckError {
    /// Where it was tried.
    pub ack: AckSubject,
    /// Why. [`RequestError::NoResponders`]: its consumer is gone, or has no leader at the moment,
    /// and nothing was done.
    #[source]
    pub source: RequestError,
}

/// What an ack subject says about its delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) ack: AckSubject,
    pub(crate) stream: String,
    pub(crate) consumer: String,
    pub(crate) delivered: u64,
    pub(crate) stream_seq: u64,
    pub(crate) consumer_seq: u64,
    pub(crate) stored: Time,
    pub(crate) pending: u64,
}

impl Delivery {
    pub(crate) fn new(message: async_nats::Message, meta: Meta, bus: Bus, ender: Ender) -> Self {
        Self { message, meta, bus, ender, open: true }
    }

    /// The subject that the message was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.message.subject
    }

    /// The body.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(self.message.headers.as_ref(), name)
    }

    /// The message's sequence in its stream.
    #[must_use]
    pub const fn queue_seq(&self) -> u64 {
        self.meta.stream_seq
    }

    /// How often it was delivered, this time included.
    #[must_use]
    pub const fn delivered(&self) -> u64 {
        self.meta.delivered
    }

    /// How many messages its consumer has not delivered yet.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.meta.pending
    }

    /// When the stream stored it.
    #[must_use]
    pub const fn stored(&self) -> Time {
        self.meta.stored
    }

    /// The stream.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.meta.stream
    }

    /// The consumer that delivered it.
    #[must_use]
    pub fn consumer(&self) -> &str {
        &self.meta.consumer
    }

    /// Where it is ended.
    #[must_use]
    pub const fn ack_subject(&self) -> &AckSubject {
        &self.meta.ack
    }

    /// It is done: a work queue forgets the message.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn ack(self) -> Result<(), AckError> {
        self.end("+ACK".into()).await
    }

    /// Deliver it again, at once or after `delay`.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn nak(self, delay: Option<Duration>) -> Result<(), AckError> {
        self.end(nak_words(delay)).await
    }

    /// Never deliver it again. A work queue forgets the message, so what is in it must be safe
    /// elsewhere before.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn term(self, why: &str) -> Result<(), AckError> {
        self.end(term_words(why)).await
    }

    /// Somebody works on it: its ack wait begins anew.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn in_progress(&self) -> Result<(), AckError> {
        self.bus.tell(&self.meta.ack, "+WPI".into()).await
    }

    /// An attempt has begun on it. From here on a drop leaves the message alone: whether it may be
    /// handed out again is for whoever finds in the task's log that the attempt is over.
    pub fn leave_to_log(&mut self) {
        self.open = false;
    }

    /// From here on somebody else ends it, under the subject that this gives.
    #[must_use]
    pub fn hand_over(mut self) -> AckSubject {
        self.open = false;
        self.meta.ack.clone()
    }

    /// Gives it back to its queue without waiting for an answer, where nobody can wait.
    pub(crate) fn give_back(mut self) {
        self.open = false;
        self.ender.nak(self.meta.ack.clone(), None);
    }

    async fn end(mut self, words: Bytes) -> Result<(), AckError> {
        let outcome = self.bus.tell(&self.meta.ack, words).await;
        // Only now: a caller that gives up while this waits has dropped an open delivery.
        self.open = false;
        outcome
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        tracing::error!(ack = %self.meta.ack, "a delivery was dropped without being ended");
        self.ender.tally.dropped.fetch_add(1, Ordering::Relaxed);
        self.ender.nak(self.meta.ack.clone(), Some(DROPPED_DELAY));
    }
}

impl AckSubject {
    /// Where an open delivery is ended of which only its message is known: the server looks at the
    /// message's sequence alone, and wants the delivery's to be one that is still open.
    #[must_use]
    pub fn of_open(stream: &str, consumer: &str, seq: u64, newest: u64) -> Self {
        Self(format!("$JS.ACK.{stream}.{consumer}.1.{seq}.{newest}.0.0"))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AckSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AckSubject {
    type Err = AckSubjectError;

    fn from_str(text: &str) -> Result<Self, AckSubjectError> {
        Meta::parse(text).map(|meta| meta.ack)
    }
}

impl Meta {
    /// Reads both forms: `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer
    /// seq>.<time>.<pending>`, and the one that has domain and account before the stream, and may
    /// have more at its end.
    pub(crate) fn parse(text: &str) -> Result<Self, AckSubjectError> {
        Self::read(text).ok_or_else(|| AckSubjectError { text: head(text, 200).to_owned() })
    }

    fn read(text: &str) -> Option<Self> {
        let tokens: Vec<&str> = text.strip_prefix("$JS.ACK.")?.split('.').collect();
        let words =
            |token: &&str| !token.is_empty() && !token.contains(['*', '>', ' ', '\r', '\n']);
        if !tokens.iter().all(words) {
            return None;
        }
        let known = if tokens.len() == 7 { tokens.as_slice() } else { tokens.get(2..9)? };
        let [stream, consumer, delivered, stream_seq, consumer_seq, nanos, pending] = known else {
            return None;
        };
        Some(Self {
            ack: AckSubject(text.to_owned()),
            stream: (*stream).to_owned(),
            consumer: (*consumer).to_owned(),
            delivered: delivered.parse().ok()?,
            stream_seq: stream_seq.parse().ok()?,
            consumer_seq: consumer_seq.parse().ok()?,
            stored: Time::from_micros(nanos.parse::<i64>().ok()? / 1_000),
            pending: pending.parse().ok()?,
        })
    }
}

impl Bus {
    /// Ends a delivery as done, by its subject: for whoever took it over, and to try an ack again
    /// whose outcome is not known.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn ack(&self, delivery: &AckSubject) -> Result<(), AckError> {
        self.tell(delivery, "+ACK".into()).await
    }

    /// Has a delivery made again at once, for a holder that is gone. Whoever calls this must know
    /// from the log that the holder's attempt is over: it acts on whoever holds the message now.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn nak_on_behalf(&self, delivery: &AckSubject) -> Result<(), AckError> {
        self.tell(delivery, nak_words(None)).await
    }

    async fn tell(&self, ack: &AckSubject, words: Bytes) -> Result<(), AckError> {
        let failed = |source| AckError { ack: ack.clone(), source };
        let answer = self.ask(ack.as_str(), None, words, REQUEST_TIMEOUT).await.map_err(failed)?;
        if answer.payload.is_empty() {
            return Ok(());
        }
        // Today's server answers with nothing; words of a later one may be a refusal.
        read_answer::<Value>(ack.as_str().to_owned(), &answer.payload).map(drop).map_err(failed)
    }
}

/// What happened to the deliveries of one intake, counted since it was opened.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) dropped: AtomicU64,
    pub(crate) late: AtomicU64,
    pub(crate) pulls: AtomicU64,
    pub(crate) voided: AtomicU64,
    pub(crate) alien: AtomicU64,
}

/// Sends the naks of those who cannot wait: a drop is not async.
#[derive(Clone, Debug)]
pub(crate) struct Ender {
    /// The other end is a task that lives as long as any clone of this.
    naks: mpsc::Sender<(AckSubject, Option<Duration>)>,
    pub(crate) tally: Arc<Tally>,
}

impl Ender {
    /// Starts the task that sends, in the caller's runtime.
    pub(crate) fn start(bus: &Bus) -> Self {
        let (naks, mut queued) = mpsc::channel::<(AckSubject, Option<Duration>)>(NAKS_QUEUED);
        let nats = bus.nats().clone();
        tokio::spawn(async move {
            while let Some((ack, delay)) = queued.recv().await {
                if let Err(error) = nats.publish(ack.0, nak_words(delay)).await {
                    tracing::warn!(%error, "a nak could not be sent; its ack wait will do");
                }
            }
        });
        Self { naks, tally: Arc::default() }
    }

    /// Naks without waiting for anything.
    pub(crate) fn nak(&self, ack: AckSubject, delay: Option<Duration>) {
        if let Err(error) = self.naks.try_send((ack, delay)) {
            tracing::warn!(%error, "a nak could not be queued; its ack wait will do");
        }
    }
}

fn nak_words(delay: Option<Duration>) -> Bytes {
    match delay {
        None => "-NAK".into(),
        Some(delay) => format!("-NAK {{\"delay\":{}}}", delay.as_nanos()).into(),
    }
}

/// The reason becomes one line, since the server repeats it in an advisory.
fn term_words(why: &str) -> Bytes {
    let line: String =
        head(why, TERM_BYTES).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("+TERM {line}").into()
}

/// The first value of a header, where there are headers.
pub(crate) fn header<'a>(
    headers: Option<&'a async_nats::HeaderMap>,
    name: &str,
) -> Option<&'a str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_ack_subject_are_read() {
        let check = |text: &str| {
            let meta = Meta::parse(text).unwrap();
            assert_eq!((meta.stream.as_str(), meta.consumer.as_str()), ("AGENT_TASKS", "cto"));
            assert_eq!((meta.delivered, meta.stream_seq, meta.consumer_seq), (2, 345, 678));
            assert_eq!((meta.stored.micros(), meta.pending), (1_778_423_381_000_001, 9));
            assert_eq!(meta.ack.as_str(), text);
        };
        let end = "AGENT_TASKS.cto.2.345.678.1778423381000001999.9";
        check(&format!("$JS.ACK.{end}"));
        check(&format!("$JS.ACK._.ACCHASH.{end}"));
        check(&format!("$JS.ACK.hub.ACCHASH.{end}.token"));
        check(&format!("$JS.ACK.hub.ACCHASH.{end}.token.later"));
    }

    #[test]
    fn what_is_no_ack_subject_is_refused() {
        for text in [
            "",
            "$JS.ACK.",
            "$JS.API.STREAM.PURGE.S",
            "$JS.ACK.S.C.1.2.3.4",
            "$JS.ACK.S.C.1.2.3.4.x",
            "$JS.ACK.S.C.1.2.3.4.5.6",
            "$JS.ACK.S.*.1.2.3.4.5",
            "$JS.ACK.S..1.2.3.4.5",
            "$JS.ACK.S.C.1.2.3.4.5\r\nPUB x 0",
        ] {
            assert!(text.parse::<AckSubject>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn ends_are_written_as_the_server_reads_them() {
        assert_eq!(nak_words(None), "-NAK");
        let delayed = nak_words(Some(Duration::from_millis(1500)));
        assert_eq!(delayed, "-NAK {\"delay\":1500000000}");
        assert_eq!(term_words("two\nlines"), "+TERM two lines");
        assert_eq!(term_words(&"x".repeat(9_999)).len(), 6 + TERM_BYTES);
    }
}
