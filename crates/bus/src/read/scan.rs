//! A stream from a sequence up to now and then on: every message once, in order, without a gap.
//! It is for streams that keep what they hold; a work queue lets nobody look in from aside.
//!
//! It reads through a consumer of its own that the server forgets when nobody reads. Whatever is
//! doubtful (a reconnect, silence, a gap in the consumer's count) makes it begin anew behind the
//! last message that was given out; so nothing depends on what happened on the way.

use std::time::Duration;

use async_nats::connection::State;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use sinew_model::limits::{
    PULL_BACK_OFF, PULL_BACK_OFF_LONGEST, PULL_HEARTBEAT, PULL_SILENCE, SCAN_BATCH, SCAN_IDLE,
};
use tokio::sync::watch;

use super::message::RawMessage;
use crate::{
    clock,
    connect::Bus,
    consume::pull::{Patience, Status, Target, nanos},
    delivery::Meta,
    request::RequestError,
};

/// Another reader has a consumer of this name.
const CONSUMER_DIFFERS: u32 = 10_148;

/// Why a scan cannot go on. What passes is got over inside.
#[derive(Debug, thiserror::Error)]
#[error("the stream {stream} cannot be read from sequence {from} on")]
pub struct ScanError {
    /// The stream.
    pub stream: String,
    /// The next sequence to be read. The scan is still at this place when it is asked again.
    pub from: u64,
    /// Why.
    #[source]
    pub source: RequestError,
}

/// The reading of a stream; see [`Bus::scan`].
#[derive(Debug)]
pub struct Scan {
    bus: Bus,
    stream: String,
    filter: String,
    /// The next sequence to be read.
    from: u64,
    /// Messages that are not read yet, as far as is known.
    pending: u64,
    connections: watch::Receiver<u64>,
    /// `None` while it has to begin anew.
    source: Option<Source>,
    /// Failures in a row.
    failures: u32,
}

/// The consumer that a scan reads through.
#[derive(Debug)]
struct Source {
    bus: Bus,
    /// Where the server is asked to forget it.
    delete: String,
    target: Target,
    /// How many messages it has given.
    count: u64,
    /// The pull that is open, and how many messages it may still bring.
    pull: Option<(async_nats::Subscriber, usize)>,
}

/// What a look at the open pull brought.
enum Step {
    Message(Box<RawMessage>),
    /// All is well; look again.
    Again,
    /// Begin anew.
    Doubt(&'static str),
}

#[derive(Deserialize)]
struct Created {
    #[serde(default)]
    num_pending: u64,
}

impl Bus {
    /// Reads the messages of `filter` in `stream`, from the sequence `from` on and then live.
    ///
    /// # Errors
    /// When it cannot begin, see [`ScanError`].
    pub async fn scan(&self, stream: &str, filter: &str, from: u64) -> Result<Scan, ScanError> {
        let mut scan = Scan {
            bus: self.clone(),
            stream: stream.to_owned(),
            filter: filter.to_owned(),
            from: from.max(1),
            pending: 0,
            connections: self.connections(),
            source: None,
            failures: 0,
        };
        scan.begin().await.map_err(|source| scan.failed(source))?;
        Ok(scan)
    }
}

impl Scan {
    /// The next message; it waits for one that is not there yet. May be cancelled without losing
    /// anything.
    ///
    /// # Errors
    /// See [`ScanError`]; it may be called again after one.
    pub async fn next(&mut self) -> Result<RawMessage, ScanError> {
        loop {
            if self.source.is_none() {
                self.begin_again().await?;
            }
            match self.step().await {
                Step::Message(message) => return Ok(*message),
                Step::Again => {}
                Step::Doubt(why) => {
                    tracing::debug!(stream = self.stream, from = self.from, why, "scanning anew");
                    self.source = None;
                }
            }
        }
    }

    /// The next message up to the sequence `end`, and `None` where the stream has no more up to
    /// there. Whoever acts on what is *not* there needs this one: the consumer of a scan is on one
    /// server, and if that one has not caught up with the others, it says that nothing is pending
    /// when much is. So the end is asked of the stream's leader, and what the server lacks is read
    /// there. Needs the right to read the stream by sequence.
    ///
    /// # Errors
    /// See [`ScanError`]; it may be called again after one.
    pub async fn next_through(&mut self, end: u64) -> Result<Option<RawMessage>, ScanError> {
        if self.from > end {
            return Ok(None);
        }
        if self.source.is_none() {
            self.begin_again().await?;
        }
        if self.pending > 0 {
            // What is pending may have been purged, and then nothing comes.
            if let Ok(next) = tokio::time::timeout(PULL_HEARTBEAT, self.next()).await {
                return next.map(Some);
            }
        }
        let found = self.bus.first_from(&self.stream, &self.filter, self.from).await;
        let found = found.map_err(|source| self.failed(source))?;
        let Some(message) = found.filter(|message| message.seq <= end) else { return Ok(None) };
        tracing::debug!(stream = self.stream, seq = message.seq, "a server lacks a message");
        self.from = message.seq + 1;
        self.source = None;
        Ok(Some(message))
    }

    /// Messages that are still to be read, as far as the server with its consumer knows: 0 is the
    /// end for now, or the end of what that server has; see [`Scan::next_through`].
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.pending
    }

