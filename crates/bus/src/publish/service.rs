//! Group commit for other processes: they send their publishes to a committer, which puts them
//! into its own batches and passes JetStream's answer on. Many processes so share one fsync.
//!
//! It is a way, not a right: who may send to `genbrain.commit.{stream}` may write to that stream,
//! and to no other. A task's log takes only guarded appends here, as everywhere.

use std::sync::Arc;

use async_nats::{HeaderMap, Message as Request, Subscriber};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_model::{Address, Subjects, header, limits};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Accepted, Guard,
    committer::{Failure, Order},
    message::{Message, is_reserved},
    refusal,
    send::Verdict,
};
use crate::{
    clock,
    connect::Bus,
    request::{ApiError, RequestError},
};

/// Committers share the requests of a stream.
const QUEUE_GROUP: &str = "committers";

// The numbers of the service's own errors, beyond those of the server.

/// The request is none that a committer takes.
const UNACCEPTABLE: u32 = 64_000;
/// Sent to the stream, and not answered.
const UNKNOWN: u32 = 64_001;
/// Not sent to the stream.
const UNREACHABLE: u32 = 64_002;
/// A guard did not hold, but an earlier answer had been lost.
const DOUBTFUL: u32 = 64_003;

/// Why a committer can't serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It could not listen.
    #[error("a committer can't listen on {subject}: {why}")]
    Subscribe {
        /// Where.
        subject: String,
        /// What the client says.
        why: String,
    },
}

/// A committer for other processes. Several may serve one stream.
#[derive(Debug)]
pub struct CommitService {
    bus: Bus,
    streams: Vec<(String, Subscriber)>,
}

impl CommitService {
    /// Listens for publishes to these streams. When it returns, requests find it.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn bind(bus: &Bus, streams: &[&str]) -> Result<Self, ServeError> {
        let mut bound = Vec::new();
        for stream in streams {
            let subject = String::from(bus.subjects().commit(stream));
            let refused = |why| ServeError::Subscribe { subject: subject.clone(), why };
            let subscribed = bus.nats().queue_subscribe(subject.clone(), QUEUE_GROUP.to_owned());
            let subscriber = subscribed.await.map_err(|fault| refused(fault.to_string()))?;
            bus.flush().await.map_err(refused)?;
            bound.push(((*stream).to_owned(), subscriber));
        }
        Ok(Self { bus: bus.clone(), streams: bound })
    }

    /// Serves until `shutdown`, and then answers what it has already got.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut serving = JoinSet::new();
        for (stream, requests) in self.streams {
            serving.spawn(serve(self.bus.clone(), stream.into(), requests, shutdown.clone()));
        }
        while serving.join_next().await.is_some() {}
        if let Err(why) = self.bus.flush().await {
            tracing::warn!(why, "the last answers of a committer may not have been sent");
        }
    }
}

