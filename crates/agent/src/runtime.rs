//! The worker's half: hosts an agent. It takes the tasks of a role from its queue, begins an
//! attempt on each under a fence, keeps the lease while the handler lives, and brings the attempt
//! to its end in the task's log before it lets go of the message.
//!
//! `host` is what all attempts share; `begin` turns a delivery into a begun attempt or says
//! why not; `attempt` runs one; `settle` does what is left to do after an attempt;
//! `restart` releases what an earlier process of the same instance held; `presence` shows
//! signs of life and looks for another's; `desk` hands attempts to callers instead of a handler;
//! `control` obeys a pause and an order to drain, and
//! `gate` takes from the queue accordingly; `bands` finds bands of the queue that come into use.

mod attempt;
mod bands;
mod begin;
mod control;
pub mod desk;
mod gate;
mod host;
mod presence;
mod restart;
mod sender;
mod settle;

pub(crate) use begin::chain;

use std::{sync::Arc, time::Duration};

use gate::Gate;
use sinew_bus::{Bus, ConsumeError, EnsureError, RequestError, Slots, Topology};
use sinew_model::{
    Band, InstanceId, Role,
    card::Description,
    limits,
    retry::Backoff,
    stream::{
        AGENT_CONTROL, AGENT_MAIL, AGENT_PRESENCE, AGENT_TASKS, OBJ_BODIES, ORG_EVENTS, TASK_LOG,
        TASK_SCHEDULES,
    },
};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    handler::Handler,
    registry::{self, RegistryError},
};
pub use host::Tally;
use host::{Flow, Host};

/// What a runtime is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The role whose tasks it takes.
    pub role: Role,
    /// A name that outlives a restart: a process that starts under it releases at once what an
    /// earlier one of the same name still held. `None`: a name that nobody else has; what such a
    /// process holds when it dies comes back when its ack wait is over, or when a controller
    /// notices. Never give two living processes of an org the same name.
    pub instance: Option<InstanceId>,
    /// Tasks that it works on at a time: 1 to 1,000; 5 by default.
    pub concurrency: usize,
    /// When a failed attempt is tried again.
    pub backoff: Backoff,
    /// How long handlers may go on after the shutdown was asked for, before they are told to stop
    /// and their tasks are released.
    pub drain: Duration,
    /// How long handlers may go on after an order to drain, while no shutdown is asked for; as
    /// [`Settings::drain`] if `None`.
    pub finish: Option<Duration>,
    /// The streams and consumers that it expects, and makes where they are missing; the standard
    /// ones if `None`.
    pub topology: Option<Topology>,
    /// What the role can do: written to its card when the runtime starts, as far as it is said.
    pub card: Description,
}

impl Settings {
    /// Everything but the role as it is by default.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            instance: None,
            concurrency: limits::CONCURRENCY,
            backoff: Backoff::default(),
            drain: limits::DRAIN,
            finish: None,
            topology: None,
            card: Description::default(),
        }
    }
}

