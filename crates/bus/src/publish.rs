//! Publishing with group commit. Callers that publish to one stream at the same time share one
//! atomic batch, hence one fsync, where that is faster than each for itself; nobody waits for
//! company, and everybody gets an answer of their own. What has an id is repeated under that id until its outcome is known.
//!
//! Nothing here writes to the log of a task or a meeting, but for the guarded append in [`append`].
//!
//! Read it in this order: this file is what callers see; `committer` coalesces and repeats; `send`
//! carries one group to the server, as a batch or not, as `choice` says; [`service`] does all of it
//! for other processes.

mod committer;
mod message;
mod pace;
mod refusal;
mod send;
mod stats;

pub mod append;
pub mod service;

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use sinew_model::{Address, Subject, Time, limits, signature::Speaker};

pub use append::AppendError;
pub(crate) use committer::Committers;
use committer::{Failure, Order};
use message::Message;
pub use service::{CommitService, ServeError};
pub use stats::PublishStats;

use crate::{connect::Bus, request::ApiError};

/// A message on its way into a stream.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outgoing {
    stream: Cow<'static, str>,
    pub(crate) subject: Subject,
    pub(crate) payload: Bytes,
    pub(crate) id: Option<String>,
    pub(crate) guard: Option<Guard>,
    pub(crate) headers: Vec<(String, String)>,
    patience: Duration,
    /// For whom it speaks, for its signature.
    pub(crate) by: Speaker,
    /// The subject on which readers find it, where the server moves it there.
    pub(crate) read_on: Option<Subject>,
    /// When the server moves it there.
    pub(crate) due: Option<Time>,
}

/// Compare-and-set: the newest message that `filter` matches must have this sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    filter: String,
    pub(crate) seq: u64,
}

impl Outgoing {
    /// A message for `stream`. Where the subject belongs to another stream, it is refused.
    pub fn new(
        stream: impl Into<Cow<'static, str>>,
        subject: Subject,
        payload: impl Into<Bytes>,
    ) -> Self {
        Self {
            stream: stream.into(),
            subject,
            payload: payload.into(),
            id: None,
            guard: None,
            headers: Vec::new(),
            patience: limits::PUBLISH_PATIENCE,
            by: Speaker::default(),
            read_on: None,
            due: None,
        }
    }

    /// For whom it speaks: what its signature says besides whose key it is.
    pub fn by(mut self, by: Speaker) -> Self {
        self.by = by;
        self
    }

    /// It is a schedule: readers find it on another subject, when it is due. Its signature is for
    /// there.
    pub fn read_on(mut self, subject: Subject, due: Time) -> Self {
        (self.read_on, self.due) = (Some(subject), Some(due));
        self
    }

    /// The message id. The stream stores one message of it within its dedup window, so a publish
    /// with an id is repeated when its answer is lost; one without is not.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Stores it only while the newest message that `filter` matches has this sequence; 0: while
    /// there is none.
    pub fn expecting(mut self, filter: &Subject, seq: u64) -> Self {
        self.guard = Some(Guard { filter: filter.to_string(), seq });
        self
    }

    /// A header of its own. Those of the message id, of guards and of batches are refused here.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How long it is repeated before its outcome is given up as unknown, at most
    /// [`limits::PUBLISH_PATIENCE_LONGEST`].
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience.min(limits::PUBLISH_PATIENCE_LONGEST);
        self
    }
}

/// A message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its sequence in the stream.
    pub seq: u64,
    /// It was stored before, under the same id; this is the sequence that it got then.
    pub duplicate: bool,
}

