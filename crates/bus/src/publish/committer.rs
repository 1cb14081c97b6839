//! One committer per stream: a few publishes go one by one, and what arrives while those are on
//! their way becomes a batch. It adds no waiting of its own, so a publish that comes alone goes
//! alone. It decides what each
//! message's verdict means, repeats what may be repeated, and owes every caller one answer.
//!
//! It ends when the last [`Bus`] of its connection is dropped.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sinew_model::limits;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    Accepted, PublishStats,
    message::Message,
    pace::{Pace, Plan},
    refusal::{Refusal, WRITE_ON_ITS_WAY},
    send::{Link, Verdict},
    stats::{Counters, count},
};
use crate::{clock, connect::Bus, request::ApiError};

/// Times in a row that the server must say that there is no such stream: one that has just started
/// may not know its streams yet.
const MISSING_ANSWERS: u32 = 2;

/// A message to be published, and how.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) message: Message,
    /// Not through a committer of another process: this is that process.
    pub(crate) direct: bool,
    pub(crate) patience: Duration,
}

/// Why there is no sequence. [`PublishError`](super::PublishError) says it to the caller.
#[derive(Debug)]
pub(crate) enum Failure {
    Full(ApiError),
    TooLarge,
    Conflict { doubtful: bool },
    NoStream,
    Refused(ApiError),
    Unreachable { after: Duration },
    Unknown { after: Duration },
}

type Answer = Result<Accepted, Failure>;

/// A message that waits for its answer.
#[derive(Debug)]
struct Pending {
    order: Order,
    since: Instant,
    /// An answer to it was lost: it may be stored already.
    lost: bool,
    /// Nobody answered for the stream when it was sent last.
    is_unheard: bool,
    /// The other end is dropped when the caller loses interest.
    answer: oneshot::Sender<Answer>,
    /// Given back when the message is answered, so that the queue stays bounded.
    _room: OwnedSemaphorePermit,
}

/// The committers of one connection, each made when its stream is first published to.
#[derive(Debug)]
pub(crate) struct Committers {
    counters: Arc<Counters>,
    /// Whether to look for committers of other processes.
    service: bool,
    /// See [`Config::batch_from`](crate::Config::batch_from).
    batch_from: Option<usize>,
    /// By stream. Held only to look up or to add, never over an await.
    queues: Mutex<HashMap<String, Queue>>,
}

/// The way to a committer.
#[derive(Clone, Debug)]
struct Queue {
    /// It has room for every message that got a permit, and closes when the committer is gone.
    sender: mpsc::Sender<Pending>,
    room: Arc<Semaphore>,
}

impl Committers {
    pub(crate) fn new(service: bool, batch_from: Option<usize>) -> Self {
        Self { counters: Arc::default(), service, batch_from, queues: Mutex::default() }
    }

    pub(crate) fn stats(&self) -> PublishStats {
        self.counters.snapshot()
    }

    fn queue(&self, bus: &Bus, stream: &str) -> Queue {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(stream).filter(|queue| !queue.sender.is_closed()) {
            return queue.clone();
        }
        let (sender, arrivals) = mpsc::channel(limits::PUBLISHES_QUEUED);
        let service = self.service.then(|| bus.subjects().commit(stream).into());
        let link = Link::new(
            bus.nats().clone(),
            bus.connections(),
            stream.to_owned(),
            service,
            Arc::clone(&self.counters),
        );
        tokio::spawn(Committer::new(Arc::new(link), arrivals, self.batch_from).run());
        let queue = Queue { sender, room: Arc::new(Semaphore::new(limits::PUBLISHES_QUEUED)) };
        queues.insert(stream.to_owned(), queue.clone());
        queue
    }
}

impl Bus {
    /// Hands a message to the committer of `stream` and waits for the answer.
    pub(crate) async fn submit(&self, order: Order, stream: &str) -> Answer {
        let since = clock::instant();
        let patience = order.patience;
        let queue = self.committers().queue(self, stream);
        let room = tokio::time::timeout(patience, queue.room.acquire_owned()).await;
        let Ok(Ok(room)) = room else { return Err(Failure::Unreachable { after: patience }) };
        let (answer, answered) = oneshot::channel();
        let pending = Pending { order, since, lost: false, is_unheard: false, answer, _room: room };
        if queue.sender.send(pending).await.is_err() {
            return Err(Failure::Unreachable { after: since.elapsed() });
        }
        // Without an answer the committer ended under us, because its tokio runtime did.
        answered.await.unwrap_or_else(|_| Err(Failure::Unknown { after: since.elapsed() }))
    }
}

impl Pending {
    fn deadline(&self) -> Instant {
        self.since + self.order.patience
    }

    /// Answers the caller. One who is gone misses nothing.
    fn end(self, answer: Answer) {
        drop(self.answer.send(answer));
    }

