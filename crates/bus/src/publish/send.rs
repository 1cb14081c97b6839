//! One try to store a group of messages, with one verdict for each of them. What a verdict means
//! for its caller, and whether to try again, is decided in `committer`.

use std::{
    str::FromStr as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{HeaderMap, HeaderName, HeaderValue, connection::State};
use futures::future::join_all;
use serde::Deserialize;
use sinew_model::{header, limits};
use tokio::{sync::watch, time::Instant};

use super::{
    Accepted,
    committer::Order,
    message::Message,
    refusal::{self, Refusal},
    service,
    stats::{Counters, count},
};
use crate::{
    clock,
    request::{self, ApiError, RequestError, read_answer},
};

const BATCH_ID: HeaderName = HeaderName::from_static(header::BATCH_ID);
const BATCH_SEQ: HeaderName = HeaderName::from_static(header::BATCH_SEQ);
const BATCH_COMMIT: HeaderName = HeaderName::from_static(header::BATCH_COMMIT);
const TARGET: HeaderName = HeaderName::from_static(header::TARGET);

/// What one try came to, for one message.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is stored.
    Stored(Accepted),
    /// It was refused, and is not stored.
    Refused(ApiError),
    /// A committer of another process met a conflict after it had lost an earlier answer.
    Doubtful,
    /// It did not reach the stream.
    NotSent,
    /// It was sent, and the answer did not come.
    Lost,
}

/// How one batch ended.
enum Batch {
    Stored(u64),
    Refused(ApiError),
    NotSent,
    Lost,
}

impl Batch {
    /// The refusal that only a part of the members may deserve.
    fn blames_a_member(&self) -> Option<&ApiError> {
        match self {
            Self::Refused(fault) => Some(fault).filter(|it| Refusal::of(it) != Refusal::Passing),
            Self::Stored(_) | Self::NotSent | Self::Lost => None,
        }
    }
}

/// What JetStream answers to a publish.
#[derive(Deserialize)]
struct PubAck {
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    /// How many messages were stored, where it was a batch.
    #[serde(default)]
    count: usize,
}

/// The way to one stream. It holds no [`Bus`](crate::Bus), so that a committer does not keep alive
/// the connection that it serves.
#[derive(Debug)]
pub(crate) struct Link {
    client: async_nats::Client,
    connections: watch::Receiver<u64>,
    stream: String,
    /// Where a committer of another process listens, if that is to be used.
    service: Option<String>,
    pub(crate) counters: Arc<Counters>,
    /// On which connection the stream refused batches as such; 0: on none. After a reconnect it
    /// is tried again, because the stream may have been changed.
    batches_refused_on: AtomicU64,
    /// Until when no committer of another process is looked for.
    service_absent_until: Mutex<Option<Instant>>,
}

