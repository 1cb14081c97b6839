//! One question to the server and its answer. A missing answer is [`RequestError::Unknown`], never
//! taken for a failure: what was asked may have been done.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sinew_model::limits::{GATHER_QUIET, REQUEST_TIMEOUT};

use crate::{clock, connect::Bus};

/// What the server calls unavailable and only an operator mends: no room (10023, 10028, 10047,
/// 10077), or no JetStream for this account (10039).
const UNAVAILABLE_FOR_GOOD: [u32; 5] = [10023, 10028, 10039, 10047, 10077];

/// What the server says when it refuses.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, thiserror::Error)]
#[error("{description} (code {code}, error {err_code})")]
pub struct ApiError {
    /// Like an HTTP status.
    #[serde(default)]
    pub code: u16,
    /// The server's own number for this error.
    #[serde(default)]
    pub err_code: u32,
    /// In words.
    #[serde(default)]
    pub description: String,
}

/// Why there is no answer to use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody answered in time, or the connection broke: it is not known whether it was done.
    #[error("no answer on {subject} within {} ms", .after.as_millis())]
    Unknown {
        /// Where it was asked.
        subject: String,
        /// How long the answer was awaited.
        after: Duration,
    },
    /// Nobody listens there: JetStream is off or has no leader now, or the name is wrong. Nothing was done.
    #[error("nobody answers on {subject}")]
    NoResponders {
        /// Where it was asked.
        subject: String,
    },
    /// The server refused.
    #[error("the server refused {subject}")]
    Refused {
        /// Where it was asked.
        subject: String,
        /// What it said.
        #[source]
        source: ApiError,
    },
    /// The request could not be sent: its subject or size is not acceptable.
    #[error("the request on {subject} could not be sent: {why}")]
    Unsendable {
        /// Where it was to be asked.
        subject: String,
        /// What the client says.
        why: String,
    },
    /// The answer is not what the server promises.
    #[error("the answer on {subject} is not readable")]
    Unreadable {
        /// Where it was asked.
        subject: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
}

impl RequestError {
    /// The server's own error number, where it refused.
    #[must_use]
    pub fn refusal(&self) -> Option<u32> {
        match self {
            Self::Refused { source, .. } => Some(source.err_code),
            Self::Unknown { .. }
            | Self::NoResponders { .. }
            | Self::Unsendable { .. }
            | Self::Unreadable { .. } => None,
        }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::NoResponders { .. } => true,
            // A cluster without a leader among others (10008).
            Self::Refused { source, .. } => {
                source.code == 503 && !UNAVAILABLE_FOR_GOOD.contains(&source.err_code)
            }
            Self::Unsendable { .. } | Self::Unreadable { .. } => false,
        }
    }
}

#[derive(Deserialize)]
struct Refusable {
    error: Option<ApiError>,
}

impl Bus {
    /// Asks the JetStream API: `call` is what follows `$JS.API.`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn api<T: DeserializeOwned>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<T, RequestError> {
        let subject = format!("$JS.API.{call}");
        let payload = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.ask(&subject, None, payload.into(), REQUEST_TIMEOUT).await?;
        read_answer(subject, &answer.payload)
    }

    /// Asks whoever answers on a subject, such as the server itself on `$SYS.REQ...`, and gives the
    /// first answer as it came.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn call(
        &self,
        subject: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Result<bytes::Bytes, RequestError> {
        let answer = self.ask(subject, None, body.into(), REQUEST_TIMEOUT).await?;
        Ok(answer.payload)
    }

    /// Asks all who answer on a subject, such as every server of a cluster, and gives the answers
    /// that came until none came any more.
    ///
    /// # Errors
    /// See [`RequestError`]; [`RequestError::Unknown`] where nobody answered.
    pub async fn gather(
        &self,
        subject: &str,
        body: impl Into<bytes::Bytes>,
    ) -> Result<Vec<bytes::Bytes>, RequestError> {
        let nats = self.nats();
        let unsendable = |why| RequestError::Unsendable { subject: subject.to_owned(), why };
        let reply = nats.new_inbox();
        let mut answers =
            nats.subscribe(reply.clone()).await.map_err(|error| unsendable(error.to_string()))?;
        nats.publish_with_reply(subject.to_owned(), reply, body.into())
            .await
            .map_err(|error| unsendable(error.to_string()))?;
        let mut heard = Vec::new();
        let mut end = clock::instant() + REQUEST_TIMEOUT;
        while let Ok(Some(answer)) =
            tokio::time::timeout_at(end, futures::StreamExt::next(&mut answers)).await
        {
            if answer.status.is_some() {
                return Err(RequestError::NoResponders { subject: subject.to_owned() });
            }
            heard.push(answer.payload);
            end = clock::instant() + GATHER_QUIET;
        }
        if heard.is_empty() {
            return Err(RequestError::Unknown {
                subject: subject.to_owned(),
                after: REQUEST_TIMEOUT,
            });
        }
        Ok(heard)
    }

    /// Publishes without an answer: nobody may be there, and it may be lost. For signs of life.
    ///
    /// # Errors
    /// When it can't be sent.
    pub async fn send_unanswered(
        &self,
        subject: &sinew_model::Subject,
        payload: impl Into<bytes::Bytes>,
    ) -> Result<(), RequestError> {
        let sent = self.nats().publish(subject.as_str().to_owned(), payload.into()).await;
        sent.map_err(|error| RequestError::Unsendable {
            subject: subject.to_string(),
            why: error.to_string(),
        })
    }

    /// Sends one request and gives the answer as it came.
    pub(crate) async fn ask(
        &self,
        subject: &str,
        headers: Option<async_nats::HeaderMap>,
        payload: bytes::Bytes,
        patience: Duration,
    ) -> Result<async_nats::Message, RequestError> {
        ask(self.nats(), subject, headers, payload, patience).await
    }
}

/// [`Bus::ask`] for what must outlive no [`Bus`].
pub(crate) async fn ask(
    client: &async_nats::Client,
    subject: &str,
    headers: Option<async_nats::HeaderMap>,
    payload: bytes::Bytes,
    patience: Duration,
) -> Result<async_nats::Message, RequestError> {
    let mut request = async_nats::Request::new().payload(payload).timeout(Some(patience));
    if let Some(headers) = headers {
        request = request.headers(headers);
    }
    client.send_request(subject.to_owned(), request).await.map_err(|error| {
        use async_nats::RequestErrorKind as Kind;
        let subject = subject.to_owned();
        match error.kind() {
            Kind::NoResponders => RequestError::NoResponders { subject },
            Kind::TimedOut => RequestError::Unknown { subject, after: patience },
            Kind::InvalidSubject | Kind::MaxPayloadExceeded => {
                RequestError::Unsendable { subject, why: error.to_string() }
            }
            Kind::Other => RequestError::Unknown { subject, after: Duration::ZERO },
        }
    })
}

/// Reads an answer that may be a refusal.
pub(crate) fn read_answer<T: DeserializeOwned>(
    subject: String,
    payload: &[u8],
) -> Result<T, RequestError> {
    let unreadable = |subject, source| RequestError::Unreadable { subject, source };
    match serde_json::from_slice::<Refusable>(payload) {
        Ok(Refusable { error: Some(source) }) => Err(RequestError::Refused { subject, source }),
        Ok(Refusable { error: None }) => {
            serde_json::from_slice(payload).map_err(|source| unreadable(subject, source))
        }
        Err(source) => Err(unreadable(subject, source)),
    }
}
