//! What all attempts of a runtime share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use sinew_bus::{Bus, Topology, clock};
use sinew_model::{
    InstanceId, TaskId,
    evidence::Refused,
    limits::RENEWALS_PER_ACK_WAIT,
    presence::{Heartbeat, Held},
    signature::{Seen, Verdict},
    task::Actor,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Settings;

#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) bus: Bus,
    pub(crate) settings: Settings,
    pub(crate) topology: Topology,
    pub(crate) instance: InstanceId,
    /// Another one for each process, so that a restart can be told from a reconnect.
    pub(crate) incarnation: String,
    pub(crate) by: Actor,
    /// Cancelled when the drain has taken too long: handlers are told to stop then.
    pub(crate) evict: CancellationToken,
    /// Whether its attempts are held by callers instead of handlers. Nobody counts the calls of
    /// such an attempt, so what it delegates without a key is known by its work.
    pub(crate) by_hand: bool,
    /// Whether work flows to it.
    flow: watch::Sender<Flow>,
    /// The attempts that run here, for the heartbeat. Held for no longer than a copy takes.
    holds: Mutex<BTreeMap<TaskId, u32>>,
    counts: Counts,
    /// The signed assignments that were taken lately. Held for no longer than a look takes.
    pub(crate) seen: Mutex<Seen>,
    /// What was refused for its signature. Held for no longer than a copy takes.
    refused: Mutex<Refused>,
}

/// Whether work flows to a runtime. One that drains never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It takes what comes.
    Open,
    /// It was told to pause.
    Paused,
    /// It was ordered to drain.
    Drained,
    /// Its own process ends.
    Stopping,
}

/// What a runtime did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Tally {
    /// Attempts begun.
    pub started: u64,
    /// Tasks that ended here, whatever way.
    pub ended: u64,
    /// Attempts given back: failed with another try to come, postponed, drained.
    pub released: u64,
    /// Attempts that lost their task to somebody else.
    pub lost: u64,
    /// Attempts that asked, waited or submitted, and let go of their task.
    pub parked: u64,
    /// Deliveries that began nothing: of an old epoch, of a task that has ended, a second copy.
    pub dropped: u64,
    /// Messages that were no assignment, kept as `dead`.
    pub undecodable: u64,
    /// Messages that were refused for their signature.
    pub refused: Refused,
    /// It ended because it was ordered to drain, and not because its own process was.
    pub drained: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) released: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) undecodable: AtomicU64,
}

impl Host {
    pub(crate) fn new(bus: Bus, settings: Settings, by_hand: bool) -> Arc<Self> {
        let incarnation = clock::unique();
        let instance = settings
            .instance
            .clone()
            .unwrap_or_else(|| InstanceId::unnamed(&settings.role, &incarnation));
        let by = Actor { role: settings.role.clone(), instance: Some(instance.clone()) };
        let topology = settings.topology.clone().unwrap_or_else(|| Topology::standard(&bus));
        Arc::new(Self {
            bus,
            settings,
            topology,
            instance,
            incarnation,
            by,
            evict: CancellationToken::new(),
            by_hand,
            flow: watch::Sender::new(Flow::Open),
            holds: Mutex::default(),
            counts: Counts::default(),
            seen: Mutex::default(),
            refused: Mutex::default(),
        })
    }

    /// How often a lease is renewed.
    pub(crate) fn renew_every(&self) -> Duration {
        self.topology.ack_wait() / RENEWALS_PER_ACK_WAIT
    }

    pub(crate) fn count(&self, which: impl Fn(&Counts) -> &AtomicU64) {
        which(&self.counts).fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_refused(&self, verdict: &Verdict) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).count(verdict);
    }

    pub(crate) fn tally(&self) -> Tally {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Tally {
            started: read(&self.counts.started),
            ended: read(&self.counts.ended),
            released: read(&self.counts.released),
            lost: read(&self.counts.lost),
            parked: read(&self.counts.parked),
            dropped: read(&self.counts.dropped),
            undecodable: read(&self.counts.undecodable),
            refused: *self.refused.lock().unwrap_or_else(PoisonError::into_inner),
            drained: self.flow() == Flow::Drained,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        *self.flow.borrow()
    }

    pub(crate) fn watch_flow(&self) -> watch::Receiver<Flow> {
        self.flow.subscribe()
    }

    /// Opens or shuts the flow of work, unless it is shut for good.
    pub(crate) fn set_flow(&self, to: Flow) {
        let changed = self.flow.send_if_modified(|flow| {
            let changes = *flow != to && matches!(flow, Flow::Open | Flow::Paused);
            if changes {
                *flow = to;
            }
            changes
        });
        if changed {
            tracing::info!(instance = %self.instance, flow = ?to, "the flow of work changes");
        }
    }

    /// Notes that an attempt runs here, until the guard is dropped.
    pub(crate) fn hold(self: &Arc<Self>, task: TaskId, attempt: u32) -> Hold {
        self.locked().insert(task.clone(), attempt);
        Hold { host: Arc::clone(self), task }
    }

    /// Whether an attempt of the task runs here.
    pub(crate) fn holds(&self, task: &TaskId) -> bool {
        self.locked().contains_key(task)
    }

    /// How many attempts run here.
    pub(crate) fn held(&self) -> usize {
        self.locked().len()
    }

    pub(crate) fn heartbeat(&self, leaving: bool) -> Heartbeat {
        let held =
            |(task, attempt): (&TaskId, &u32)| Held { task_id: task.clone(), attempt: *attempt };
        let holds = self.locked().iter().map(held).collect();
        Heartbeat {
            role: self.settings.role.clone(),
            instance: self.instance.clone(),
            incarnation: self.incarnation.clone(),
            at: clock::now(),
            concurrency: self.settings.concurrency,
            holds,
            leaving,
            connection: self.bus.connection(),
            paused: self.flow() == Flow::Paused,
            draining: matches!(self.flow(), Flow::Drained | Flow::Stopping),
            extra: serde_json::Map::new(),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<TaskId, u32>> {
        // The map is whole after every single step, so a panic elsewhere does no harm to it.
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that runs here.
pub(crate) struct Hold {
    host: Arc<Host>,
    task: TaskId,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.host.locked().remove(&self.task);
    }
}
