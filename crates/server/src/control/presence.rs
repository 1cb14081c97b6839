//! Which instances show signs of life. What is not known counts as alive: a controller acts only
//! on an instance that it could have heard and did not hear.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sinew_bus::{Bus, clock};
use sinew_model::{
    InstanceId,
    limits::{HEARTBEAT_SILENCE, INSTANCES, TRY_AGAIN},
    presence::Heartbeat,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Signs of life as one process heard them. Clones share them.
#[derive(Clone, Debug)]
pub struct Presence {
    heard: Arc<Mutex<Heard>>,
}

#[derive(Debug)]
struct Heard {
    /// Since when heartbeats are heard without a gap.
    since: Instant,
    /// The newest one of each instance, and when it came.
    newest: HashMap<InstanceId, (Heartbeat, Instant)>,
}

impl Default for Presence {
    fn default() -> Self {
        let heard = Heard { since: clock::instant(), newest: HashMap::new() };
        Self { heard: Arc::new(Mutex::new(heard)) }
    }
}

impl Presence {
    /// Whether this process of the instance is alive, as far as is known: it was heard a moment
    /// ago, or nobody could have been heard for long enough.
    #[must_use]
    pub fn is_alive(&self, instance: &InstanceId, incarnation: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.since.elapsed() < HEARTBEAT_SILENCE {
            return true;
        }
        heard.newest.get(instance).is_some_and(|(heartbeat, at)| {
            heartbeat.incarnation == incarnation && at.elapsed() < HEARTBEAT_SILENCE
        })
    }

    /// The newest heartbeat of each instance that was heard a moment ago.
    #[must_use]
    pub fn living(&self) -> Vec<Heartbeat> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = heard
            .newest
            .values()
            .filter(|(heartbeat, at)| heartbeat.is_of_agent() && at.elapsed() < HEARTBEAT_SILENCE);
        fresh.map(|(heartbeat, _)| heartbeat.clone()).collect()
    }

    fn hear(&self, heartbeat: Heartbeat) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        if heard.newest.len() >= INSTANCES {
            heard.newest.retain(|_, (_, at)| at.elapsed() < HEARTBEAT_SILENCE);
        }
        let at = clock::instant();
        let is_older = heard.newest.get(&heartbeat.instance).is_some_and(|(newest, _)| {
            // Two living processes of one name: the later one counts.
            newest.incarnation > heartbeat.incarnation && !newest.leaving
        });
        let has_room = heard.newest.len() < INSTANCES;
        if (has_room || heard.newest.contains_key(&heartbeat.instance)) && !is_older {
            heard.newest.insert(heartbeat.instance.clone(), (heartbeat, at));
        }
    }

    fn begin_anew(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).since = clock::instant();
    }

    /// Listens until `shutdown`.
    pub async fn listen(self, bus: Bus, shutdown: CancellationToken) {
        let subject = bus.subjects().heartbeats();
        let mut connections = bus.connections();
        while !shutdown.is_cancelled() {
            let Ok(mut hints) = bus.watch_subject(subject.as_str()).await else {
                clock::pause(TRY_AGAIN).await;
                continue;
            };
            self.begin_anew();
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    // While the connection was away, heartbeats went unheard.
                    changed = connections.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        self.begin_anew();
                    }
                    hint = hints.next() => match hint {
                        Some(hint) => match serde_json::from_slice(hint.payload()) {
                            Ok(heartbeat) => self.hear(heartbeat),
                            Err(error) => tracing::debug!(%error, "a heartbeat is not readable"),
                        },
                        None => break,
                    },
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(instance: usize) -> Heartbeat {
        serde_json::from_value(serde_json::json!({
            "role": "cto", "instance": format!("i{instance}"), "incarnation": "1",
            "at": "2026-05-10T14:23:01Z", "concurrency": 5, "holds": [],
        }))
        .unwrap()
    }

    #[test]
    fn who_is_known_is_heard_also_where_there_is_no_room_for_more() {
        let presence = Presence::default();
        for instance in 0..INSTANCES {
            presence.hear(heartbeat(instance));
        }
        let again = Heartbeat { leaving: true, ..heartbeat(0) };
        presence.hear(again.clone());
        presence.hear(heartbeat(INSTANCES));
        let heard = presence.heard.lock().unwrap();
        assert_eq!(heard.newest.len(), INSTANCES);
        assert_eq!(heard.newest.get(&again.instance).map(|(it, _)| it), Some(&again));
    }
}