    /// The next sequence to be read: where to go on another time.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.from
    }

    fn failed(&self, source: RequestError) -> ScanError {
        ScanError { stream: self.stream.clone(), from: self.from, source }
    }

    /// Makes a consumer that stands at the next message.
    async fn begin(&mut self) -> Result<(), RequestError> {
        self.source = None;
        self.connections.mark_unchanged();
        let mut refused = None;
        for name in self.bus.scan_names(&self.stream, &self.filter) {
            match self.begin_as(&name).await {
                Err(error) if error.refusal() == Some(CONSUMER_DIFFERS) => refused = Some(error),
                begun => return begun,
            }
        }
        refused.map_or(Ok(()), Err)
    }

    async fn begin_as(&mut self, name: &str) -> Result<(), RequestError> {
        // With the filter in the subject, a permission on the subject bounds what is read.
        let call = format!("CONSUMER.CREATE.{}.{name}.{}", self.stream, self.filter);
        let request = json!({
            "stream_name": self.stream,
            "action": "create",
            "config": {
                "name": name,
                "filter_subject": self.filter,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self.from,
                "ack_policy": "none",
                "max_deliver": 1,
                "inactive_threshold": nanos(SCAN_IDLE),
                "num_replicas": 1,
                "mem_storage": true,
                // So that no other reader has the same consumer by chance.
                "metadata": { "reader": clock::unique() },
            },
        });
        let created: Created = self.bus.api(&call, &request).await?;
        self.pending = created.num_pending;
        let target = Target::new(0, &self.stream, name);
        let delete = format!("$JS.API.CONSUMER.DELETE.{}.{name}", self.stream);
        let bus = self.bus.clone();
        self.source = Some(Source { bus, delete, target, count: 0, pull: None });
        Ok(())
    }

    /// Begins anew until it works, as long as what is in the way passes.
    async fn begin_again(&mut self) -> Result<(), ScanError> {
        loop {
            while self.bus.nats().connection_state() != State::Connected {
                // A request that is sent now would be carried out when nobody waits for it.
                self.rest(PULL_HEARTBEAT).await;
            }
            if self.failures > 0 {
                let doubled = PULL_BACK_OFF.saturating_mul(1 << (self.failures - 1).min(16));
                self.rest(doubled.min(PULL_BACK_OFF_LONGEST)).await;
            }
            self.failures = self.failures.saturating_add(1);
            match self.begin().await {
                Ok(()) => return Ok(()),
                Err(error) if may_pass(&error) => {
                    tracing::debug!(stream = self.stream, %error, "a scan cannot begin yet");
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// A pause that a reconnect ends.
    async fn rest(&mut self, span: Duration) {
        tokio::select! {
            () = clock::pause(span) => {}
            Ok(()) = self.connections.changed() => {}
        }
    }

    async fn step(&mut self) -> Step {
        let Some(source) = &mut self.source else { return Step::Doubt("there is no consumer") };
        let (replies, left) = match &mut source.pull {
            Some((replies, left)) if *left > 0 => (replies, left),
            // The next pull; the one before has brought all that it could.
            pull => match source.target.ask(&self.bus, SCAN_BATCH, Patience::Waiting).await {
                Ok(replies) => {
                    let (replies, left) = pull.insert((replies, SCAN_BATCH));
                    (replies, left)
                }
                Err(_) => return Step::Doubt("the connection is closed"),
            },
        };
        let message = tokio::select! {
            biased;
            _ = self.connections.changed() => return Step::Doubt("the connection was made anew"),
            heard = tokio::time::timeout(PULL_SILENCE, replies.next()) => match heard {
                Ok(Some(message)) => message,
                Ok(None) | Err(_) => return Step::Doubt("nothing was heard"),
            },
        };
        if let Some(status) = message.status {
            let words = message.description.as_deref().unwrap_or_default();
            return match Status::of(status.as_u16(), words) {
                Status::Heartbeat => {
                    self.failures = 0;
                    Step::Again
                }
                Status::Expired => {
                    source.pull = None;
                    Step::Again
                }
                Status::Empty
                | Status::NoResponders
                | Status::Gone
                | Status::AtMost(_)
                | Status::Later(_) => {
                    self.failures = self.failures.max(1);
                    Step::Doubt("the pull was refused")
                }
            };
        }
        let meta = message.reply.as_ref().and_then(|reply| Meta::parse(reply).ok());
        let Some(meta) = meta else { return Step::Again };
        *left -= 1;
        source.count += 1;
        if meta.consumer_seq != source.count || meta.stream_seq < self.from {
            return Step::Doubt("a message is missing");
        }
        self.failures = 0;
        self.from = meta.stream_seq + 1;
        self.pending = meta.pending;
        Step::Message(Box::new(RawMessage::from_delivery(message, &meta)))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // The server forgets the consumer by itself; this only spares it the wait.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let nats = self.bus.nats().clone();
        let call = std::mem::take(&mut self.delete);
        runtime.spawn(async move {
            if let Err(error) = nats.publish(call, bytes::Bytes::new()).await {
                tracing::debug!(%error, "the consumer of a scan is left to its expiry");
            }
        });
    }
}

/// Whether beginning again may help by itself.
fn may_pass(error: &RequestError) -> bool {
    match error {
        RequestError::Unknown { .. } | RequestError::NoResponders { .. } => true,
        // The server's way to say that it has no leader or no room at the moment, or that other
        // readers have all names that this login may use.
        RequestError::Refused { source, .. } => {
            source.code == 503 || source.err_code == CONSUMER_DIFFERS
        }
        RequestError::Unsendable { .. } | RequestError::Unreadable { .. } => false,
    }
}
