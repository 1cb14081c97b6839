//! The scaler: sees what each role has to do, and says how many instances it is to have. Of several
//! that run for one org one leads, and what it says is stored under the fence of its lease, so that
//! one that stood still and was followed by another is refused. It starts and stops nothing; whoever
//! does follows its signals.
//!
//! One question to the server shows the queues of all roles, and no role needs a consumer for it. A
//! role that sleeps loses the consumers that it had.

mod people;
pub mod status;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use people::People;
use sinew_bus::{Bus, Hints, Outgoing, PublishError, clock};
use sinew_model::{
    Address, Band, Role, Time,
    lease::{Fence, LeaseName},
    limits::{
        HEARTBEAT_EVERY, RETIRED_AT_ONCE, SCALE_EVERY, SCALE_SOONEST, SIGNAL_EVERY, STUCK_AFTER,
        TRY_AGAIN,
    },
    scale::{Decision, Last, Limits, Load, Meter, RoleSignal, Sample, Signal, decide},
    stream::{AGENT_TASKS, SYSTEM, work_consumer_name},
    team::Team,
};
use sinew_views::Store;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use view::{Seen, View};

use super::{
    lease::{Lease, STEP_EVERY},
    presence::Presence,
    standing::Standing,
};

/// Decides for the roles of a team.
#[derive(Debug)]
pub struct Scaler {
    bus: Bus,
    me: String,
    team: watch::Receiver<Arc<Team>>,
    presence: Presence,
    people: People,
    standing: Standing,
    lease: Lease,
    /// The beginning of the steady clock by which it decides.
    since: Instant,
    /// Since when it leads without a break, and has heard signs of life.
    leads_since: Option<Instant>,
    roles: BTreeMap<Role, Known>,
    /// Tasks that were heard to come since the last look.
    arrived: BTreeMap<Role, u64>,
    /// Roles that may have consumers left; all of them when it begins.
    awake: BTreeSet<Role>,
    said: Option<(Signal, Instant)>,
}

/// What is known of a role from one look to the next.
#[derive(Debug, Default)]
struct Known {
    last: Last,
    meter: Meter,
    stuck: Option<(Time, Instant)>,
}

impl Scaler {
    /// A scaler for the roles that `team` says, now and when it changes. `presence` must be
    /// listening. Without a view of the tasks it does not say who waits for people.
    #[must_use]
    pub fn new(
        bus: Bus,
        me: String,
        team: watch::Receiver<Arc<Team>>,
        (presence, view): (Presence, Option<Store>),
    ) -> Self {
        let lease = Lease::new(bus.clone(), LeaseName::Scaler, me.clone());
        Self {
            bus,
            me,
            team,
            presence,
            people: People::new(view),
            standing: Standing::default(),
            lease,
            since: clock::instant(),
            leads_since: None,
            roles: BTreeMap::new(),
            arrived: BTreeMap::new(),
            awake: BTreeSet::new(),
            said: None,
        }
    }

    /// Lets others of this process know how it stands.
    #[must_use]
    pub fn telling(mut self, standing: Standing) -> Self {
        self.standing = standing;
        self
    }

