//! Turns the firings of recurring tasks into tasks. The server's own schedules fire; what is here
//! takes what has fired through a durable consumer, and looks at all recurring tasks now and then for
//! what a crash left undone. What a firing does is decided on the record of the recurring task, by
//! compare-and-set, so two of these do no more than one.

use std::sync::Arc;

use sinew_agent::schedule::{Error, Schedules};
use sinew_bus::{
    Bus, ConsumeError, Delivery, EnsureError, Intake, Slot, Slots, clock, ensure_consumer,
};
use sinew_model::{
    Band, IdError, Role,
    limits::{FIRINGS_AT_ONCE, SCHEDULES_EVERY, TRY_AGAIN},
    schedule::Trigger,
    stream::{FIRINGS, TASK_SCHEDULES, firings_consumer},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The name under which controllers write.
const CONTROLLERS: &str = "sinew";

/// Why firings can't be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecurringError {
    /// Their consumer is missing and can't be made.
    #[error("the consumer of firings is not as it is to be")]
    Ensure(#[from] EnsureError),
    /// The name under which controllers write is not acceptable.
    #[error("the controllers have no name")]
    Name(#[from] IdError),
}

/// Carries out the firings of one org.
#[derive(Debug)]
pub struct Recurring {
    bus: Bus,
    schedules: Arc<Schedules>,
}

impl Recurring {
    /// Makes the consumer of firings where it is missing. The streams are there.
    ///
    /// # Errors
    /// See [`RecurringError`].
    pub async fn bind(bus: &Bus) -> Result<Self, RecurringError> {
        ensure_consumer(bus, TASK_SCHEDULES, &firings_consumer(bus.subjects())).await?;
        let by: Role = CONTROLLERS.parse()?;
        Ok(Self { bus: bus.clone(), schedules: Arc::new(Schedules::new(bus.clone(), by)) })
    }

    /// Carries firings out until `shutdown`. What is left in the middle is done by whoever gets the
    /// firing next.
    pub async fn run(self, shutdown: CancellationToken) {
        let slots = Slots::new(FIRINGS_AT_ONCE);
        let consumers = vec![(Band::Normal, FIRINGS.to_owned())];
        let mut intake = Intake::open(&self.bus, TASK_SCHEDULES, consumers, &slots);
        let mut firings = JoinSet::new();
        let mut look = tokio::time::interval(SCHEDULES_EVERY);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = look.tick() => {
                    let schedules = Arc::clone(&self.schedules);
                    firings.spawn(async move { tend(&schedules).await });
                }
                Some(ended) = firings.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a firing broke");
                    }
                }
                next = intake.next() => match next {
                    Ok(taken) => {
                        let schedules = Arc::clone(&self.schedules);
                        firings.spawn(async move { carry_out(&schedules, taken).await });
                    }
                    Err(ConsumeError::ConsumerGone { .. }) => self.reopen(&intake).await,
                    Err(ConsumeError::Stopped { .. } | _) => break,
                },
            }
        }
        intake.stop().await;
        firings.shutdown().await;
    }

    async fn reopen(&self, intake: &Intake) {
        let spec = firings_consumer(self.bus.subjects());
        if let Err(error) = ensure_consumer(&self.bus, TASK_SCHEDULES, &spec).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the consumer of firings is gone and can't be made again yet"
            );
            clock::pause(TRY_AGAIN).await;
        }
        intake.reopen(FIRINGS).await;
    }
}

/// Looks at all recurring tasks for what a crash left undone.
async fn tend(schedules: &Schedules) {
    let names = match schedules.names().await {
        Ok(names) => names,
        Err(error) => return passing(&error),
    };
    for name in names {
        if let Err(error) = schedules.tend(&name).await {
            passing(&error);
        }
    }
}

async fn carry_out(schedules: &Schedules, (delivery, _slot): (Delivery, Slot)) {
    let Ok(trigger) = serde_json::from_slice::<Trigger>(delivery.payload()) else {
        let why = "it is no firing of a recurring task";
        if let Err(error) = delivery.term(why).await {
            tracing::debug!(%error, "a message that is no firing was not ended");
        }
        return;
    };
    let ended = match schedules.fire(&trigger).await {
        Ok(()) => delivery.ack().await,
        Err(error) => {
            passing(&error);
            delivery.nak(Some(TRY_AGAIN)).await
        }
    };
    if let Err(error) = ended {
        // It comes again when its wait is over, and finds everything done.
        tracing::debug!(%error, "the delivery of a firing was not ended");
    }
}

/// What did not work is tried again: with the firing, or at the next look.
fn passing(error: &Error) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "a recurring task is tried again");
}
