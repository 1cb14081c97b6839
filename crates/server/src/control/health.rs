//! How this server fares: looked at when somebody asks, and said on `genbrain.org.system.health` at
//! its pace, and at once when something changes that somebody must know.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sinew_bus::{Bus, Outgoing, clock, read::StreamState};
use sinew_model::{
    Role,
    health::Health,
    limits::{HEALTH_EVERY, HEALTH_PATIENCE, HEARTBEAT_EVERY, VIEW_BEHIND},
    stream::{AGENT_MAIL, AGENT_TASKS, ORG_EVENTS, SYSTEM, TASK_LOG},
};
use sinew_views::{
    Store,
    task::{Count, VoidKind},
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{presence::Presence, standing::Standing};

/// The streams whose size is told: those that grow with the work.
const MEASURED: [&str; 4] = [AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS];

/// All that is told in numbers. What could not be had is left out, since a zero would be a claim.
#[derive(Debug)]
pub(crate) struct Sample {
    /// How the server fares.
    pub(crate) health: Health,
    /// How many tasks of each role stand where.
    pub(crate) tasks: Vec<Count>,
    /// How many entries changed no task.
    pub(crate) voids: Vec<(VoidKind, u64)>,
    /// The role of each agent that is heard.
    pub(crate) agents: Vec<Role>,
    /// What the streams hold.
    pub(crate) streams: Vec<(&'static str, StreamState)>,
}

/// Looks at one server. Clones look at the same one.
#[derive(Clone, Debug)]
pub struct Checkup(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bus: Bus,
    me: String,
    presence: Presence,
    /// `None` where this server keeps no view.
    view: Option<Store>,
    standing: Standing,
    since: Instant,
    /// Why this server has ended, or is about to. Whoever asks then is told.
    ending: Mutex<Option<String>>,
}

impl Checkup {
    /// Looks at the server of that name.
    #[must_use]
    pub fn new(
        bus: Bus,
        me: String,
        (presence, standing): (Presence, Standing),
        view: Option<Store>,
    ) -> Self {
        let (since, ending) = (clock::instant(), Mutex::default());
        Self(Arc::new(Inner { bus, me, presence, view, standing, since, ending }))
    }

    /// From now on it is not ready, since it ends.
    pub fn ends(&self, why: &str) {
        let mut ending = self.0.ending.lock().unwrap_or_else(PoisonError::into_inner);
        *ending = Some(why.to_owned());
    }

    /// Looks now. What can't be had within a time counts as not well.
    pub async fn look(&self) -> Health {
        let it = &*self.0;
        let ending = it.ending.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut faults: Vec<String> = ending.into_iter().collect();
        let mut told = |what: &str, state: Result<u64, String>| {
            state.unwrap_or_else(|why| {
                faults.push(format!("{what}: {why}"));
                0
            })
        };
        let queued = told("the queues", self.stream(AGENT_TASKS, |state| state.messages).await);
        let log_seq = told("the log of tasks", self.stream(TASK_LOG, |state| state.last_seq).await);
        let view_seq = match &it.view {
            Some(view) => told("the view", view.reached().await.map_err(|it| it.to_string())),
            None => log_seq,
        };
        if log_seq.saturating_sub(view_seq) > VIEW_BEHIND {
            faults.push(format!("the view is {} entries behind", log_seq.saturating_sub(view_seq)));
        }
        let (leads, crashing) = it.standing.told();
        Health {
            at: clock::now(),
            org_id: it.bus.subjects().org().clone(),
            server: it.me.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            up_seconds: it.since.elapsed().as_secs(),
            ready: faults.is_empty(),
            faults,
            queued,
            log_seq,
            view_seq,
            agents: u64::try_from(it.presence.living().len()).unwrap_or(u64::MAX),
            leads,
            crashing,
            extra: serde_json::Map::new(),
        }
    }

    /// Looks at all that can be counted.
    pub(crate) async fn sample(&self) -> Sample {
        let it = &*self.0;
        let health = self.look().await;
        let (mut tasks, mut voids) = (Vec::new(), Vec::new());
        if let Some(view) = &it.view {
            // What a view that can't be asked would have said is missing; `health` says why.
            tasks = view.counts().await.unwrap_or_default();
            voids = view.void_counts().await.unwrap_or_default();
        }
        let agents = it.presence.living().into_iter().map(|heartbeat| heartbeat.role).collect();
        let mut streams = Vec::new();
        for stream in MEASURED {
            let asked = timeout(HEALTH_PATIENCE, it.bus.stream_state(stream)).await;
            streams.extend(asked.ok().and_then(Result::ok).map(|state| (stream, state)));
        }
        Sample { health, tasks, voids, agents, streams }
    }

    async fn stream(&self, stream: &str, of: impl Fn(&StreamState) -> u64) -> Result<u64, String> {
        match timeout(HEALTH_PATIENCE, self.0.bus.stream_state(stream)).await {
            Ok(Ok(state)) => Ok(of(&state)),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no answer within {} s", HEALTH_PATIENCE.as_secs())),
        }
    }

    /// Says how it fares until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let all = async {
            let mut said = None;
            let mut due = clock::instant();
            loop {
                let told = self.0.standing.told();
                if clock::instant() >= due || said.as_ref() != Some(&told) {
                    self.say().await;
                    (said, due) = (Some(told), clock::instant() + HEALTH_EVERY);
                }
                clock::pause(HEARTBEAT_EVERY.min(Duration::from_millis(500))).await;
            }
        };
        shutdown.run_until_cancelled(all).await;
    }

    async fn say(&self) {
        let health = self.look().await;
        let subject = self.0.bus.subjects().system_health();
        let said = match serde_json::to_vec(&health) {
            Ok(body) => {
                let out = Outgoing::new(SYSTEM, subject, body).id(clock::unique());
                self.0.bus.publish(out).await.map(|_| ()).map_err(|error| error.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = said {
            tracing::debug!(error, "a sample of health was not stored");
        }
    }
}
