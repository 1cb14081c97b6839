//! The worker's half for who is no function of this process: an LLM host over MCP, a person. A
//! [`Desk`] takes a task from the role's queue when it is asked for one, and no earlier; the
//! [`Hand`] that it gives holds the attempt, with the lease, the fence and the signs of life that
//! every attempt has, for as long as its caller keeps it. A hand that is dropped lets its task go
//! back at once.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use sinew_bus::{Bus, ConsumeError, Delivery, Slot, Slots};
use sinew_model::{
    InstanceId, TaskId,
    limits::{CONCURRENCY_MAX, DESK_WAITING},
    task::State,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    RuntimeError, Settings, attempt, bands,
    control::Orders,
    drain, ensure,
    gate::Gate,
    host::{Flow, Host},
    presence, reap, restart,
};
use crate::{ask::Ask, context::Context, handler::Failure};

/// Where tasks of a role are taken by hand. One that is dropped closes by itself, a moment later.
#[derive(Debug)]
pub struct Desk {
    host: Arc<Host>,
    /// Those that wait for a task; the driving task has the other end.
    wanted: mpsc::Sender<oneshot::Sender<Hand>>,
    driving: JoinHandle<()>,
    stop: DropGuard,
}

/// Why no task was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// The desk takes nothing more: it was ordered to drain, or is closed.
    #[error("nothing more is taken here: it was ordered to drain, or it is closed")]
    Closed,
    /// It holds as many tasks as it may.
    #[error("{0} tasks are held here, which is as many as may be")]
    Full(usize),
    /// Too many wait for a task already.
    #[error("{DESK_WAITING} callers wait for a task here already")]
    Crowded,
}

/// The end of an attempt is not in its task's log: the attempt had lost its task, or the desk was
/// closed meanwhile. Whatever the log says counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task {0} is not held by this attempt any more")]
pub struct Lost(pub TaskId);

/// An attempt that its caller holds. See [`Context`] for what it may do.
#[derive(Debug)]
#[must_use = "a hand that is dropped lets its task go back"]
pub struct Hand {
    context: Context,
    /// The attempt waits for it.
    end: oneshot::Sender<Result<Value, Failure>>,
}

impl Hand {
    /// The attempt: the task, progress, delegation, events.
    #[must_use]
    pub const fn context(&self) -> &Context {
        &self.context
    }

    /// Asks a question: its answer where it was answered before, else the [`Failure::Block`] to
    /// [`Hand::end`] with. The question itself is its key, unless it has one.
    ///
    /// # Errors
    /// As [`Context::ask`].
    pub fn ask(&self, what: Ask) -> Result<Value, Failure> {
        self.context.ask(what.keyed_by_text())
    }

    /// Ends the attempt, and waits until its end is in the log. Gives how the task stands then: it
    /// may have ended, or wait for an answer, a verdict or another attempt.
    ///
    /// # Errors
    /// Where the log does not take it.
    pub async fn end(self, outcome: Result<Value, Failure>) -> Result<State, Lost> {
        let Self { context, end } = self;
        let mut written = context.written();
        let lost = || Lost(context.id().clone());
        end.send(outcome).map_err(|_unsent| lost())?;
        let state = written.wait_for(Option::is_some).await;
        let state = state.ok().and_then(|state| state.as_deref().cloned());
        state.ok_or_else(lost)
    }
}