    /// Ends it if its time is over.
    fn unless_late(self, now: Instant) -> Option<Self> {
        if now < self.deadline() {
            return Some(self);
        }
        let after = now.duration_since(self.since);
        let unknown = self.lost;
        self.end(Err(if unknown {
            Failure::Unknown { after }
        } else {
            Failure::Unreachable { after }
        }));
        None
    }

    /// Ends it as the verdict says, or gives it back because it is to be sent again.
    fn settle(mut self, verdict: Verdict, now: Instant) -> Option<Self> {
        self.is_unheard = false;
        match verdict {
            Verdict::Stored(accepted) => self.end(Ok(accepted)),
            Verdict::Refused(fault) => return self.refuse(fault, now),
            Verdict::Doubtful => self.end(Err(Failure::Conflict { doubtful: true })),
            Verdict::NotSent => {
                self.is_unheard = true;
                return self.unless_late(now);
            }
            Verdict::Lost => {
                self.lost = true;
                if self.order.message.id.is_some() {
                    return self.unless_late(now);
                }
                let after = now.duration_since(self.since);
                self.end(Err(Failure::Unknown { after }));
            }
        }
        None
    }

    fn refuse(self, fault: ApiError, now: Instant) -> Option<Self> {
        let (lost, late) = (self.lost, now >= self.deadline());
        let failure = match Refusal::of(&fault) {
            Refusal::Passing if !late => return Some(self),
            // It may be our own first try that is on its way: then its id will answer for it.
            Refusal::Conflict if lost && !late && fault.err_code == WRITE_ON_ITS_WAY => {
                return Some(self);
            }
            Refusal::Passing if lost => Failure::Unknown { after: now.duration_since(self.since) },
            Refusal::Passing | Refusal::Other => Failure::Refused(fault),
            Refusal::Full => Failure::Full(fault),
            Refusal::TooLarge => Failure::TooLarge,
            Refusal::Conflict => Failure::Conflict { doubtful: lost },
            Refusal::NoStream => Failure::NoStream,
        };
        self.end(Err(failure));
        None
    }
}

/// The task behind one stream's queue.
struct Committer {
    link: Arc<Link>,
    arrivals: mpsc::Receiver<Pending>,
    /// Taken from the queue, and not yet sent.
    held: VecDeque<Pending>,
    /// How many are to be held before they go as a batch.
    pace: Pace,
    /// First tries of single messages that are on their way.
    singles: JoinSet<Tried>,
    /// The first try of a batch that is on its way: one at a time, while the next one grows.
    batch: JoinSet<Tried>,
    /// What is being repeated. It does not hold up what comes after it.
    repetitions: JoinSet<()>,
}

/// What a first try came to.
struct Tried {
    /// What has to be repeated.
    again: Vec<Pending>,
    members: usize,
    took: Duration,
}

impl Committer {
    fn new(link: Arc<Link>, arrivals: mpsc::Receiver<Pending>, batch_from: Option<usize>) -> Self {
        Self {
            link,
            arrivals,
            held: VecDeque::new(),
            pace: Pace::new(batch_from),
            singles: JoinSet::new(),
            batch: JoinSet::new(),
            repetitions: JoinSet::new(),
        }
    }

    async fn run(mut self) {
        loop {
            while self.held.len() < limits::PUBLISHES_QUEUED
                && let Ok(pending) = self.arrivals.try_recv()
            {
                self.held.push_back(pending);
            }
            self.send();
            tokio::select! {
                arrival = self.arrivals.recv(), if self.held.len() < limits::PUBLISHES_QUEUED => {
                    match arrival {
                        Some(pending) => self.held.push_back(pending),
                        // Every caller holds the connection, so there is none left to answer.
                        None => return,
                    }
                }
                Some(tried) = self.singles.join_next() => {
                    let (others, shadow) = (self.singles.len(), !self.batch.is_empty());
                    self.pace.single_done(clock::instant(), others, shadow);
                    self.tried(tried.ok());
                }
                Some(tried) = self.batch.join_next() => {
                    // A lost answer says nothing about the price.
                    if let Ok(Tried { again, members, took }) = &tried
                        && again.is_empty()
                    {
                        self.pace.batch_done(*members, *took);
                    }
                    self.tried(tried.ok());
                }
                Some(_) = self.repetitions.join_next() => {}
            }
        }
    }

    /// Sends what is held as far as it is to go now: one by one up to the break-even, and beyond
    /// that as a batch as soon as that many are held.
    fn send(&mut self) {
        let plan = if self.link.may_batch() {
            self.pace.plan(clock::instant())
        } else {
            Plan { window: limits::PUBLISHES_QUEUED, batch_from: None }
        };
        while self.singles.len() < plan.window
            && let Some(pending) = self.held.pop_front()
        {
            self.singles.spawn(first_try(Arc::clone(&self.link), vec![pending]));
        }
        if plan.batch_from.is_some_and(|least| self.held.len() >= least) && self.batch.is_empty() {
            let members = take_batch(&mut self.held, self.link.max_payload());
            self.batch.spawn(first_try(Arc::clone(&self.link), members));
        }
    }

