//! The agents that were started here, and what each does.

use std::time::Duration;

use sinew_bus::clock;
use sinew_model::{
    InstanceId, Role, Time,
    limits::INSTANCE_START,
    presence::Heartbeat,
    scale::fleet::{Doing, Instance},
    team::Member,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Places;

/// An agent that was started here.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) instance: InstanceId,
    /// What it was started as.
    member: Member,
    /// Whether it was told to leave.
    pub(crate) leaving: bool,
    /// What its newest sign of life says; `None` before the first.
    busy: Option<bool>,
    started: Time,
    since: Instant,
    kill: CancellationToken,
}

impl Child {
    pub(crate) fn new(instance: InstanceId, member: Member, kill: CancellationToken) -> Self {
        let (started, since) = (clock::now(), clock::instant());
        Self { instance, member, leaving: false, busy: None, started, since, kill }
    }

    /// For how long it ran.
    pub(crate) fn ran(&self) -> Duration {
        self.since.elapsed()
    }

    fn see(&mut self, heartbeat: &Heartbeat) {
        // One of an earlier process of the name says nothing about this one.
        if heartbeat.at >= self.started {
            self.busy = Some(!heartbeat.holds.is_empty());
        }
    }

    fn doing(&self) -> Doing {
        match self.busy {
            _ if self.leaving => Doing::Leaving,
            None => Doing::Starting,
            Some(true) => Doing::Busy,
            Some(false) => Doing::Idle,
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Members(Places);

impl Members {
    /// Takes in signs of life. One that shows none for long after its start hangs, and is killed.
    pub(crate) fn see(&mut self, living: &[Heartbeat]) {
        for heartbeat in living {
            let mut all =
                self.0.get_mut(&heartbeat.role).into_iter().flat_map(|it| it.values_mut());
            if let Some(child) = all.find(|child| child.instance == heartbeat.instance) {
                child.see(heartbeat);
            }
        }
        for child in self.0.values().flat_map(|it| it.values()) {
            if child.busy.is_none() && child.ran() >= INSTANCE_START && !child.kill.is_cancelled() {
                tracing::error!(instance = %child.instance, "it shows no sign of life; it is killed");
                child.kill.cancel();
            }
        }
    }

    pub(crate) fn roles(&self) -> impl Iterator<Item = Role> {
        self.0.keys().cloned()
    }

    /// Those of a role, as one plans with them; `member` is what they are to be started as.
    pub(crate) fn of(&self, role: &Role, member: Option<&Member>) -> Vec<Instance> {
        let all = self.0.get(role).into_iter().flatten();
        all.map(|(slot, child)| {
            let is_current = |it: &Member| {
                it.start == child.member.start
                    && it.policy.concurrency == child.member.policy.concurrency
            };
            let current = member.is_some_and(is_current);
            Instance { slot: *slot, doing: child.doing(), current }
        })
        .collect()
    }

    pub(crate) fn child(&mut self, role: &Role, slot: u32) -> Option<&mut Child> {
        self.0.get_mut(role)?.get_mut(&slot)
    }

    pub(crate) fn add(&mut self, role: &Role, slot: u32, child: Child) {
        self.0.entry(role.clone()).or_default().insert(slot, child);
    }

    pub(crate) fn remove(&mut self, instance: &InstanceId) -> Option<(Role, Child)> {
        let found = self.0.iter().find_map(|(role, all)| {
            let slot = all.iter().find(|(_, child)| child.instance == *instance)?.0;
            Some((role.clone(), *slot))
        });
        let (role, slot) = found?;
        let all = self.0.get_mut(&role)?;
        let child = all.remove(&slot)?;
        if all.is_empty() {
            self.0.remove(&role);
        }
        Some((role, child))
    }
}
