//! Who is gone for good: heartbeats and the ends of connections go in, the names of the dead come
//! out. It knows no clock: each call says how much time has passed on one that never jumps.
//!
//! An instance is given up only where all of this holds:
//! - it was heard before, as this very process, and has not said goodbye;
//! - its newest connection ended and nothing was heard for [`ORPHAN_GRACE`] since, or nothing was
//!   heard for [`HEARTBEAT_SILENCE`] and that grace;
//! - a canary that was sent *after* all this came back, in time, the way that heartbeats come. So
//!   whoever is deaf takes nobody for dead.

use std::{collections::BTreeMap, time::Duration};

use super::{Connection, Heartbeat, Held};
use crate::{
    id::{InstanceId, Role},
    limits::{CANARY_GAP, CANARY_LATE, HEARTBEAT_SILENCE, INSTANCES, ORPHAN_GRACE},
    time::Time,
};

/// What one observer knows.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    known: BTreeMap<(InstanceId, String), Known>,
    /// When the newest canary came back.
    canary: Option<Time>,
}

#[derive(Clone, Debug)]
struct Known {
    role: Role,
    connection: Option<Connection>,
    holds: Vec<Held>,
    heard: Time,
    /// When its newest connection ended, if nothing was heard since.
    ended: Option<Time>,
}

/// An instance that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The role that it filled.
    pub role: Role,
    /// Its name.
    pub instance: InstanceId,
    /// The process that is gone; another one of the same name may live.
    pub incarnation: String,
    /// What it held when it was heard last. It may have begun more since.
    pub holds: Vec<Held>,
    /// How it was noticed.
    pub sign: Sign,
}

/// How it was noticed that an instance is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Its connection ended.
    Disconnected,
    /// It was not heard for too long.
    Silent,
}

impl Known {
    /// When it counts as gone, unless it is heard until then.
    fn deadline(&self) -> Time {
        let silent = self.heard.plus(HEARTBEAT_SILENCE);
        self.ended.map_or(silent, |ended| ended.min(silent)).plus(ORPHAN_GRACE)
    }
}

impl Watch {
    /// A heartbeat came.
    pub fn heard(&mut self, heartbeat: &Heartbeat, now: Time) {
        if !heartbeat.is_of_agent() {
            return;
        }
        let key = (heartbeat.instance.clone(), heartbeat.incarnation.clone());
        if heartbeat.leaving {
            self.known.remove(&key);
            return;
        }
        if self.known.len() >= INSTANCES && !self.known.contains_key(&key) {
            return;
        }
        let known = Known {
            role: heartbeat.role.clone(),
            connection: heartbeat.connection.clone(),
            holds: heartbeat.holds.clone(),
            heard: now,
            ended: None,
        };
        self.known.insert(key, known);
    }

    /// The server says that a connection ended. One that its instance has left behind for another
    /// means nothing.
    pub fn disconnected(&mut self, connection: &Connection, now: Time) {
        let of_it = |known: &&mut Known| known.connection.as_ref() == Some(connection);
        for known in self.known.values_mut().filter(of_it) {
            known.ended.get_or_insert(now);
        }
    }

    /// Heartbeats may have gone unheard until now: everybody has the whole silence again to show
    /// that they live.
    pub fn cut_off(&mut self, now: Time) {
        for known in self.known.values_mut() {
            known.heard = known.heard.max(now);
            known.ended = None;
        }
    }

    /// A canary that was sent at `sent` came back: says who is gone. Each is said once.
    pub fn canary(&mut self, sent: Time, now: Time) -> Vec<Gone> {
        if now.since(sent) > CANARY_LATE {
            return Vec::new();
        }
        if self.canary.is_none_or(|before| now.since(before) > CANARY_GAP) {
            self.cut_off(now);
        }
        self.canary = Some(now);
        let is_due = |known: &Known| known.deadline() <= sent;
        let due: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| is_due(known))
            .map(|(key, _)| key.clone())
            .collect();
        due.into_iter().filter_map(|key| self.give_up(key)).collect()
    }

    fn give_up(&mut self, key: (InstanceId, String)) -> Option<Gone> {
        let Known { role, holds, ended, heard, .. } = self.known.remove(&key)?;
        let (instance, incarnation) = key;
        // Who had been silent for long enough before its connection ended is gone by its silence.
        let silent = heard.plus(HEARTBEAT_SILENCE);
        let is_cut = ended.is_some_and(|ended| ended <= silent);
        let sign = if is_cut { Sign::Disconnected } else { Sign::Silent };
        Some(Gone { role, instance, incarnation, holds, sign })
    }

    /// How long it is until the first deadline: a canary sent then may show that somebody is gone.
    #[must_use]
    pub fn next(&self, now: Time) -> Option<Duration> {
        self.known.values().map(|known| known.deadline().since(now)).min()
    }

    /// Whether this process of the instance was heard and is not given up.
    #[must_use]
    pub fn knows(&self, instance: &InstanceId, incarnation: &str) -> bool {
        self.known.contains_key(&(instance.clone(), incarnation.to_owned()))
    }
}