/// Why a message is not stored, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The subject is one of the log of a task or a meeting: only guarded appends write there.
    #[error("{subject} belongs to a log, which takes guarded appends only")]
    TaskLog {
        /// The subject.
        subject: String,
    },
    /// A header that can't be sent, or that only the bus itself may set.
    #[error("the header {name:?} can't be set")]
    Header {
        /// Its name.
        name: String,
    },
    /// The message is larger than the server or the stream takes.
    #[error("a message of {bytes} bytes is too large")]
    TooLarge {
        /// Its size with headers.
        bytes: usize,
        /// What the server takes; `None` where the stream refused it, which does not say.
        limit: Option<usize>,
    },
    /// The stream, or the account's storage, is full. Nothing was stored.
    #[error("{stream} is full")]
    Full {
        /// The stream.
        stream: String,
        /// Which of its limits is reached.
        #[source]
        source: ApiError,
    },
    /// Somebody else wrote first: the guard does not hold.
    #[error("somebody else wrote to {stream} first")]
    Conflict {
        /// The stream.
        stream: String,
        /// The answer to an earlier try was lost, so the first writer may have been oneself: read
        /// back, and compare the id.
        doubtful: bool,
    },
    /// It could not be signed: nobody would know whose signature it is. Nothing was sent.
    #[error("it can't be signed: {why}")]
    Unsigned {
        /// Why.
        why: String,
    },
    /// There is no such stream, or it does not take this subject. Nothing was stored.
    #[error("there is no stream {stream} that takes {subject}")]
    NoStream {
        /// The stream.
        stream: String,
        /// The subject.
        subject: String,
    },
    /// The server refused for another reason. Nothing was stored.
    #[error("{stream} refused the message")]
    Refused {
        /// The stream.
        stream: String,
        /// What it said.
        #[source]
        source: ApiError,
    },
    /// There was no connection, or nobody who answers for the stream. Nothing was stored.
    #[error("{stream} was not reachable within {} ms", .after.as_millis())]
    Unreachable {
        /// The stream.
        stream: String,
        /// How long it was tried.
        after: Duration,
    },
    /// It was sent and no answer came: it may be stored, now or later. Whoever repeats it must do
    /// so with the same id.
    #[error("{stream} did not answer within {} ms", .after.as_millis())]
    Unknown {
        /// The stream.
        stream: String,
        /// How long it was tried.
        after: Duration,
    },
}

impl PublishError {
    /// What a failure means for this message.
    fn of(failure: Failure, stream: &str, subject: &str, bytes: usize) -> Self {
        let stream = stream.to_owned();
        match failure {
            Failure::Full(source) => Self::Full { stream, source },
            Failure::TooLarge => Self::TooLarge { bytes, limit: None },
            Failure::Conflict { doubtful } => Self::Conflict { stream, doubtful },
            Failure::NoStream => Self::NoStream { stream, subject: subject.to_owned() },
            Failure::Refused(source) => Self::Refused { stream, source },
            Failure::Unreachable { after } => Self::Unreachable { stream, after },
            Failure::Unknown { after } => Self::Unknown { stream, after },
        }
    }
}

impl Bus {
    /// Publishes, and returns when the message is stored. Publishes that are awaited one after the
    /// other keep their order. Dropping the future withdraws what was not yet sent.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish(&self, out: Outgoing) -> Result<Accepted, PublishError> {
        let subject = out.subject.as_str();
        if matches!(
            self.subjects().parse(subject),
            Some(Address::Entry(..) | Address::MeetingMessages(_) | Address::MeetingDecisions(_))
        ) {
            return Err(PublishError::TaskLog { subject: subject.to_owned() });
        }
        self.commit(out).await
    }

    /// Signs and publishes whatever it is. Only [`Bus::publish`] and [`Bus::append`] come here.
    async fn commit(&self, out: Outgoing) -> Result<Accepted, PublishError> {
        let out = self.sign(out).await?;
        self.send(out).await
    }

    /// Publishes it as it is. Besides [`Bus::commit`] only what makes the own key known comes here.
    pub(crate) async fn send(&self, out: Outgoing) -> Result<Accepted, PublishError> {
        let (stream, patience) = (out.stream.clone(), out.patience);
        let message = Message::new(out).map_err(|name| PublishError::Header { name })?;
        let (subject, bytes, limit) = (message.subject.clone(), message.bytes, self.max_payload());
        if bytes > limit {
            return Err(PublishError::TooLarge { bytes, limit: Some(limit) });
        }
        self.submit(Order { message, direct: false, patience }, &stream)
            .await
            .map_err(|failure| PublishError::of(failure, &stream, &subject, bytes))
    }

    /// What publishing has done on this connection so far.
    #[must_use]
    pub fn publish_stats(&self) -> PublishStats {
        self.committers().stats()
    }
}