    /// Decides until `shutdown`, and then lets another one lead.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let [normal, bands] =
                ["agents.*.tasks", "agents.*.tasks.*"].map(|it| self.bus.subjects().pattern(it));
            let heard =
                (self.bus.watch_subject(&normal).await, self.bus.watch_subject(&bands).await);
            let (Ok(mut normal), Ok(mut bands)) = heard else {
                clock::pause(TRY_AGAIN).await;
                continue;
            };
            shutdown.run_until_cancelled(self.watch(&mut normal, &mut bands)).await;
        }
        self.standing.leads(LeaseName::Scaler, false);
        self.lease.release().await;
    }

    /// Looks whenever something comes onto a queue, and at its pace else.
    async fn watch(&mut self, normal: &mut Hints, bands: &mut Hints) {
        let mut looked = None::<Instant>;
        loop {
            let leads = self.lead().await;
            if let Some(fence) = leads {
                self.look(fence).await;
                looked = Some(clock::instant());
            }
            let pace = if leads.is_some() { SCALE_EVERY } else { STEP_EVERY };
            let next = clock::instant() + pace;
            let soonest = looked.map_or(next, |looked| looked + SCALE_SOONEST);
            let mut stirred = false;
            loop {
                let until = if stirred { soonest } else { next };
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    changed = self.team.changed() => {
                        // Whoever reads the file is gone: what it said last goes on to hold.
                        if changed.is_err() {
                            tokio::time::sleep_until(until).await;
                        }
                        break;
                    }
                    hint = normal.next() => match hint {
                        Some(hint) => stirred |= self.hear(hint.subject()),
                        None => return,
                    },
                    hint = bands.next() => match hint {
                        Some(hint) => stirred |= self.hear(hint.subject()),
                        None => return,
                    },
                }
            }
        }
    }

    /// Counts what comes onto a queue. Says whether it is one of the team's.
    fn hear(&mut self, subject: &str) -> bool {
        let Some(Address::Tasks(role, _)) = self.bus.subjects().parse(subject) else {
            return false;
        };
        let known = self.team.borrow().roles.contains_key(&role);
        if known {
            *self.arrived.entry(role).or_default() += 1;
        }
        known
    }

    /// By what it leads, if it does.
    async fn lead(&mut self) -> Option<Fence> {
        let fence = self.lease.step().await;
        self.standing.leads(LeaseName::Scaler, fence.is_some());
        if fence.is_none() {
            self.leads_since = None;
        } else if self.leads_since.is_none() {
            self.leads_since = Some(clock::instant());
            self.said = None;
            self.take_over().await;
        }
        fence
    }

    /// Goes on where the leader before it was: a change of leaders is no reason to scale.
    async fn take_over(&mut self) {
        let scaling = self.bus.subjects().system_scaling();
        self.roles.clear();
        self.awake = self.team.borrow().roles.keys().cloned().collect();
        let last = match self.bus.last(SYSTEM, scaling.as_str()).await {
            Ok(last) => last.and_then(|it| serde_json::from_slice::<Signal>(&it.payload).ok()),
            Err(error) => {
                tracing::debug!(%error, "what was said before can't be read");
                None
            }
        };
        let org = self.bus.subjects().org();
        for it in last.filter(|last| last.org_id == *org).into_iter().flat_map(|last| last.roles) {
            let known = Known { last: Last::of(it.replicas), ..Known::default() };
            self.roles.insert(it.role, known);
        }
    }

    /// One look at everything, and what follows from it.
    async fn look(&mut self, fence: Fence) {
        let view = match View::of(&self.bus, &self.presence).await {
            Ok(view) => view,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "the queues can't be looked at now");
                return;
            }
        };
        self.people.look().await;
        let team = Arc::clone(&self.team.borrow());
        self.roles.retain(|role, _| team.roles.contains_key(role));
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut roles = Vec::with_capacity(team.roles.len());
        for (role, member) in &team.roles {
            let arrived = arrived.remove(role).unwrap_or_default();
            let limits = member.policy.at(clock::now());
            roles.push(self.decide(role, view.seen(role), (arrived, &limits)));
        }
        let signal = Signal {
            at: clock::now(),
            org_id: self.bus.subjects().org().clone(),
            by: self.me.clone(),
            term: fence.term,
            roles,
            extra: serde_json::Map::new(),
        };
        self.say(&signal).await;
        self.retire(&signal).await;
    }

    fn decide(&mut self, role: &Role, seen: Seen, (arrived, limits): (u64, &Limits)) -> RoleSignal {
        let now = Time::from_micros(0).plus(self.since.elapsed());
        // Whoever leads since a moment has not heard everybody yet, and takes nobody away.
        let hears = self.leads_since.is_some_and(|it| it.elapsed() >= 2 * HEARTBEAT_EVERY);
        let waiting = self.people.waiting(role);
        let known = self.roles.entry(role.clone()).or_default();
        let Seen { queued, in_flight, running, busy } = seen;
        known.meter.see(Sample { at: now, queued, in_flight, arrived });
        let rates = known.meter.rates();
        let backlog = queued.saturating_sub(in_flight);
        let load = Load { backlog, in_flight, waiting, busy, rates };
        let Decision { replicas, reason, last } = decide(&load, limits, now, &known.last);
        if replicas >= known.last.replicas || hears {
            known.last = last;
        }
        let replicas = known.last.replicas;
        let lacks = backlog > 0 && running == 0 && replicas > 0;
        known.stuck =
            lacks.then(|| known.stuck.unwrap_or_else(|| (clock::now(), clock::instant())));
        let stuck = known.stuck.filter(|(_, since)| since.elapsed() >= STUCK_AFTER);
        RoleSignal {
            role: role.clone(),
            replicas,
            reason,
            min: limits.min,
            max: limits.max,
            concurrency: limits.concurrency,
            running,
            busy,
            backlog,
            in_flight,
            waiting,
            stuck_since: stuck.map(|(at, _)| at),
        }
    }

    /// Takes the consumers away of roles that sleep.
    async fn retire(&mut self, signal: &Signal) {
        let mut looked = 0;
        for it in &signal.roles {
            let sleeps =
                it.replicas == 0 && it.running == 0 && it.backlog == 0 && it.in_flight == 0;
            if !sleeps {
                self.awake.insert(it.role.clone());
                continue;
            }
            if looked == RETIRED_AT_ONCE || !self.awake.contains(&it.role) {
                continue;
            }
            looked += 1;
            let mut gone = true;
            for band in Band::ALL {
                let name = work_consumer_name(&it.role, band);
                match self.bus.retire_consumer(AGENT_TASKS, &name).await {
                    Ok(done) => gone &= done,
                    Err(error) => {
                        tracing::debug!(%error, consumer = name, "a consumer can't be taken away");
                        gone = false;
                    }
                }
            }
            if gone {
                self.awake.remove(&it.role);
            }
        }
    }

    /// Says it where it is news, or where it was not said for a while.
    async fn say(&mut self, signal: &Signal) {
        let is_news = self
            .said
            .as_ref()
            .is_none_or(|(said, at)| signal.differs(said) || at.elapsed() >= SIGNAL_EVERY);
        // The lease may have run out during the look.
        let Some(fence) = self.lease.fence().filter(|_| is_news) else { return };
        let subjects = self.bus.subjects();
        let body = match serde_json::to_vec(signal) {
            Ok(body) => body,
            Err(error) => {
                tracing::error!(%error, "a signal can't be written down");
                return;
            }
        };
        let out = Outgoing::new(SYSTEM, subjects.system_scaling(), body)
            .id(clock::unique())
            .expecting(&subjects.lease(LeaseName::Scaler), fence.seq)
            .patience(Duration::from_secs(2));
        match self.bus.publish(out).await {
            Ok(_) => self.said = Some((signal.clone(), clock::instant())),
            Err(PublishError::Conflict { .. }) => {
                tracing::warn!(term = fence.term, "another scaler leads; this one is fenced off");
                self.lease.lost();
            }
            Err(error) => tracing::warn!(%error, "a signal was not stored"),
        }
    }
}