impl Desk {
    /// Opens a desk: it shows signs of life from now on, and takes nothing yet. At most
    /// [`Settings::concurrency`] tasks are held at a time. [`Settings::drain`] does not count: who
    /// holds a task by hand can't be waited for.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn open(bus: Bus, settings: Settings) -> Result<Self, RuntimeError> {
        if settings.concurrency == 0 || settings.concurrency > CONCURRENCY_MAX {
            return Err(RuntimeError::Concurrency);
        }
        let host = Host::new(bus, settings, true);
        ensure(&host).await?;
        let orders = Orders::begin(&host).await.map_err(RuntimeError::Control)?;
        let (wanted, wants) = mpsc::channel(DESK_WAITING);
        let stop = CancellationToken::new();
        let driver = Driver { host: Arc::clone(&host), wants, stop: stop.clone() };
        let driving = tokio::spawn(driver.run(orders));
        Ok(Self { host, wanted, driving, stop: stop.drop_guard() })
    }

    /// The name under which it works.
    #[must_use]
    pub fn instance(&self) -> &InstanceId {
        &self.host.instance
    }

    /// Whether it was told to pause: then nothing is taken until that is over.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.host.flow() == Flow::Paused
    }

    /// Takes the next task of the role, or gives up after `patience`. May be cancelled: what was
    /// about to be handed over goes back.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub async fn take(&self, patience: Duration) -> Result<Option<Hand>, TakeError> {
        let most = self.host.settings.concurrency;
        if self.host.held() >= most {
            return Err(TakeError::Full(most));
        }
        let (give, hand) = oneshot::channel();
        match self.wanted.try_send(give) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(TakeError::Crowded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(TakeError::Closed),
        }
        match tokio::time::timeout(patience, hand).await {
            Ok(Ok(hand)) => Ok(Some(hand)),
            Ok(Err(_dropped)) => Err(TakeError::Closed),
            Err(_elapsed) => Ok(None),
        }
    }

    /// Closes it: what it holds goes back to the queue at once, and it says goodbye.
    pub async fn close(self) {
        drop(self.stop);
        if let Err(error) = self.driving.await {
            tracing::error!(%error, "a desk ended without an end");
        }
    }
}

/// Those that wait for a task, the first one first. Held for no longer than a step takes.
type Waiting = Arc<Mutex<VecDeque<oneshot::Sender<Hand>>>>;

/// What takes from the queue for a desk.
struct Driver {
    host: Arc<Host>,
    wants: mpsc::Receiver<oneshot::Sender<Hand>>,
    stop: CancellationToken,
}

impl Driver {
    async fn run(self, orders: Orders) {
        let host = Arc::clone(&self.host);
        let mut background = JoinSet::new();
        let quit = CancellationToken::new();
        background.spawn(presence::show(Arc::clone(&host), quit.clone()));
        background.spawn(orders.obey(quit.clone()));
        let releasing = background.spawn(restart::release_earlier(Arc::clone(&host)));
        let mut attempts = JoinSet::new();
        let stop = self.stop.clone();
        self.take(&mut attempts).await;
        host.evict.cancel();
        drain(&host, &mut attempts, &stop).await;
        quit.cancel();
        releasing.abort();
        while background.join_next().await.is_some() {}
        if let Err(error) = host.bus.flush().await {
            tracing::warn!(%error, "the last acks may not have reached the server");
        }
    }

