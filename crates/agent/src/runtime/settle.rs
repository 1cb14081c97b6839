//! What is left to do after an attempt, and what then becomes of its message.

use std::time::Duration;

use sinew_bus::{TaskLog, clock};
use sinew_model::{
    Time,
    limits::NAK_DELAY,
    retry::Wait,
    task::{EnqueueReason, Phase, Refusal},
};

use super::{begin::chain, host::Host};
use crate::{advance::advance, client::Client, enqueue};

/// How a delivery is let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letting {
    /// The queue may forget it.
    Ack,
    /// It shall come again, after the delay.
    Nak(Option<Duration>),
    /// It is not this attempt's any more: nothing is sent.
    HandOver,
}

/// After the end of an attempt was stored.
pub(crate) async fn after(host: &Host, log: &mut TaskLog) -> Letting {
    let phase = log.state().map(|state| state.phase.clone());
    match phase {
        Some(Phase::Released { retry_at, .. }) => {
            host.count(|counts| &counts.released);
            match retry_at {
                Some(until) => later(host, log, until).await,
                None => Letting::Nak(None),
            }
        }
        Some(Phase::Ended { .. }) => {
            host.count(|counts| &counts.ended);
            ended(host, log).await
        }
        Some(
            Phase::Blocked { .. }
            | Phase::Waiting { .. }
            | Phase::Submitted { .. }
            | Phase::Ready { .. },
        ) => {
            host.count(|counts| &counts.parked);
            parked(host, log).await
        }
        Some(Phase::Queued { .. } | Phase::Running { .. }) | None => Letting::HandOver,
    }
}

/// The task waits for something else than a worker. Its message goes once somebody was asked, or
/// what it waits for was looked at after the wait was stored: what ended in between is seen here.
pub(crate) async fn parked(host: &Host, log: &mut TaskLog) -> Letting {
    match advance(&host.bus, &host.by, log).await {
        Ok(()) => Letting::Ack,
        Err(error) => {
            tracing::warn!(task = %log.id(), why = chain(&error), "a task that waits is looked at again");
            Letting::Nak(Some(NAK_DELAY))
        }
    }
}

/// After the end of a task: what it left outstanding is carried out before its message goes.
pub(crate) async fn ended(host: &Host, log: &TaskLog) -> Letting {
    let Some(state) = log.state() else { return Letting::Ack };
    let client = Client::new(host.bus.clone(), host.settings.role.clone());
    match client.finish(state).await {
        Ok(()) => Letting::Ack,
        Err(error) => {
            tracing::warn!(task = %log.id(), why = chain(&error), "what the task left outstanding is tried again");
            Letting::Nak(Some(NAK_DELAY))
        }
    }
}

/// The task waits for its next attempt: a short wait is the server's, a long one is a schedule.
pub(crate) async fn later(host: &Host, log: &mut TaskLog, until: Time) -> Letting {
    if let Wait::Nak(wait) = Wait::of(until.since(clock::now())) {
        return Letting::Nak(Some(wait));
    }
    match enqueue::again(&host.bus, log, EnqueueReason::Retry, Some(until)).await {
        Ok(()) => Letting::Ack,
        Err(error) => match error.refusal() {
            // Somebody else put it on its queue: this message is of an old epoch now.
            Some(Refusal::StaleEpoch { .. } | Refusal::Ended(_)) => Letting::Ack,
            Some(_) => Letting::HandOver,
            None => {
                tracing::warn!(task = %log.id(), why = chain(&error), "no schedule was stored");
                Letting::Nak(Some(NAK_DELAY))
            }
        },
    }
}
