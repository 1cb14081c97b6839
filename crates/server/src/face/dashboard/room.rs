//! One org as the dashboard sees it: its views, what was looked up a moment ago, and the word that
//! something has changed. Reads go over one connection; each role that visits acts over its own.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::FutureExt as _;
use sinew_agent::{
    Client,
    registry::{Known, Query},
};
use sinew_bus::{Bus, clock};
use sinew_model::{
    OrgId, Role,
    limits::{
        DASHBOARD_FRESH, DASHBOARD_LOGINS, DASHBOARD_LOOK_EVERY, DASHBOARD_MEETINGS,
        DASHBOARD_PATIENCE, DASHBOARD_QUIET, TRY_AGAIN, VIEW_LOOK_EVERY,
    },
    meeting,
    stream::TASK_LOG,
};
use sinew_views::{EventView, Projection, Store, task::FollowError};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{fault::Fault, house::House};
use crate::control::{health::Checkup, presence::Presence, standing::Standing};

/// How often each kind of thing has changed. A page that shows it is rendered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    pub(super) tasks: u64,
    pub(super) events: u64,
    pub(super) meetings: u64,
    /// What servers say of themselves, and of scaling.
    pub(super) system: u64,
    /// Passes by itself, for what does not tell of its changes.
    pub(super) clock: u64,
}

/// What was looked up, and when.
type Kept<K, T> = tokio::sync::Mutex<Option<(K, Arc<T>)>>;

/// One org.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) bus: Bus,
    pub(super) store: Store,
    pub(super) events: EventView,
    pub(super) checkup: Checkup,
    reader: Client,
    logins: tokio::sync::Mutex<HashMap<Role, Bus>>,
    agents: Kept<Instant, Vec<Known>>,
    meetings: Kept<u64, Vec<meeting::State>>,
    ticks: watch::Sender<Ticks>,
    /// Live pages that are open.
    streams: AtomicUsize,
    used: Mutex<Instant>,
    stop: CancellationToken,
}

/// A live page that is open; the room stays while there is one.
#[derive(Debug)]
pub(super) struct Open(Arc<Room>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.use_it();
    }
}

impl Room {
    pub(super) fn new(
        bus: Bus,
        store: Store,
        events: EventView,
        (role, stop): (Role, CancellationToken),
    ) -> Arc<Self> {
        let told = (Presence::default(), Standing::default());
        let checkup = Checkup::new(bus.clone(), clock::unique(), told, Some(store.clone()));
        // It only reads, so the role that it would write as does not matter.
        let reader = Client::new(bus.clone(), role);
        Arc::new(Self {
            bus,
            store,
            events,
            checkup,
            reader,
            logins: tokio::sync::Mutex::default(),
            agents: Kept::default(),
            meetings: Kept::default(),
            ticks: watch::Sender::new(Ticks::default()),
            streams: AtomicUsize::new(0),
            used: Mutex::new(clock::instant()),
            stop,
        })
    }

    pub(super) fn org(&self) -> &OrgId {
        self.bus.subjects().org()
    }

    /// Tells of every change.
    pub(super) fn watch(&self) -> watch::Receiver<Ticks> {
        self.ticks.subscribe()
    }

    /// Somebody looks at it.
    pub(super) fn use_it(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = clock::instant();
    }

