//! Reads what streams hold: one message, a task's whole log, a stream from a sequence on, counts.
//! Nothing here changes anything, and nothing is read from a replica that may be behind without
//! being checked against the leader.

mod backlog;
mod history;
mod message;
mod scan;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use sinew_model::{
    Time,
    limits::{DEPTH_SUBJECTS, READ_AGAIN, READ_PATIENCE},
};

use crate::{
    clock,
    connect::Bus,
    request::{ApiError, RequestError},
};

pub use backlog::Backlog;
pub use history::{History, HistoryError, Logged};
pub use message::RawMessage;
pub use scan::{Scan, ScanError};

/// The server's number for a message that it does not have.
const MESSAGE_NOT_FOUND: u32 = 10_037;

/// The server's number for a consumer that it does not have.
const CONSUMER_NOT_FOUND: u32 = 10_014;

/// What a stream holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct StreamState {
    /// The sequence of the oldest message.
    #[serde(default)]
    pub first_seq: u64,
    /// The sequence of the newest message that there ever was.
    #[serde(default)]
    pub last_seq: u64,
    /// How many there are.
    #[serde(default)]
    pub messages: u64,
    /// Their size.
    #[serde(default)]
    pub bytes: u64,
    /// How many it may have; `None` for no limit.
    #[serde(skip)]
    pub most: Option<u64>,
}

/// Why the messages of each subject could not be counted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepthError {
    /// The server could not be asked.
    #[error("the messages of {stream} could not be counted")]
    Request {
        /// The stream.
        stream: String,
        /// Why.
        #[source]
        source: RequestError,
    },
    /// There are more subjects than may be counted one by one.
    #[error("{filter} matches {total} subjects of {stream}, too many to count one by one")]
    TooMany {
        /// The stream.
        stream: String,
        /// The filter.
        filter: String,
        /// How many subjects there are.
        total: usize,
    },
}

/// The range of a stream's sequences in which the open deliveries of a consumer lie, both ends
/// included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last; below `first` where there is none.
    pub last: u64,
    /// The consumer's own number of its newest delivery.
    pub newest_delivery: u64,
}

#[derive(Deserialize)]
struct ConsumerInfo {
    delivered: Reached,
    ack_floor: Reached,
    num_ack_pending: u64,
}

#[derive(Deserialize)]
struct Reached {
    consumer_seq: u64,
    stream_seq: u64,
}

#[derive(Deserialize)]
struct Info {
    state: InfoState,
    #[serde(default)]
    config: InfoConfig,
    /// The server's clock at the answer.
    ts: Option<Time>,
    #[serde(default)]
    total: usize,
}

#[derive(Default, Deserialize)]
struct InfoConfig {
    /// -1 for no limit.
    #[serde(default)]
    max_msgs: i64,
}

#[derive(Deserialize)]
struct InfoState {
    #[serde(flatten)]
    state: StreamState,
    #[serde(default)]
    subjects: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
struct Got {
    message: message::Encoded,
}

impl Bus {
    /// The newest message on the subjects of `filter`, from the stream's leader.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn last(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<Option<RawMessage>, RequestError> {
        self.get(stream, &json!({ "last_by_subj": filter })).await
    }

