//! One MCP session: the role that it speaks for, and the tasks that it holds. When it ends, its
//! tasks go back at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sinew_agent::{Client, Context, Desk, Hand, RuntimeError, Settings};
use sinew_bus::{Bus, Topology, clock};
use sinew_model::{InstanceId, Role, TaskId, limits::MCP_CALLS};
use sinew_views::{Projection, Store};
use tokio::{
    sync::{OnceCell, Semaphore, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::reply::Told;

/// What every session of an org begins with.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The connection to the org.
    pub bus: Bus,
    /// The streams and consumers of the org.
    pub topology: Topology,
    /// The view of its tasks.
    pub views: Projection,
    /// Where desks close that are not waited for.
    pub closing: TaskTracker,
}

impl Origin {
    /// Sessions on a connection, with a view of their own in memory.
    ///
    /// # Errors
    /// When there can be no view.
    pub async fn new(bus: Bus) -> Result<Self, sinew_views::OpenError> {
        let views = Projection::new(Store::open_in_memory(bus.subjects().clone()).await?);
        let topology = Topology::standard(&bus);
        Ok(Self { bus, topology, views, closing: Self::tracker() })
    }

    /// Where desks close that are not waited for: one of its own for each server.
    #[must_use]
    pub fn tracker() -> TaskTracker {
        TaskTracker::new()
    }
}

/// As whom a session speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) role: Role,
    /// A name that outlives a restart; only ever one session has it.
    pub(crate) instance: Option<InstanceId>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Hub {
    origin: Origin,
    speaker: Speaker,
    client: Client,
    /// Opened at first use; it shows signs of life from then on.
    desk: OnceCell<Desk>,
    /// What it holds. Locked for no longer than a look or a move takes.
    hands: Mutex<BTreeMap<TaskId, Hand>>,
    /// Bounds the calls in flight.
    calls: Semaphore,
    /// Cancelled when its host is gone: from then on it holds nothing.
    gone: CancellationToken,
    /// Streams and requests of a stateless client that are open; it lives while there are any.
    open: watch::Sender<usize>,
    /// When it was last heard of.
    heard: Mutex<Instant>,
}

impl Hub {
    pub(crate) fn new(origin: Origin, speaker: Speaker) -> Arc<Self> {
        let client = Client::new(origin.bus.clone(), speaker.role.clone());
        Arc::new(Self {
            origin,
            speaker,
            client,
            desk: OnceCell::new(),
            hands: Mutex::default(),
            calls: Semaphore::new(MCP_CALLS),
            gone: CancellationToken::new(),
            open: watch::Sender::new(0),
            heard: Mutex::new(clock::instant()),
        })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) const fn bus(&self) -> &Bus {
        &self.origin.bus
    }

    pub(crate) const fn role(&self) -> &Role {
        &self.speaker.role
    }

    pub(crate) const fn calls(&self) -> &Semaphore {
        &self.calls
    }

    pub(crate) const fn topology(&self) -> &Topology {
        &self.origin.topology
    }

    /// The view, up with the stream.
    pub(crate) async fn views(&self) -> Result<&Store, Told> {
        self.origin.views.catch_up(self.bus()).await.map_err(|error| {
            Told::passing(&error, "the view of the tasks can't be brought up to date now")
        })?;
        Ok(self.origin.views.store())
    }

    /// The desk at which it takes tasks.
    pub(crate) async fn desk(&self) -> Result<&Desk, RuntimeError> {
        self.desk
            .get_or_try_init(|| async {
                let mut settings = Settings::new(self.speaker.role.clone());
                settings.instance.clone_from(&self.speaker.instance);
                settings.topology = Some(self.origin.topology.clone());
                // Boxed, because it is large and rarely there.
                Box::pin(Desk::open(self.origin.bus.clone(), settings)).await
            })
            .await
    }

    /// Keeps an attempt that was taken. Where the host is gone, it goes back at once.
    pub(crate) fn hold(&self, hand: Hand) {
        let mut hands = self.locked();
        if !self.gone.is_cancelled() {
            hands.insert(hand.context().id().clone(), hand);
        }
    }

    /// The host is gone: what it holds goes back now, and what waits for it ends.
    pub(crate) fn leave(&self) {
        self.gone.cancel();
        self.locked().clear();
    }

    /// Waits until the host is gone.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Tells of the end of its host by its cancellation.
    pub(crate) const fn end(&self) -> &CancellationToken {
        &self.gone
    }

    /// The attempts that it holds. What was lost meanwhile is forgotten here.
    pub(crate) fn held(&self) -> Vec<Context> {
        let mut hands = self.locked();
        hands.retain(|_, hand| !hand.context().is_stopped());
        hands.values().map(|hand| hand.context().clone()).collect()
    }

    /// The attempt of this task, to act in.
    pub(crate) fn attempt(&self, id: &TaskId) -> Result<Context, Told> {
        let mut hands = self.locked();
        match hands.get(id).map(|hand| hand.context().clone()) {
            Some(context) if context.is_stopped() => {
                hands.remove(id);
                Err(Told::lost(id))
            }
            Some(context) => Ok(context),
            None => Err(Told::not_held(id)),
        }
    }

    /// The attempt of this task, to end it.
    pub(crate) fn let_go(&self, id: &TaskId) -> Result<Hand, Told> {
        match self.locked().remove(id) {
            Some(hand) if hand.context().is_stopped() => Err(Told::lost(id)),
            Some(hand) => Ok(hand),
            None => Err(Told::not_held(id)),
        }
    }

    /// Notes that a request or a stream is open, until the guard is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        self.touch();
        self.open.send_modify(|open| *open = open.saturating_add(1));
        Entered(Arc::clone(self))
    }

    /// Since when nothing has been heard of it; `None` while something is open.
    pub(crate) fn silent_since(&self) -> Option<Instant> {
        let quiet = *self.open.borrow() == 0;
        quiet.then(|| *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn touch(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = clock::instant();
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<TaskId, Hand>> {
        // The map is whole after every single step, so a panic elsewhere does no harm to it.
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take() {
            // It gives back what is held, and says goodbye.
            self.origin.closing.spawn(desk.close());
        }
    }
}

/// Something of a session is open.
#[derive(Debug)]
pub(crate) struct Entered(Arc<Hub>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.touch();
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}