    /// A task that broke has dropped its messages, and with them its callers' ends.
    fn tried(&mut self, tried: Option<Tried>) {
        if let Some(Tried { again, .. }) = tried.filter(|tried| !tried.again.is_empty()) {
            self.repetitions.spawn(repeat(Arc::clone(&self.link), again));
        }
    }
}

async fn first_try(link: Arc<Link>, members: Vec<Pending>) -> Tried {
    let (since, count) = (clock::instant(), members.len());
    let again = attempt(link, members).await;
    Tried { again, members: count, took: since.elapsed() }
}

/// Takes what may travel together, in the order of arrival. What may not stays, in its order:
/// members are checked against the state before the batch, so two behind one guard would both
/// pass; and a second one of an id would have the whole batch refused.
fn take_batch(held: &mut VecDeque<Pending>, max_payload: usize) -> Vec<Pending> {
    let mut batch: Vec<Pending> = Vec::new();
    let (mut guards, mut ids, mut bytes) = (HashSet::new(), HashSet::new(), 0);
    let mut stay = VecDeque::new();
    while batch.len() < limits::BATCH_MESSAGES
        && let Some(pending) = held.pop_front()
    {
        let message = &pending.order.message;
        let is_full = bytes + message.bytes > limits::BATCH_BYTES;
        if is_full || message.is_bulky(max_payload) {
            if batch.is_empty() {
                batch.push(pending);
            } else {
                stay.push_back(pending);
            }
            break;
        }
        let Message { guard, id, .. } = message;
        let is_second = guard.as_ref().is_some_and(|guard| guards.contains(guard))
            || id.as_ref().is_some_and(|id| ids.contains(id));
        if is_second {
            stay.push_back(pending);
            continue;
        }
        guards.extend(guard.clone());
        ids.extend(id.clone());
        bytes += message.bytes;
        batch.push(pending);
    }
    stay.append(held);
    *held = stay;
    batch
}

/// Tries once, answers the callers whose messages came to an end, and gives back the others.
async fn attempt(link: Arc<Link>, mut members: Vec<Pending>) -> Vec<Pending> {
    // A caller who is gone has withdrawn.
    members.retain(|pending| !pending.answer.is_closed());
    if members.is_empty() || !link.is_connected() {
        return members;
    }
    let now = clock::instant();
    let last = members.iter().map(Pending::deadline).max().unwrap_or(now);
    // Also one who was late is sent once; the shortest wait is that before a repetition.
    let patience = last
        .saturating_duration_since(now)
        .clamp(limits::PUBLISH_AGAIN_FIRST, limits::REQUEST_TIMEOUT);
    let orders: Vec<&Order> = members.iter().map(|pending| &pending.order).collect();
    let verdicts = link.send(&orders, patience).await;
    let now = clock::instant();
    let settled = members.into_iter().zip(verdicts).map(|(it, verdict)| it.settle(verdict, now));
    settled.flatten().collect()
}

/// Tries again, at growing distances, until every message is answered.
async fn repeat(link: Arc<Link>, mut members: Vec<Pending>) {
    let mut pause = limits::PUBLISH_AGAIN_FIRST;
    let mut missing = 0;
    while !members.is_empty() {
        clock::pause(pause).await;
        pause = limits::PUBLISH_AGAIN_LONGEST.min(pause * 2);
        wait_for_link(&link, &mut members).await;
        let is_unheard = members.iter().any(|pending| pending.is_unheard);
        let is_missing = is_unheard && link.is_stream_missing(limits::PUBLISH_AGAIN_LONGEST).await;
        missing = if is_missing { missing + 1 } else { 0 };
        if missing == MISSING_ANSWERS {
            members.into_iter().for_each(|pending| pending.end(Err(Failure::NoStream)));
            return;
        }
        count(&link.counters.repeated, members.len());
        members = attempt(Arc::clone(&link), members).await;
    }
}

/// Waits for a connection, and ends those whose time is over meanwhile.
async fn wait_for_link(link: &Link, members: &mut Vec<Pending>) {
    loop {
        let now = clock::instant();
        let waiting = std::mem::take(members).into_iter();
        *members = waiting
            .filter(|pending| !pending.answer.is_closed())
            .filter_map(|pending| pending.unless_late(now))
            .collect();
        let Some(first) = members.iter().map(Pending::deadline).min() else { return };
        if tokio::time::timeout_at(first, link.connected()).await.is_ok() {
            return;
        }
    }
}