/// Why a runtime does not run, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The concurrency is 0 or too large.
    #[error("the concurrency must be 1 to {}", limits::CONCURRENCY_MAX)]
    Concurrency,
    /// A stream or consumer is missing and can't be made.
    #[error("the streams are not as the runtime needs them")]
    Topology(#[from] EnsureError),
    /// The role can't be put into the registry.
    #[error("the role can't be described")]
    Card(#[from] RegistryError),
    /// It can't be known whether the role is paused.
    #[error("what holds for the role can't be read")]
    Control(#[source] RequestError),
    /// Nothing more comes from the queue.
    #[error("the queue can't be consumed")]
    Consume(#[from] ConsumeError),
}

/// Hosts an agent.
#[derive(Debug)]
pub struct Runtime {
    bus: Bus,
    settings: Settings,
}

impl Runtime {
    /// A runtime that is yet to run.
    #[must_use]
    pub const fn new(bus: Bus, settings: Settings) -> Self {
        Self { bus, settings }
    }

    /// Works until `shutdown`, or until it is ordered to drain, then drains: takes nothing more, lets the handlers end within
    /// [`Settings::drain`], and releases what they have not ended. Says what it did.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub async fn run<H: Handler>(
        self,
        handler: H,
        shutdown: CancellationToken,
    ) -> Result<Tally, RuntimeError> {
        let Self { bus, settings } = self;
        if settings.concurrency == 0 || settings.concurrency > limits::CONCURRENCY_MAX {
            return Err(RuntimeError::Concurrency);
        }
        let host = Host::new(bus, settings, false);
        ensure(&host).await?;
        let role = &host.settings.role;
        let card = &host.settings.card;
        registry::describe(&host.bus, (role, role), |known| known.described(card)).await?;
        let slots = Slots::new(host.settings.concurrency);
        let orders = control::Orders::begin(&host).await.map_err(RuntimeError::Control)?;
        // Both sets end what they hold where this future is dropped.
        let mut background = JoinSet::new();
        let quit = CancellationToken::new();
        background.spawn(presence::show(Arc::clone(&host), quit.clone()));
        background.spawn(orders.obey(quit.clone()));
        let releasing = background.spawn(restart::release_earlier(Arc::clone(&host)));
        let mut attempts = JoinSet::new();
        let outcome = take(&host, Arc::new(handler), &slots, &mut attempts, &shutdown).await;
        drain(&host, &mut attempts, &shutdown).await;
        quit.cancel();
        releasing.abort();
        while background.join_next().await.is_some() {}
        if let Err(error) = host.bus.flush().await {
            tracing::warn!(%error, "the last acks may not have reached the server");
        }
        outcome.map(|()| host.tally())
    }
}

async fn ensure(host: &Host) -> Result<(), EnsureError> {
    for stream in [
        TASK_SCHEDULES,
        AGENT_TASKS,
        TASK_LOG,
        AGENT_MAIL,
        AGENT_PRESENCE,
        AGENT_CONTROL,
        ORG_EVENTS,
        OBJ_BODIES,
    ] {
        host.topology.ensure_stream(&host.bus, stream).await?;
    }
    host.topology.ensure_work_consumer(&host.bus, &host.settings.role, Band::Normal).await
}

/// Takes deliveries and begins an attempt on each, while work flows, until the shutdown or an order
/// to drain.
async fn take<H: Handler>(
    host: &Arc<Host>,
    handler: Arc<H>,
    slots: &Slots,
    attempts: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> Result<(), RuntimeError> {
    let mut flow = host.watch_flow();
    let mut bands = bands::Watch::begin(&host.bus, &host.settings.role).await;
    let mut gate = Gate::shut(host, slots);
    loop {
        let now = *flow.borrow_and_update();
        match now {
            Flow::Open => gate.open(),
            Flow::Paused => gate.close().await,
            Flow::Drained | Flow::Stopping => break,
        }
        tokio::select! {
            () = shutdown.cancelled() => host.set_flow(Flow::Stopping),
            Ok(()) = flow.changed() => {}
            Some(ended) = attempts.join_next() => reap(ended),
            band = bands.next(&host.bus, &host.settings.role) => {
                if !gate.open_band(band).await {
                    bands.forget(band);
                }
            }
            next = gate.next() => match next {
                Ok((delivery, slot)) => {
                    let work = attempt::work(Arc::clone(host), Arc::clone(&handler), delivery);
                    attempts.spawn(async move {
                        work.await;
                        drop(slot);
                    });
                }
                Err(ConsumeError::ConsumerGone { consumer, .. }) => {
                    gate.reopen(&consumer, shutdown).await;
                }
                Err(error) => return Err(error.into()),
            },
        }
    }
    gate.close().await;
    Ok(())
}

/// Lets the attempts end; tells those to stop that take too long.
async fn drain(host: &Host, attempts: &mut JoinSet<()>, shutdown: &CancellationToken) {
    let all = async {
        while let Some(ended) = attempts.join_next().await {
            reap(ended);
        }
    };
    tokio::pin!(all);
    if let Some(finish) = host.settings.finish.filter(|_| host.flow() == Flow::Drained) {
        tokio::select! {
            () = &mut all => return,
            () = shutdown.cancelled() => {}
            () = sinew_bus::clock::pause(finish.saturating_sub(host.settings.drain)) => {}
        }
    }
    if tokio::time::timeout(host.settings.drain, &mut all).await.is_ok() {
        return;
    }
    host.evict.cancel();
    all.await;
}

/// An attempt ends with an answer to its delivery, so a panic here is a defect of the runtime.
fn reap(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "an attempt ended without an end");
    }
}
