//! Back-pressure: what a delegator is told when the queue is full, and waiting for room.

use std::{sync::atomic::Ordering, time::Duration};

use sinew_bus::{Bus, PublishError, clock};
use sinew_model::{
    Role,
    limits::{ROOM_AGAIN_FIRST, ROOM_AGAIN_LONGEST},
    stream::AGENT_TASKS,
};

use crate::{
    client::{Client, DelegateError, Delegated, new_id},
    delegation::Delegation,
};

impl Client {
    /// Delegates a task as [`Client::delegate`] does, and where the queue is full tries again until
    /// there is room, for `patience` at most; the last try comes at its end. Dropping the future
    /// between two tries leaves nothing behind.
    ///
    /// # Errors
    /// See [`DelegateError`]; [`DelegateError::QueueFull`] once the patience is over.
    pub async fn delegate_when_room(
        &self,
        what: Delegation,
        patience: Duration,
    ) -> Result<Delegated, DelegateError> {
        let end = clock::instant() + patience;
        let what = self.named(what);
        let mut pause = ROOM_AGAIN_FIRST;
        loop {
            let error = match self.delegate(what.clone()).await {
                Err(error @ DelegateError::QueueFull { .. }) => error,
                done => return done,
            };
            let left = end.saturating_duration_since(clock::instant());
            if left.is_zero() {
                return Err(error);
            }
            tracing::debug!(%error, ?left, "waiting for room");
            clock::pause(pause.min(left)).await;
            pause = pause.saturating_mul(2).min(ROOM_AGAIN_LONGEST);
        }
    }

    /// The same delegation under a name of its own, so that each try is of the same one: a large
    /// input is stored once, and a call of an attempt is counted once.
    fn named(&self, mut what: Delegation) -> Delegation {
        match &self.acting {
            Some(acting) if acting.hosted && what.key.is_none() => {
                let call = acting.calls.fetch_add(1, Ordering::Relaxed);
                what.key = Some(format!("#{call}"));
            }
            // Other calls of an attempt are known by their key or their work.
            Some(_) => {}
            None => what.id = what.id.or_else(|| Some(new_id())),
        }
        what
    }
}

/// The refusal of a full queue, with what is known about it.
pub(crate) async fn full(bus: &Bus, role: Role, source: PublishError) -> DelegateError {
    // What stands in the way of the look is no reason to hide the refusal.
    let state = bus.stream_state(AGENT_TASKS).await.ok();
    let (queued, limit) = (state.map(|it| it.messages), state.and_then(|it| it.most));
    DelegateError::QueueFull { role, queued, limit, source: Box::new(source) }
}

/// How full the queues are, to follow the news that they are.
pub(crate) fn taken(queued: Option<u64>, limit: Option<u64>) -> String {
    match (queued, limit) {
        (Some(queued), Some(limit)) => {
            format!(": {queued} of at most {limit} assignments lie in the queues of the org")
        }
        (Some(queued), None) => format!(": {queued} assignments lie in the queues of the org"),
        (None, _) => String::new(),
    }
}
