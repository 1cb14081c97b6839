//! Starts and stops the agents of a team on this machine, as the scaler's signals say. Of several
//! machines that could, one does: whoever holds the lease. What it starts ends with this process.
//!
//! An instance is let go by the order to drain that a person could give it: it takes nothing more,
//! ends what it has begun, however long that takes, and leaves by itself. So no task is cut off
//! because a queue got empty. Only when this process itself ends are agents told to hurry.

mod children;
mod crash;
mod member;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use children::{Birth, Children, End};
use crash::Crashes;
use member::{Child, Members};
use sinew_agent::Client;
use sinew_bus::{Bus, Hints, clock};
use sinew_model::{
    InstanceId, Role,
    control::Target,
    lease::LeaseName,
    limits::{SCALED_AWAY_DRAIN, SIGNAL_EVERY, TEAM_DRAIN, TRY_AGAIN},
    presence::Heartbeat,
    scale::{
        Signal,
        fleet::{Plan, plan},
    },
    stream::SYSTEM,
    team::{Member, Start, Team},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control::{
    lease::{Lease, STEP_EVERY},
    presence::Presence,
    standing::Standing,
};

/// How agents are started on this machine.
#[derive(Clone, Debug)]
pub struct Launch {
    /// This program, and the verb with which it ties another to its parent.
    pub guard: [OsString; 2],
    /// The program with the verbs that make another program an agent: `sinew agent run`.
    pub agent: Vec<OsString>,
    /// The folder from which working folders are told.
    pub folder: PathBuf,
    /// What an agent needs to find the backbone.
    pub env: Vec<(OsString, OsString)>,
    /// Variables that it does not get from this process.
    pub without: Vec<OsString>,
    /// A part of the name of each instance, the same each time on this machine and on no other.
    pub tag: String,
}

/// Starts and stops agents.
#[derive(Debug)]
pub struct Actuator {
    bus: Bus,
    client: Client,
    launch: Launch,
    team: watch::Receiver<Arc<Team>>,
    presence: Presence,
    standing: Standing,
    lease: Lease,
    signal: Option<Signal>,
    members: Members,
    crashes: Crashes,
}

impl Actuator {
    /// An actuator for what `team` says, now and when it changes. `presence` must be listening.
    #[must_use]
    pub fn new(
        bus: Bus,
        (me, by): (String, Role),
        team: watch::Receiver<Arc<Team>>,
        (presence, standing): (Presence, Standing),
        launch: Launch,
    ) -> Self {
        let lease = Lease::new(bus.clone(), LeaseName::Actuator, me);
        Self {
            client: Client::new(bus.clone(), by),
            bus,
            launch,
            team,
            presence,
            standing,
            lease,
            signal: None,
            members: Members::default(),
            crashes: Crashes::default(),
        }
    }

    /// Starts and stops agents until `shutdown`, and then ends those that are left.
    ///
    /// # Errors
    /// When there is no thread for them.
    pub async fn run(mut self, shutdown: CancellationToken) -> std::io::Result<()> {
        let mut children = Children::begin()?;
        while !shutdown.is_cancelled() {
            let scaling = self.bus.subjects().system_scaling();
            let Ok(mut hints) = self.bus.watch_subject(scaling.as_str()).await else {
                clock::pause(TRY_AGAIN).await;
                continue;
            };
            self.read_signal().await;
            shutdown.run_until_cancelled(self.follow(&mut hints, &mut children)).await;
        }
        children.stop().await;
        self.standing.leads(LeaseName::Actuator, false);
        self.lease.release().await;
        Ok(())
    }

    async fn follow(&mut self, hints: &mut Hints, children: &mut Children) {
        loop {
            self.reconcile(children).await;
            let next = clock::instant() + STEP_EVERY;
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                end = children.next_end() => self.ended(end),
                hint = hints.next() => match hint {
                    Some(hint) => self.hear(hint.payload(), Duration::MAX),
                    None => return,
                },
            }
        }
    }

    /// What was said before this process listened; a signal of long ago says nothing about now.
    async fn read_signal(&mut self) {
        let scaling = self.bus.subjects().system_scaling();
        match self.bus.last(SYSTEM, scaling.as_str()).await {
            Ok(Some(last)) => self.hear(&last.payload, 3 * SIGNAL_EVERY),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the last signal can't be read"),
        }
    }

    /// Takes in a signal that is no older than `age`.
    fn hear(&mut self, body: &[u8], age: Duration) {
        let signal: Signal = match serde_json::from_slice(body) {
            Ok(signal) => signal,
            Err(error) => {
                tracing::warn!(%error, "a signal is not readable");
                return;
            }
        };
        let is_ours = signal.org_id == *self.bus.subjects().org();
        let is_fresh = clock::now().since(signal.at) <= age;
        let is_fenced_off = self.signal.as_ref().is_some_and(|known| signal.term < known.term);
        if is_ours && is_fresh && !is_fenced_off {
            self.signal = Some(signal);
        }
    }

    /// Does what makes the agents those that there are to be.
    async fn reconcile(&mut self, children: &mut Children) {
        let leads = self.lease.step().await.is_some();
        self.standing.leads(LeaseName::Actuator, leads);
        let living = self.presence.living();
        self.members.see(&living);
        if !leads && !self.lease.is_anothers() {
            // The server is away, or the lease changes hands: that is no reason to stop anybody.
            return;
        }
        let team = Arc::clone(&self.team.borrow_and_update());
        let known: BTreeSet<Role> =
            team.roles.keys().cloned().chain(self.members.roles()).collect();
        for role in known {
            // Who does not hold the lease has nothing to run; another one does.
            let member = team.roles.get(&role).filter(|_| leads);
            let start = member.and_then(|member| member.start.as_ref());
            let foreign = self.foreign(&role, &living);
            let wanted = start.and_then(|_| self.wanted(&role)).unwrap_or_default();
            let instances = self.members.of(&role, member);
            let mut plan = plan(wanted, foreign, &instances);
            if start.is_some() && self.signal_of(&role).is_none() {
                // Nothing was said yet: whoever is here stays.
                plan = Plan::default();
            }
            for slot in plan.leave {
                self.let_go(&role, slot).await;
            }
            if let (Some(member), Some(start)) = (member, start)
                && self.crashes.may_start(&role)
            {
                for slot in plan.start {
                    self.start(children, (&role, slot), member, start).await;
                }
            }
        }
        self.standing.crashing(self.crashes.told());
    }

    fn signal_of(&self, role: &Role) -> Option<&sinew_model::scale::RoleSignal> {
        self.signal.as_ref()?.roles.iter().find(|it| it.role == *role)
    }

    fn wanted(&self, role: &Role) -> Option<u32> {
        self.signal_of(role).map(|it| it.replicas)
    }

    /// Instances of a role that take work and that others started.
    fn foreign(&self, role: &Role, living: &[Heartbeat]) -> u32 {
        // A process that was of here and is no more may still be heard of for a moment.
        let ours = format!("{role}-{}-", self.launch.tag);
        let is_foreign = |it: &&Heartbeat| {
            let is_ours = it.instance.as_str().starts_with(&ours);
            it.role == *role && !it.leaving && !it.draining && !is_ours
        };
        u32::try_from(living.iter().filter(is_foreign).count()).unwrap_or(u32::MAX)
    }

    async fn let_go(&mut self, role: &Role, slot: u32) {
        let Some(child) = self.members.child(role, slot) else { return };
        let target = Target::Instance(role.clone(), child.instance.clone());
        match self.client.drain(&target).await {
            Ok(()) => {
                tracing::info!(instance = %child.instance, "it may leave when its work is done");
                child.leaving = true;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(instance = %child.instance, error, "it can't be told to leave now");
            }
        }
    }

    async fn start(
        &mut self,
        children: &Children,
        (role, slot): (&Role, u32),
        member: &Member,
        start: &Start,
    ) {
        let name = format!("{role}-{}-{slot}", self.launch.tag);
        let instance: InstanceId = match name.parse() {
            Ok(instance) => instance,
            Err(error) => {
                tracing::error!(%error, "an instance has no name");
                return;
            }
        };
        let kill = CancellationToken::new();
        let birth = self.birth((role, &instance), member, start, kill.clone());
        tracing::info!(%instance, "it is started");
        self.members.add(role, slot, Child::new(instance, member.clone(), kill));
        children.start(birth).await;
    }

    fn birth(
        &self,
        (role, instance): (&Role, &InstanceId),
        member: &Member,
        start: &Start,
        kill: CancellationToken,
    ) -> Birth {
        let Launch { guard: [program, verb], agent, folder, env, without, tag: _ } = &self.launch;
        let millis = |span: Duration| format!("{}ms", span.as_millis());
        let mut args = vec![verb.clone(), std::process::id().to_string().into()];
        args.extend(agent.iter().cloned());
        let said = [
            ["--role", role.as_str()],
            ["--instance", instance.as_str()],
            ["--concurrency", &member.policy.concurrency.to_string()],
            ["--drain", &millis(TEAM_DRAIN)],
            ["--finish", &millis(SCALED_AWAY_DRAIN)],
        ];
        args.extend(said.iter().flatten().map(OsString::from));
        args.push("--".into());
        args.extend(start.command.iter().map(OsString::from));
        let own = start.env.iter().map(|(name, value)| (name.into(), value.into()));
        Birth {
            instance: instance.clone(),
            program: program.into(),
            args,
            folder: start.cwd.as_ref().map_or_else(|| folder.clone(), |cwd| folder.join(cwd)),
            env: env.iter().cloned().chain(own).collect(),
            without: without.clone(),
            kill,
        }
    }

    fn ended(&mut self, End { instance, why, well }: End) {
        let Some((role, child)) = self.members.remove(&instance) else { return };
        if child.leaving && well {
            tracing::info!(%instance, "it has left");
            self.crashes.steady(&role);
            return;
        }
        self.crashes.crashed(&role, child.ran(), &why);
        tracing::error!(%instance, why, "an agent ended by itself");
    }
}

/// What an actuator keeps by role and place.
type Places = BTreeMap<Role, BTreeMap<u32, Child>>;