    /// Somebody keeps a page of it open.
    pub(super) fn open(self: &Arc<Self>) -> Open {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    /// Whether somebody looked at it lately.
    pub(super) fn is_used(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.streams.load(Ordering::Relaxed) > 0 || used.elapsed() < DASHBOARD_QUIET
    }

    /// Nothing of it goes on.
    pub(super) fn leave(&self) {
        self.stop.cancel();
    }

    /// A client that only reads.
    pub(super) const fn reader(&self) -> &Client {
        &self.reader
    }

    /// A client that speaks for a role with its rights. The connection stays for the next time.
    pub(super) async fn client(&self, house: &House, role: &Role) -> Result<Client, Fault> {
        let mut logins = self.logins.lock().await;
        if let Some(bus) = logins.get(role) {
            return Ok(Client::new(bus.clone(), role.clone()));
        }
        if logins.len() >= DASHBOARD_LOGINS {
            logins.clear();
        }
        let bus = house.connect(self.org(), &House::user_of(role)).await?;
        logins.insert(role.clone(), bus.clone());
        Ok(Client::new(bus, role.clone()))
    }

    /// All roles with their agents, as of a moment ago.
    pub(super) async fn agents(&self) -> Result<Arc<Vec<Known>>, Fault> {
        let mut kept = self.agents.lock().await;
        if let Some((at, agents)) = &*kept
            && at.elapsed() < DASHBOARD_FRESH
        {
            return Ok(Arc::clone(agents));
        }
        let agents = Arc::new(self.reader.agents(&Query::default()).await?);
        *kept = Some((clock::instant(), Arc::clone(&agents)));
        Ok(agents)
    }

    /// The meetings in which something happened last, the newest last, at most [`DASHBOARD_MEETINGS`].
    /// They are read anew when one has changed.
    pub(super) async fn meetings(&self) -> Result<Arc<Vec<meeting::State>>, Fault> {
        let mut kept = self.meetings.lock().await;
        let tick = self.ticks.borrow().meetings;
        if let Some((at, meetings)) = &*kept
            && *at == tick
        {
            return Ok(Arc::clone(meetings));
        }
        let newest = self.reader.meetings(None, DASHBOARD_MEETINGS, |_| true).await?;
        let meetings = Arc::new(newest.meetings);
        *kept = Some((tick, Arc::clone(&meetings)));
        Ok(meetings)
    }

    /// Waits until the view of tasks has all that the log has, so that whoever did something sees
    /// it. A view that takes longer shows it when it can.
    pub(super) async fn catch_up(&self) {
        match self.bus.stream_state(TASK_LOG).await {
            Ok(state) => match self.store.wait_until(state.last_seq, DASHBOARD_PATIENCE).await {
                Ok(()) => {}
                Err(error) => tracing::debug!(%error, "the view is behind what was done"),
            },
            Err(error) => tracing::debug!(%error, "it is not known how far the log is"),
        }
    }

    /// Keeps the views up and tells of changes, until the room is left. `tasks`: nobody else in
    /// this process keeps the view of tasks up.
    pub(super) async fn keep_up(self: Arc<Self>, tasks: bool) {
        let room = &*self;
        let subjects = room.bus.subjects();
        let meetings = subjects.pattern("meetings.*.*");
        let (health, scaling) = (subjects.system_health(), subjects.system_scaling());
        let all = async {
            tokio::join!(
                room.follow_events(),
                room.follow_tasks(tasks),
                room.tell(room.store.watch_reached(), |ticks| ticks.tasks += 1),
                room.tell(room.events.watch_reached(), |ticks| ticks.events += 1),
                room.hear(&meetings, |ticks| ticks.meetings += 1),
                room.hear(health.as_str(), |ticks| ticks.system += 1),
                room.hear(scaling.as_str(), |ticks| ticks.system += 1),
                room.pass(),
            );
        };
        Box::pin(room.stop.run_until_cancelled(all)).await;
    }

    async fn follow_events(&self) {
        while let Err(error) = self.events.follow(&self.bus, self.stop.clone()).await {
            not_kept_up("events", &error);
            clock::pause(TRY_AGAIN).await;
        }
    }

    async fn follow_tasks(&self, here: bool) {
        if !here {
            return;
        }
        let projection = Projection::new(self.store.clone());
        while let Err(error) = projection.follow(&self.bus, self.stop.clone()).await {
            not_kept_up("tasks", &error);
            clock::pause(TRY_AGAIN).await;
        }
    }

    async fn tell(&self, mut reached: watch::Receiver<u64>, what: impl Fn(&mut Ticks)) {
        while reached.changed().await.is_ok() {
            self.ticks.send_modify(&what);
        }
    }

    /// What is heard may be stored a moment later, so a hint is told of more than once.
    async fn hear(&self, subject: &str, what: impl Fn(&mut Ticks)) {
        loop {
            let Ok(mut hints) = self.bus.watch_subject(subject).await else {
                clock::pause(TRY_AGAIN).await;
                continue;
            };
            // What came while nobody listened is looked at now.
            self.ticks.send_modify(&what);
            while hints.next().await.is_some() {
                // All that came together is told of together.
                while hints.next().now_or_never().flatten().is_some() {}
                for wait in [VIEW_LOOK_EVERY / 10, VIEW_LOOK_EVERY] {
                    clock::pause(wait).await;
                    self.ticks.send_modify(&what);
                }
            }
            clock::pause(TRY_AGAIN).await;
        }
    }

    async fn pass(&self) {
        loop {
            clock::pause(DASHBOARD_LOOK_EVERY).await;
            self.ticks.send_modify(|ticks| ticks.clock += 1);
        }
    }
}

fn not_kept_up(view: &'static str, error: &FollowError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(view, error, "a view is not kept up; it is tried again");
}
