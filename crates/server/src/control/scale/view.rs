//! One look: how many tasks lie on each role's queue, and what its instances do.

use std::collections::BTreeMap;

use sinew_bus::{Bus, read::DepthError};
use sinew_model::{Address, Role, presence::Heartbeat, stream::AGENT_TASKS};

use crate::control::presence::Presence;

/// What was seen of all roles.
#[derive(Debug, Default)]
pub(crate) struct View(BTreeMap<Role, Seen>);

/// What was seen of one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Tasks on its queue, but those that a leaving instance brings to their end.
    pub(crate) queued: u64,
    /// Tasks that its instances work on.
    pub(crate) in_flight: u64,
    /// Instances that take work.
    pub(crate) running: u32,
    /// Those of them that work on something.
    pub(crate) busy: u32,
}

impl View {
    /// Looks: one question for all queues, and the signs of life that were heard.
    ///
    /// # Errors
    /// When the queues can't be counted.
    pub(crate) async fn of(bus: &Bus, presence: &Presence) -> Result<Self, DepthError> {
        let mut view = Self::default();
        let all = bus.subjects().pattern("agents.>");
        for (subject, count) in bus.depth(AGENT_TASKS, &all).await? {
            if let Some(Address::Tasks(role, _)) = bus.subjects().parse(&subject) {
                view.0.entry(role).or_default().queued += count;
            }
        }
        for heartbeat in presence.living() {
            view.add(&heartbeat);
        }
        Ok(view)
    }

    fn add(&mut self, it: &Heartbeat) {
        let seen = self.0.entry(it.role.clone()).or_default();
        let holds = u64::try_from(it.holds.len()).unwrap_or(u64::MAX);
        if it.leaving || it.draining {
            // Nobody else is needed for what it holds.
            seen.queued = seen.queued.saturating_sub(holds);
            return;
        }
        seen.running += 1;
        seen.busy += u32::from(holds > 0);
        seen.in_flight += holds;
    }

    /// What was seen of a role.
    pub(crate) fn seen(&self, role: &Role) -> Seen {
        self.0.get(role).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_leaving_instance_holds_asks_for_nobody() {
        let role: Role = "cto".parse().unwrap();
        let mut view = View::default();
        view.0.entry(role.clone()).or_default().queued = 3;
        let held = json!([{ "taskId": "T1", "attempt": 1 }]);
        for (draining, holds) in [(true, &held), (false, &held), (false, &json!([]))] {
            let heartbeat = json!({ "role": "cto", "instance": "i", "incarnation": "1",
                "at": "2026-05-10T14:23:01Z", "concurrency": 5, "holds": holds,
                "draining": draining });
            view.add(&serde_json::from_value(heartbeat).unwrap());
        }
        let expect = Seen { queued: 2, in_flight: 1, running: 2, busy: 1 };
        assert_eq!(view.seen(&role), expect);
    }
}