impl Link {
    pub(crate) fn new(
        client: async_nats::Client,
        connections: watch::Receiver<u64>,
        stream: String,
        service: Option<String>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            client,
            connections,
            stream,
            service,
            counters,
            batches_refused_on: AtomicU64::new(0),
            service_absent_until: Mutex::new(None),
        }
    }

    /// Whether what is sent now goes out. While there is no connection the client would keep it and
    /// send it later, long after its caller has given up.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    pub(crate) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) {
        let mut connections = self.connections.clone();
        while !self.is_connected() {
            // The state and the count do not change at the same moment, hence the pause.
            tokio::select! {
                changed = connections.changed() => if changed.is_err() { return },
                () = clock::pause(limits::PUBLISH_AGAIN_FIRST) => {}
            }
        }
    }

    /// Whether the server says that the stream does not exist.
    pub(crate) async fn is_stream_missing(&self, patience: Duration) -> bool {
        let subject = format!("$JS.API.STREAM.INFO.{}", self.stream);
        let answer = request::ask(&self.client, &subject, None, "".into(), patience).await;
        let read = answer.and_then(|it| read_answer::<serde_json::Value>(subject, &it.payload));
        read.is_err_and(|fault| fault.refusal() == Some(refusal::STREAM_NOT_FOUND))
    }

    /// Tries once, and waits for at most `patience`, or three times that where a batch has to be
    /// divided. The verdicts are in the order of the messages.
    pub(crate) async fn send(&self, orders: &[&Order], patience: Duration) -> Vec<Verdict> {
        let Some(service) = self.service_in_use() else {
            return self.send_here(orders, patience).await;
        };
        let taken = join_all(orders.iter().map(|order| self.hand_over(service, order, patience)));
        let taken = taken.await;
        let refused = orders.iter().zip(&taken).filter(|(_, verdict)| verdict.is_none());
        let refused: Vec<&Order> = refused.map(|(order, _)| *order).collect();
        let mut here = self.send_here(&refused, patience).await.into_iter();
        let verdict =
            |taken: Option<Verdict>| taken.or_else(|| here.next()).unwrap_or(Verdict::NotSent);
        taken.into_iter().map(verdict).collect()
    }

    async fn send_here(&self, orders: &[&Order], patience: Duration) -> Vec<Verdict> {
        if orders.len() < 2 || !self.takes_batches() {
            return self.singles(orders, patience).await;
        }
        let end = self.batch(orders, patience).await;
        match end.blames_a_member() {
            Some(fault) => self.divide(orders, fault, patience).await,
            None => verdicts(&end, orders.len()),
        }
    }

    /// Sends the parts of a refused batch as batches, and those parts that are refused again
    /// message by message.
    async fn divide(
        &self,
        orders: &[&Order],
        fault: &ApiError,
        patience: Duration,
    ) -> Vec<Verdict> {
        count(&self.counters.batches_refused, 1);
        if fault.err_code == refusal::BATCHES_DISABLED {
            self.batches_refused_on.store(*self.connections.borrow(), Ordering::Relaxed);
        }
        let size = orders.len().div_ceil(limits::BATCH_PARTS);
        if size < 2 || [refusal::BATCHES_DISABLED, refusal::BATCHES_OPEN].contains(&fault.err_code)
        {
            return self.singles(orders, patience).await;
        }
        let parts = orders.chunks(size).map(async |part| {
            if part.len() < 2 {
                return self.singles(part, patience).await;
            }
            let end = self.batch(part, patience).await;
            match end.blames_a_member() {
                Some(_) => self.singles(part, patience).await,
                None => verdicts(&end, part.len()),
            }
        });
        join_all(parts).await.into_iter().flatten().collect()
    }

    /// All at once and each for itself.
    async fn singles(&self, orders: &[&Order], patience: Duration) -> Vec<Verdict> {
        count(&self.counters.singles, orders.len());
        join_all(orders.iter().map(|order| self.single(&order.message, patience))).await
    }

    async fn single(&self, message: &Message, patience: Duration) -> Verdict {
        let headers = message.headers.clone();
        let answer = self.ask(&message.subject, headers, message, patience, message.id.is_some());
        answer.await.map_or_else(verdict_of, PubAck::verdict)
    }

    /// Gives the message to a committer of another process; `None`: there is none, or the message
    /// is not for it.
    async fn hand_over(&self, service: &str, order: &Order, patience: Duration) -> Option<Verdict> {
        let Order { message, direct, .. } = order;
        if *direct || message.is_bulky(self.max_payload()) {
            return None;
        }
        let mut headers = message.headers.clone();
        headers.insert(TARGET, HeaderValue::from_str(&message.subject).ok()?);
        let answer = self.ask(service, headers, message, patience, message.id.is_some()).await;
        if matches!(answer, Err(RequestError::NoResponders { .. })) {
            let until = clock::instant() + limits::COMMIT_SERVICE_ABSENCE;
            *self.service_absent_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            return None;
        }
        count(&self.counters.by_service, 1);
        let failed = |fault| service::verdict_of(&fault).unwrap_or_else(|| verdict_of(fault));
        Some(answer.map_or_else(failed, PubAck::verdict))
    }

    /// Where to look for a committer of another process now, if anywhere.
    fn service_in_use(&self) -> Option<&str> {
        let absent = *self.service_absent_until.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = absent.is_none_or(|until| until <= clock::instant());
        self.service.as_deref().filter(|_| looks)
    }

    /// Whether messages may go as a batch now: a committer of another process makes its own.
    pub(crate) fn may_batch(&self) -> bool {
        self.service_in_use().is_none() && self.takes_batches()
    }

    fn takes_batches(&self) -> bool {
        self.batches_refused_on.load(Ordering::Relaxed) != *self.connections.borrow()
    }

    async fn batch(&self, orders: &[&Order], patience: Duration) -> Batch {
        let Some((last, others)) = orders.split_last() else { return Batch::NotSent };
        let Ok(id) = HeaderValue::from_str(&clock::unique()) else { return Batch::NotSent };
        let member = |order: &Order, place: usize| {
            let mut headers = order.message.headers.clone();
            headers.insert(BATCH_ID, id.clone());
            headers.insert(BATCH_SEQ, HeaderValue::from(place));
            headers
        };
        let hurried = orders.iter().all(|order| order.message.id.is_some());
        let send = async {
            for (place, order) in (1..).zip(others) {
                let Message { subject, payload, .. } = &order.message;
                let headers = member(order, place);
                let sent =
                    self.client.publish_with_headers(subject.clone(), headers, payload.clone());
                if sent.await.is_err() {
                    return Batch::NotSent;
                }
            }
            let mut headers = member(last, orders.len());
            headers.insert(BATCH_COMMIT, HeaderValue::from(1));
            let Message { subject, .. } = &last.message;
            match self.ask(subject, headers, &last.message, patience, hurried).await {
                Ok(PubAck { seq, count, .. }) if count == orders.len() => Batch::Stored(seq),
                // The server says something about these messages that is not understood.
                Ok(_) => Batch::Lost,
                Err(fault) => match verdict_of(fault) {
                    Verdict::Refused(fault) => Batch::Refused(fault),
                    Verdict::NotSent => Batch::NotSent,
                    Verdict::Stored(_) | Verdict::Doubtful | Verdict::Lost => Batch::Lost,
                },
            }
        };
        // The client waits for ever for room in its own queue when the connection does not move.
        let end = tokio::time::timeout(patience, send).await.unwrap_or(Batch::Lost);
        if matches!(end, Batch::Stored(_)) {
            count(&self.counters.batches, 1);
            count(&self.counters.batched, orders.len());
        }
        end
    }

    /// Sends one request. One that is `hurried` does not wait any longer when the connection was
    /// lost and made anew: its answer went to the old one, and asking again is safe.
    async fn ask(
        &self,
        subject: &str,
        headers: HeaderMap,
        message: &Message,
        patience: Duration,
        hurried: bool,
    ) -> Result<PubAck, RequestError> {
        let mut connections = self.connections.clone();
        connections.mark_unchanged();
        let unknown = || RequestError::Unknown { subject: subject.to_owned(), after: patience };
        let payload = message.payload.clone();
        let answer = request::ask(&self.client, subject, Some(headers), payload, patience);
        tokio::select! {
            answer = tokio::time::timeout(patience, answer) => {
                let answer = answer.unwrap_or_else(|_| Err(unknown()))?;
                read_answer(subject.to_owned(), &answer.payload)
            }
            Ok(()) = connections.changed(), if hurried => Err(unknown()),
        }
    }
}