    /// Asks the queue for one task at a time, and only while somebody waits for one.
    async fn take(mut self, attempts: &mut JoinSet<()>) {
        let host = Arc::clone(&self.host);
        let mut flow = host.watch_flow();
        let mut bands = bands::Watch::begin(&host.bus, &host.settings.role).await;
        // The place is taken from the delivery to the handing over: nothing is taken ahead.
        let slots = Slots::new(1);
        let (free, mut freed) = mpsc::channel::<Slot>(1);
        let mut gate = Gate::shut(&host, &slots);
        let waiting = Waiting::default();
        loop {
            let now = *flow.borrow_and_update();
            let is_wanted = is_wanted(&waiting);
            match now {
                Flow::Open if is_wanted => gate.open(),
                Flow::Open | Flow::Paused => gate.close().await,
                Flow::Drained | Flow::Stopping => {
                    gate.close().await;
                    // Who waits is told; what is held goes on to its end.
                    locked(&waiting).clear();
                    self.wants.close();
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                Ok(()) = flow.changed() => {}
                Some(want) = self.wants.recv() => locked(&waiting).push_back(want),
                () = given_up(&waiting), if is_wanted => {}
                // Where nobody waits any more the gate is shut before the place is free again.
                Some(slot) = freed.recv() => {
                    if !self::is_wanted(&waiting) {
                        gate.close().await;
                    }
                    drop(slot);
                }
                Some(ended) = attempts.join_next() => reap(ended),
                band = bands.next(&host.bus, &host.settings.role) => {
                    if !gate.open_band(band).await {
                        bands.forget(band);
                    }
                }
                next = gate.next() => match next {
                    Ok((delivery, slot)) => {
                        let offer = Offer { waiting: Arc::clone(&waiting), free: free.clone() };
                        attempts.spawn(offer.work(Arc::clone(&host), delivery, slot));
                    }
                    Err(ConsumeError::ConsumerGone { consumer, .. }) => {
                        gate.reopen(&consumer, &self.stop).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a desk takes nothing more");
                        break;
                    }
                },
            }
        }
        gate.close().await;
    }
}

/// What brings one delivery to who waits for a task.
struct Offer {
    waiting: Waiting,
    free: mpsc::Sender<Slot>,
}

impl Offer {
    /// Takes a delivery to its end. The place is given back when the attempt was handed over, or
    /// where none began.
    async fn work(self, host: Arc<Host>, delivery: Delivery, slot: Slot) {
        let Self { waiting, free } = self;
        let place = Arc::new(Mutex::new(Some(slot)));
        let held = Arc::clone(&place);
        let back = free.clone();
        let handler = move |context: Context| {
            let (waiting, slot, back) = (Arc::clone(&waiting), empty(&held), back.clone());
            async move {
                let outcome = hand_over(&waiting, context.clone());
                give_back(&back, slot).await;
                let Some(end) = outcome else { return Err(at_once()) };
                tokio::select! {
                    // A hand that was dropped: its caller is gone.
                    end = end => end.unwrap_or_else(|_dropped| Err(at_once())),
                    () = context.stopped() => Err(at_once()),
                }
            }
        };
        attempt::work(host, Arc::new(handler), delivery).await;
        give_back(&free, empty(&place)).await;
    }
}

/// Offers the attempt to those that wait, the first one first.
fn hand_over(
    waiting: &Waiting,
    context: Context,
) -> Option<oneshot::Receiver<Result<Value, Failure>>> {
    let (end, ended) = oneshot::channel();
    let mut hand = Hand { context, end };
    loop {
        let give = locked(waiting).pop_front()?;
        match give.send(hand) {
            Ok(()) => return Some(ended),
            Err(refused) => hand = refused,
        }
    }
}

/// The driver frees the place; where it is gone, nobody needs one.
async fn give_back(free: &mpsc::Sender<Slot>, slot: Option<Slot>) {
    if let Some(slot) = slot
        && let Err(mpsc::error::SendError(slot)) = free.send(slot).await
    {
        drop(slot);
    }
}

/// The attempt ends without a result, and the next one may begin now.
const fn at_once() -> Failure {
    Failure::Postpone { after: Some(Duration::ZERO) }
}

fn empty(place: &Mutex<Option<Slot>>) -> Option<Slot> {
    place.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn locked(waiting: &Waiting) -> std::sync::MutexGuard<'_, VecDeque<oneshot::Sender<Hand>>> {
    // The list is whole after every single step, so a panic elsewhere does no harm to it.
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether anybody waits; those that have given up are forgotten.
fn is_wanted(waiting: &Waiting) -> bool {
    let mut waiting = locked(waiting);
    waiting.retain(|give| !give.is_closed());
    !waiting.is_empty()
}

/// Ready when somebody who waited has given up.
async fn given_up(waiting: &Waiting) {
    std::future::poll_fn(|context| {
        let gone = |give: &mut oneshot::Sender<Hand>| give.poll_closed(context).is_ready();
        if locked(waiting).iter_mut().any(gone) {
            return std::task::Poll::Ready(());
        }
        std::task::Poll::Pending
    })
    .await;
}
