//! Which roles have tasks that wait for a person: from the view, where there is one.

use std::collections::BTreeMap;

use sinew_bus::clock;
use sinew_model::{Role, limits::HEARTBEAT_EVERY};
use sinew_views::Store;
use tokio::time::Instant;

/// The phase of a task that waits for an answer.
const BLOCKED: &str = "blocked";

/// The tasks of each role that wait for a person, as they were a moment ago.
#[derive(Debug)]
pub(crate) struct People {
    view: Option<Store>,
    waiting: BTreeMap<Role, u64>,
    looked: Option<Instant>,
}

impl People {
    pub(crate) const fn new(view: Option<Store>) -> Self {
        Self { view, waiting: BTreeMap::new(), looked: None }
    }

    /// Looks, at most once a second: nothing is started for them, so it is no matter of haste.
    pub(crate) async fn look(&mut self) {
        let Some(view) = &self.view else { return };
        if self.looked.is_some_and(|at| at.elapsed() < HEARTBEAT_EVERY) {
            return;
        }
        self.looked = Some(clock::instant());
        match view.counts().await {
            Ok(counts) => {
                let blocked = counts.into_iter().filter(|count| count.phase == BLOCKED);
                self.waiting = blocked.filter_map(|it| Some((it.role?, it.tasks))).collect();
            }
            Err(error) => tracing::debug!(%error, "who waits for people can't be seen now"),
        }
    }

    pub(crate) fn waiting(&self, role: &Role) -> u64 {
        self.waiting.get(role).copied().unwrap_or_default()
    }
}