impl PubAck {
    const fn verdict(self) -> Verdict {
        Verdict::Stored(Accepted { seq: self.seq, duplicate: self.duplicate })
    }
}

fn verdict_of(fault: RequestError) -> Verdict {
    match fault {
        RequestError::Refused { source, .. } => Verdict::Refused(source),
        RequestError::NoResponders { .. } => Verdict::NotSent,
        RequestError::Unsendable { why, .. } => Verdict::Refused(refusal::unsendable(why)),
        // An answer that is not readable is as good as none.
        RequestError::Unknown { .. } | RequestError::Unreadable { .. } => Verdict::Lost,
    }
}

/// The verdicts on the members of a batch: they were stored one after the other, the last of them
/// at the sequence that the server names.
fn verdicts(end: &Batch, members: usize) -> Vec<Verdict> {
    let behind = (0..members).rev().map(|behind| u64::try_from(behind).unwrap_or(u64::MAX));
    behind
        .map(|behind| match end {
            Batch::Stored(last) => {
                Verdict::Stored(Accepted { seq: last.saturating_sub(behind), duplicate: false })
            }
            Batch::Refused(fault) => Verdict::Refused(fault.clone()),
            Batch::NotSent => Verdict::NotSent,
            Batch::Lost => Verdict::Lost,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_of_a_batch_are_numbered_up_to_its_last() {
        let seqs: Vec<u64> = verdicts(&Batch::Stored(9), 3)
            .iter()
            .filter_map(|verdict| match verdict {
                Verdict::Stored(accepted) => Some(accepted.seq),
                Verdict::Refused(_) | Verdict::Doubtful | Verdict::NotSent | Verdict::Lost => None,
            })
            .collect();
        assert_eq!(seqs, [7, 8, 9]);
    }
}
