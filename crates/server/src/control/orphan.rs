//! Takes back what an instance held that is gone for good: its attempts are released in their logs,
//! and what the log has released is handed out again. Who is gone is `model`'s to judge
//! ([`sinew_model::presence::orphan`]); what is here listens and carries it out.
//!
//! Two of it may run at once: of two releases of one attempt the log takes one, and only who wrote
//! it naks. A false alarm on a living worker costs it its attempt, and nothing is done twice: the
//! next thing that it writes is refused, and its handler is told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sinew_agent::reclaim::{Reclaim, ReclaimError};
use sinew_bus::{Bus, Config, Hint, Hints, clock};
use sinew_model::{
    Band, IdError, InstanceId, Role, Time,
    limits::{CANARY_EVERY, ORPHAN_ENDS, ORPHAN_GRACE, ORPHAN_ROUNDS, ORPHANS_AT_ONCE, TRY_AGAIN},
    presence::{
        Connection, Heartbeat,
        orphan::{Gone, Sign, Watch},
    },
    task::{Actor, ReleaseReason, Start},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::sweep::CONTROLLERS;

/// Watches over the instances of one org.
#[derive(Debug)]
pub struct Orphans {
    bus: Bus,
    system: Option<Config>,
    role: Role,
    instance: InstanceId,
    incarnation: String,
    watch: Arc<Mutex<Watch>>,
    /// Takes the place of a clock that may jump: times are spans since then.
    since: Instant,
    /// The newest canary: its number, when it was sent, and whether it came back.
    canary: (u64, Time, bool),
    /// Bounds the instances of how many roles are taken care of at the same moment.
    turns: Arc<Semaphore>,
}

impl Orphans {
    /// A controller on an org's connection. With the login of the system account it learns at once
    /// of connections that end; without, only of silence.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub fn new(bus: Bus, system: Option<Config>) -> Result<Self, IdError> {
        let incarnation = clock::unique();
        Ok(Self {
            bus,
            system,
            role: CONTROLLERS.parse()?,
            // One name for each, since a controller must not take another's canary for its own.
            instance: format!("orphans-{incarnation}").parse()?,
            incarnation,
            watch: Arc::default(),
            since: clock::instant(),
            canary: (0, Time::from_micros(0), true),
            turns: Arc::new(Semaphore::new(ORPHANS_AT_ONCE)),
        })
    }

    /// Watches until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut work = JoinSet::new();
        let (sender, mut ends) = mpsc::channel(ORPHAN_ENDS);
        match self.system.take() {
            Some(system) => drop(work.spawn(listen_for_ends(system, sender))),
            None => tracing::info!(
                "without a login of the system account, a dead agent is noticed by its silence"
            ),
        }
        while !shutdown.is_cancelled() {
            let subject = self.bus.subjects().heartbeats();
            let Ok(mut hints) = self.bus.watch_subject(subject.as_str()).await else {
                clock::pause(TRY_AGAIN).await;
                continue;
            };
            self.locked().cut_off(self.now());
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.listen(&mut hints, &mut ends, &mut work) => {}
            }
        }
    }

    /// Listens until the subscription ends.
    async fn listen(
        &mut self,
        hints: &mut Hints,
        ends: &mut mpsc::Receiver<Connection>,
        work: &mut JoinSet<()>,
    ) {
        let mut connections = self.bus.connections();
        loop {
            let canary = self.next_canary();
            tokio::select! {
                biased;
                // While the connection was away, heartbeats went unheard.
                changed = connections.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.locked().cut_off(self.now());
                }
                Some(ended) = ends.recv() => self.locked().disconnected(&ended, self.now()),
                () = tokio::time::sleep_until(canary) => self.send_canary().await,
                hint = hints.next() => {
                    let Some(hint) = hint else { return };
                    for (role, gone) in by_role(self.hear(&hint)) {
                        work.spawn(self.take_back(role, gone));
                    }
                }
                Some(done) = work.join_next() => {
                    if let Err(error) = done {
                        tracing::error!(%error, "taking tasks back broke off");
                    }
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::from_micros(0).plus(self.since.elapsed())
    }

    fn locked(&self) -> MutexGuard<'_, Watch> {
        // Each of its steps leaves it whole.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next canary flies as soon as it may show that somebody is gone, and at its pace else.
    fn next_canary(&self) -> Instant {
        let (number, sent, is_back) = self.canary;
        if number == 0 {
            // Nobody is given up before the first one is back.
            return clock::instant();
        }
        let paced = sent.plus(CANARY_EVERY).since(self.now());
        let due = self.locked().next(self.now()).filter(|_| is_back);
        clock::instant() + due.map_or(paced, |due| due.min(paced))
    }

    async fn send_canary(&mut self) {
        let number = self.canary.0.saturating_add(1);
        self.canary = (number, self.now(), false);
        let heartbeat = Heartbeat {
            role: self.role.clone(),
            instance: self.instance.clone(),
            incarnation: self.incarnation.clone(),
            at: clock::now(),
            concurrency: 0,
            holds: Vec::new(),
            leaving: false,
            connection: self.bus.connection(),
            paused: false,
            draining: false,
            extra: [("canary".to_owned(), number.into())].into_iter().collect(),
        };
        let subject = self.bus.subjects().heartbeat(&self.role);
        let sent = match serde_json::to_vec(&heartbeat) {
            Ok(body) => {
                self.bus.send_unanswered(&subject, body).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = sent {
            tracing::debug!(error, "a canary was not sent");
        }
    }

    /// Takes in a heartbeat; if it is the canary, says who is gone.
    fn hear(&mut self, hint: &Hint) -> Vec<Gone> {
        let heartbeat = match serde_json::from_slice::<Heartbeat>(hint.payload()) {
            Ok(heartbeat) => heartbeat,
            Err(error) => {
                tracing::debug!(%error, "a heartbeat is not readable");
                return Vec::new();
            }
        };
        let now = self.now();
        if heartbeat.instance != self.instance {
            self.locked().heard(&heartbeat, now);
            return Vec::new();
        }
        let (number, sent, is_back) = self.canary;
        let said = heartbeat.extra.get("canary").and_then(serde_json::Value::as_u64);
        if is_back || said != Some(number) {
            return Vec::new();
        }
        self.canary.2 = true;
        self.locked().canary(sent, now)
    }

    /// Takes back what instances of one role held.
    fn take_back(&self, role: Role, gone: Vec<Gone>) -> impl Future<Output = ()> + use<> {
        for it in &gone {
            tracing::warn!(instance = %it.instance, incarnation = it.incarnation, sign = ?it.sign,
                "an agent is gone; what it held is taken back");
        }
        let by = Actor { role: self.role.clone(), instance: Some(self.instance.clone()) };
        let reclaim = Reclaim::new(self.bus.clone(), role, by, ReleaseReason::Orphaned);
        let (watch, turns) = (Arc::clone(&self.watch), Arc::clone(&self.turns));
        async move { TakeBack { reclaim, gone, watch, turns }.run().await }
    }
}

/// Forwards the ends of connections. Where they come faster than they are taken, silence tells the
/// rest.
async fn listen_for_ends(system: Config, ends: mpsc::Sender<Connection>) {
    while !ends.is_closed() {
        let listening = match Bus::connect(system.clone()).await {
            Ok(bus) => bus.watch_ends().await.map(|listening| (bus, listening)),
            Err(error) => Err(error.to_string()),
        };
        let fault = match listening {
            Ok((_bus, mut listening)) => {
                while let Some(ended) = listening.next().await {
                    if ends.try_send(ended).is_err() {
                        tracing::debug!("the end of a connection went unheard");
                    }
                }
                "the connection is closed".to_owned()
            }
            Err(fault) => fault,
        };
        tracing::warn!(fault, "the server's word about connections is not heard for the moment");
        clock::pause(TRY_AGAIN).await;
    }
}

fn by_role(gone: Vec<Gone>) -> BTreeMap<Role, Vec<Gone>> {
    let mut roles: BTreeMap<Role, Vec<Gone>> = BTreeMap::new();
    for it in gone {
        roles.entry(it.role.clone()).or_default().push(it);
    }
    roles
}

/// What is to be taken back from instances of one role.
struct TakeBack {
    reclaim: Reclaim,
    gone: Vec<Gone>,
    watch: Arc<Mutex<Watch>>,
    turns: Arc<Semaphore>,
}

impl TakeBack {
    async fn run(self) {
        // What it said that it held is known without a search.
        let held: BTreeSet<_> =
            self.gone.iter().flat_map(|it| &it.holds).map(|held| held.task_id.clone()).collect();
        {
            let _turn = self.turns.acquire().await;
            for id in held {
                told(self.reclaim.release_task(id, |start| self.is_gone(start)).await);
            }
        }
        for _ in 0..ORPHAN_ROUNDS {
            let idle = {
                let _turn = self.turns.acquire().await;
                self.look().await
            };
            clock::pause(ORPHAN_GRACE).await;
            let _turn = self.turns.acquire().await;
            let mut is_done = idle.is_some() && !self.keeps_pulls();
            for open in idle.into_iter().flatten() {
                is_done &= !told(self.reclaim.hand_out(open).await).unwrap_or(true);
            }
            if is_done {
                return;
            }
        }
    }

    /// Releases what the dead have open, and gives what is open and nobody's; `None` where not all
    /// of it could be seen.
    async fn look(&self) -> Option<Vec<sinew_agent::reclaim::Idle>> {
        let mut idle = Some(Vec::new());
        for band in Band::ALL {
            let found = self.reclaim.release_band(band, |start| self.is_gone(start)).await;
            idle = told(found).zip(idle).map(|(found, mut idle)| {
                idle.extend(found);
                idle
            });
        }
        idle
    }

    fn is_gone(&self, start: &Start) -> bool {
        let is_it =
            |it: &&Gone| it.instance == start.instance && it.incarnation == start.incarnation;
        self.gone.iter().find(is_it).is_some_and(|it| !self.lives_again(it))
    }

    /// Whether one that was given up shows signs of life again.
    fn lives_again(&self, it: &Gone) -> bool {
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.knows(&it.instance, &it.incarnation)
    }

    /// Whether one of them may only be stopped, and is still handed deliveries.
    fn keeps_pulls(&self) -> bool {
        self.gone.iter().any(|it| it.sign == Sign::Silent && !self.lives_again(it))
    }
}

/// What came of it; a fault goes into the log.
fn told<T>(outcome: Result<T, ReclaimError>) -> Option<T> {
    if let Err(error) = &outcome {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "not all that a dead agent held is taken back yet");
    }
    outcome.ok()
}