async fn serve(bus: Bus, stream: Arc<str>, mut requests: Subscriber, shutdown: CancellationToken) {
    let room = Arc::new(Semaphore::new(limits::PUBLISHES_QUEUED));
    let mut taken = JoinSet::new();
    let mut end = None;
    loop {
        let request = tokio::select! {
            () = shutdown.cancelled(), if end.is_none() => {
                end = Some(clock::instant() + limits::COMMIT_SERVICE_PATIENCE);
                // Requests that are on their way still come; then the subscription ends.
                match requests.drain().await {
                    Ok(()) => continue,
                    Err(_) => break,
                }
            }
            // Without a connection the subscription does not end by itself.
            () = until(end) => break,
            request = requests.next() => request,
            Some(_) = taken.join_next() => continue,
        };
        let Some(request) = request else { break };
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let (bus, stream) = (bus.clone(), Arc::clone(&stream));
        taken.spawn(async move {
            answer(&bus, &stream, request).await;
            drop(permit);
        });
    }
    while taken.join_next().await.is_some() {}
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Publishes for another process, and tells it what came of it.
async fn answer(bus: &Bus, stream: &str, request: Request) {
    let Request { reply, headers, payload, .. } = request;
    let answer = match accept(bus, stream, headers.unwrap_or_default(), payload) {
        Err(fault) => Err(fault),
        Ok(message) => {
            let order = Order { message, direct: true, patience: limits::COMMIT_SERVICE_PATIENCE };
            bus.submit(order, stream).await.map_err(fault_of)
        }
    };
    let Some(reply) = reply else { return };
    let body = encode(stream, answer).to_string();
    if let Err(fault) = bus.nats().publish(reply, body.into()).await {
        tracing::warn!(%fault, "a committer could not send an answer");
    }
}

fn accept(
    bus: &Bus,
    stream: &str,
    headers: HeaderMap,
    payload: Bytes,
) -> Result<Message, ApiError> {
    let message = read(bus.subjects(), stream, &headers, payload)
        .map_err(|description| ApiError { code: 400, err_code: UNACCEPTABLE, description })?;
    if message.bytes > bus.max_payload() {
        return Err(fault_of(Failure::TooLarge));
    }
    Ok(message)
}

/// Makes a request into a message again.
///
/// # Errors
/// In words, why this is nothing that a committer publishes.
fn read(
    subjects: &Subjects,
    stream: &str,
    headers: &HeaderMap,
    payload: Bytes,
) -> Result<Message, String> {
    let get = |name: &str| headers.get(name).map(|value| value.as_str());
    let target = get(header::TARGET).ok_or_else(|| format!("{} is missing", header::TARGET))?;
    let address = subjects.parse(target).ok_or_else(|| format!("{target:?} is no subject here"))?;
    if get(header::EXPECTED_STREAM).is_some_and(|expected| expected != stream) {
        return Err(format!("this committer serves {stream}"));
    }
    let guard = match (get(header::EXPECTED_SEQ), get(header::EXPECTED_SUBJECT)) {
        (None, None) => None,
        (None, Some(_)) => return Err(format!("{} is missing", header::EXPECTED_SEQ)),
        (Some(seq), filter) => {
            let seq = seq.parse().ok().ok_or_else(|| format!("{seq:?} is no sequence"))?;
            Some(Guard { filter: filter.unwrap_or(target).to_owned(), seq })
        }
    };
    let id = get(header::MSG_ID).map(str::to_owned);
    if let Address::Entry(org, task, _) = address {
        let log = subjects.log(&task);
        let is_guarded = guard.as_ref().is_some_and(|guard| guard.filter == log.as_str());
        if org != *subjects.org() || !is_guarded || id.is_none() {
            return Err(format!("{target} takes only appends guarded by {log}, with an id"));
        }
    }
    let taken = [
        header::TARGET,
        header::EXPECTED_STREAM,
        header::EXPECTED_SEQ,
        header::EXPECTED_SUBJECT,
        header::MSG_ID,
    ];
    let mut own = Vec::new();
    for (name, values) in headers.iter().filter(|(name, _)| !taken.contains(&name.as_ref())) {
        let name: &str = name.as_ref();
        if is_reserved(name) {
            return Err(format!("the header {name} can't be passed on"));
        }
        own.extend(values.iter().map(|value| (name.to_owned(), value.as_str().to_owned())));
    }
    let unsendable = |name| format!("the header {name} can't be passed on");
    Message::build(stream, target.to_owned(), payload, (id, guard), own).map_err(unsendable)
}

/// What JetStream would have answered; for what it has no answer to, one of the service's own.
fn fault_of(failure: Failure) -> ApiError {
    let own =
        |code, err_code, text: &str| ApiError { code, err_code, description: text.to_owned() };
    match failure {
        Failure::Full(fault) | Failure::Refused(fault) => fault,
        Failure::TooLarge => {
            own(400, refusal::MESSAGE_TOO_LARGE, "message size exceeds maximum allowed")
        }
        Failure::Conflict { doubtful: false } => {
            own(400, refusal::WRONG_SEQUENCE, "wrong last sequence")
        }
        Failure::Conflict { doubtful: true } => {
            own(409, DOUBTFUL, "wrong last sequence, after an answer was lost")
        }
        Failure::NoStream => own(404, refusal::STREAM_NOT_FOUND, "stream not found"),
        Failure::Unreachable { .. } => own(503, UNREACHABLE, "the stream is not reachable"),
        Failure::Unknown { .. } => own(504, UNKNOWN, "the stream did not answer"),
    }
}

fn encode(stream: &str, answer: Result<Accepted, ApiError>) -> Value {
    match answer {
        Ok(Accepted { seq, duplicate: false }) => json!({ "stream": stream, "seq": seq }),
        Ok(Accepted { seq, duplicate: true }) => {
            json!({ "stream": stream, "seq": seq, "duplicate": true })
        }
        Err(ApiError { code, err_code, description }) => {
            let error = json!({ "code": code, "err_code": err_code, "description": description });
            json!({ "error": error })
        }
    }
}

/// What one of the service's own errors means for the message; `None`: it is none of them.
pub(crate) fn verdict_of(fault: &RequestError) -> Option<Verdict> {
    match fault.refusal()? {
        UNKNOWN => Some(Verdict::Lost),
        UNREACHABLE => Some(Verdict::NotSent),
        DOUBTFUL => Some(Verdict::Doubtful),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use async_nats::{HeaderName, HeaderValue};
    use sinew_model::Root;

    use super::*;

    const LOG: &str = "genbrain.org.acme.tasks.T1.*";
    const ENTRY: &str = "genbrain.org.acme.tasks.T1.completed";
    const EVENTS: &str = "genbrain.org.acme.events";

    fn request(headers: &[(&str, &str)]) -> Result<Message, String> {
        let subjects = Subjects::new(Root::default(), "acme".parse().unwrap());
        let parsed = headers.iter().map(|(name, value)| {
            (HeaderName::from_str(name).unwrap(), HeaderValue::from_str(value).unwrap())
        });
        read(&subjects, "S", &parsed.collect(), Bytes::new())
    }

    #[test]
    fn a_request_is_the_message_again() {
        let message = request(&[
            (header::TARGET, ENTRY),
            (header::EXPECTED_SEQ, "7"),
            (header::EXPECTED_SUBJECT, LOG),
            (header::EXPECTED_STREAM, "S"),
            (header::MSG_ID, "t"),
            ("traceparent", "00-1"),
        ]);
        let message = message.unwrap();
        let get = |name: &str| message.headers.get(name).map(|value| value.as_str());
        assert_eq!((message.subject.as_str(), get(header::EXPECTED_STREAM)), (ENTRY, Some("S")));
        assert_eq!(
            (get(header::EXPECTED_SEQ), get(header::EXPECTED_SUBJECT)),
            (Some("7"), Some(LOG))
        );
        assert_eq!((get(header::MSG_ID), get("traceparent")), (Some("t"), Some("00-1")));
        assert_eq!((message.guard.as_deref(), get(header::TARGET)), (Some(LOG), None));
    }

    #[test]
    fn what_may_not_be_passed_on_is_refused() {
        let check = |why: &str, headers: &[(&str, &str)]| {
            let fault = request(headers).map(|message| message.subject).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        };
        let (seq, filter, id) = (header::EXPECTED_SEQ, header::EXPECTED_SUBJECT, header::MSG_ID);
        let (to, other) = (header::TARGET, "genbrain.org.acme.tasks.T2.*");
        check("missing", &[]);
        check("no subject", &[(to, "genbrain.org.acme.>")]);
        check("no subject", &[(to, "$JS.API.STREAM.DELETE.S")]);
        check("serves S", &[(to, EVENTS), (header::EXPECTED_STREAM, "T")]);
        check("guarded", &[(to, ENTRY), (id, "t")]);
        check("guarded", &[(to, ENTRY), (id, "t"), (seq, "7")]);
        check("guarded", &[(to, ENTRY), (id, "t"), (seq, "7"), (filter, other)]);
        check("guarded", &[(to, ENTRY), (seq, "7"), (filter, LOG)]);
        check(
            "guarded",
            &[(to, "genbrain.org.other.tasks.T1.failed"), (id, "t"), (seq, "7"), (filter, LOG)],
        );
        check("missing", &[(to, ENTRY), (id, "t"), (filter, LOG)]);
        check("no sequence", &[(to, EVENTS), (seq, "x")]);
        check("passed on", &[(to, EVENTS), ("Nats-Batch-Id", "b")]);
        check("passed on", &[(to, EVENTS), ("Nats-Expected-Last-Sequence", "b")]);
    }

    #[test]
    fn the_services_own_errors_are_understood() {
        let read = |failure| {
            let source = fault_of(failure);
            verdict_of(&RequestError::Refused { subject: String::new(), source })
        };
        let after = limits::COMMIT_SERVICE_PATIENCE;
        assert!(matches!(read(Failure::Unknown { after }), Some(Verdict::Lost)));
        assert!(matches!(read(Failure::Unreachable { after }), Some(Verdict::NotSent)));
        assert!(matches!(read(Failure::Conflict { doubtful: true }), Some(Verdict::Doubtful)));
        assert!(read(Failure::Conflict { doubtful: false }).is_none());
    }
}