    /// The message with that sequence, from the stream's leader.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn at(&self, stream: &str, seq: u64) -> Result<Option<RawMessage>, RequestError> {
        self.get(stream, &json!({ "seq": seq })).await
    }

    /// The first message on the subjects of `filter` from `seq` on, from the stream's leader.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn first_from(
        &self,
        stream: &str,
        filter: &str,
        seq: u64,
    ) -> Result<Option<RawMessage>, RequestError> {
        self.get(stream, &json!({ "seq": seq, "next_by_subj": filter })).await
    }

    /// Reading changes nothing, so it is repeated where the answer got lost or a leader is elected.
    async fn get(&self, stream: &str, which: &Value) -> Result<Option<RawMessage>, RequestError> {
        let call = format!("STREAM.MSG.GET.{stream}");
        let end = clock::instant() + READ_PATIENCE;
        let answer = loop {
            match self.api::<Got>(&call, which).await {
                Err(error) if error.is_passing() && clock::instant() < end => {
                    clock::pause(READ_AGAIN).await;
                }
                answer => break answer,
            }
        };
        match answer {
            Ok(got) => got.message.decode().map(Some).map_err(|why| {
                // A message that cannot be read is the server's refusal to give it, in effect.
                let source = ApiError { code: 0, err_code: 0, description: why };
                RequestError::Refused { subject: format!("$JS.API.{call}"), source }
            }),
            Err(error) if error.refusal() == Some(MESSAGE_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Where the open deliveries of a consumer lie in its stream; `None` where there is no such
    /// consumer. What the stream still holds within these bounds is open, since a work queue deletes
    /// what is acked; besides it may be what was given up where the consumer limits deliveries.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn open_deliveries(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<Span>, RequestError> {
        let call = format!("CONSUMER.INFO.{stream}.{consumer}");
        match self.api::<ConsumerInfo>(&call, &Value::Null).await {
            Ok(info) => Ok(Some(Span {
                // The floor moves only when something above it is acked.
                first: match info.num_ack_pending {
                    0 => info.delivered.stream_seq.saturating_add(1),
                    _ => info.ack_floor.stream_seq.saturating_add(1),
                },
                last: info.delivered.stream_seq,
                newest_delivery: info.delivered.consumer_seq,
            })),
            Err(error) if error.refusal() == Some(CONSUMER_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a stream holds.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn stream_state(&self, stream: &str) -> Result<StreamState, RequestError> {
        let info: Info = self.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
        let most = u64::try_from(info.config.max_msgs).ok().filter(|most| *most > 0);
        Ok(StreamState { most, ..info.state.state })
    }

    /// What time it is by the clock of the server that leads `stream`. Where several processes decide
    /// on a moment, that one clock is worth more than theirs.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn server_time(&self, stream: &str) -> Result<Time, RequestError> {
        let call = format!("STREAM.INFO.{stream}");
        let info: Info = self.api(&call, &Value::Null).await?;
        info.ts.ok_or_else(|| {
            let description = "it does not say what time it is".to_owned();
            let source = ApiError { code: 0, err_code: 0, description };
            RequestError::Refused { subject: format!("$JS.API.{call}"), source }
        })
    }

    /// How many messages each subject of `filter` has. The filter must be narrow: the server
    /// looks at every subject that matches.
    ///
    /// # Errors
    /// See [`DepthError`].
    pub async fn depth(
        &self,
        stream: &str,
        filter: &str,
    ) -> Result<BTreeMap<String, u64>, DepthError> {
        let mut counts = BTreeMap::new();
        let mut offset = 0;
        loop {
            let page = json!({ "subjects_filter": filter, "offset": offset });
            let info: Info = self
                .api(&format!("STREAM.INFO.{stream}"), &page)
                .await
                .map_err(|source| DepthError::Request { stream: stream.to_owned(), source })?;
            if info.total > DEPTH_SUBJECTS {
                let (stream, filter) = (stream.to_owned(), filter.to_owned());
                return Err(DepthError::TooMany { stream, filter, total: info.total });
            }
            let subjects = info.state.subjects.unwrap_or_default();
            offset += subjects.len();
            let done = subjects.is_empty() || offset >= info.total;
            counts.extend(subjects);
            if done {
                return Ok(counts);
            }
        }
    }

    /// Hears what is published on `filter` while somebody listens: a hint that may be lost, and
    /// never the truth, which is read from a stream. The server knows of it once anything that is
    /// asked afterwards on this connection has been answered.
    ///
    /// # Errors
    /// In words, when the filter is not one or the connection is closed.
    pub async fn watch_subject(&self, filter: &str) -> Result<Hints, String> {
        let hints = self.nats().subscribe(filter.to_owned()).await;
        hints.map(Hints).map_err(|error| error.to_string())
    }
}

/// Messages as they are published, without a promise; see [`Bus::watch_subject`].
#[derive(Debug)]
pub struct Hints(async_nats::Subscriber);

/// One message that was heard.
#[derive(Clone, Debug)]
pub struct Hint(async_nats::Message);

impl Hints {
    /// The next one; `None` when the connection is closed for good.
    pub async fn next(&mut self) -> Option<Hint> {
        futures::StreamExt::next(&mut self.0).await.map(Hint)
    }
}

impl Hint {
    /// The subject that it was published on.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The body.
    #[must_use]
    pub const fn payload(&self) -> &bytes::Bytes {
        &self.0.payload
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        crate::delivery::header(self.0.headers.as_ref(), name)
    }
}
