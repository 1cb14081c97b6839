//! Sees to what an entry leaves to be done when its writer did not live to do it: the end of a
//! task is reported to its delegator, what it recorded is carried out, what lies below a task that
//! was called off is called off, and who was to be asked is asked.
//!
//! The entries come through a durable consumer on the log, so that none is forgotten while no
//! controller runs. All of it may have been done before: reports have ids, and tasks that have
//! ended stay as they are. Controllers share the consumer.

use futures::{StreamExt as _, stream::FuturesUnordered};
use sinew_agent::{AdvanceError, Cancelled, Client, FinishError, advance};
use sinew_bus::{
    Bus, ConsumeError, Delivery, EnsureError, HistoryError, Intake, Slot, Slots, TaskLog, Topology,
    clock, ensure_consumer,
};
use sinew_model::{
    Address, Band, IdError, TaskId,
    limits::{ENDS_AGAIN, ENDS_AT_ONCE, TRY_AGAIN},
    retry::Backoff,
    stream::{ConsumerSpec, TASK_LOG},
    task::{Actor, End},
};
use tokio_util::sync::CancellationToken;

use super::sweep::CONTROLLERS;

/// Sees to the ends of one org.
#[derive(Debug)]
pub struct Ends {
    bus: Bus,
    by: Actor,
    consumer: ConsumerSpec,
}

/// Why what an entry leaves to be done is not done yet.
#[derive(Debug, thiserror::Error)]
enum EndError {
    #[error("its log could not be read")]
    Read(#[from] HistoryError),
    #[error("what it left outstanding is not done")]
    Finish(#[from] FinishError),
    #[error("nobody could be asked")]
    Advance(#[from] AdvanceError),
    #[error("it is not known whether task {task} below it is called off: {why}")]
    Below { task: TaskId, why: String },
}

impl Ends {
    /// Sees to what the consumer of the topology brings.
    ///
    /// # Errors
    /// Never in this version; the name under which it writes is checked like any other.
    pub fn new(bus: Bus, topology: &Topology) -> Result<Self, IdError> {
        let by = Actor { role: CONTROLLERS.parse()?, instance: Some("ends".parse()?) };
        Ok(Self { bus, by, consumer: topology.catalogue().ends_consumer() })
    }

    /// Goes on until `shutdown`.
    ///
    /// # Errors
    /// When the consumer can't be made.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), EnsureError> {
        ensure_consumer(&self.bus, TASK_LOG, &self.consumer).await?;
        let slots = Slots::new(ENDS_AT_ONCE);
        let consumers = vec![(Band::Normal, self.consumer.name.clone())];
        let mut intake = Intake::open(&self.bus, TASK_LOG, consumers, &slots);
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(()) = open.next(), if !open.is_empty() => {}
                taken = intake.next() => match taken {
                    Ok((mut delivery, slot)) => {
                        // What is left in the middle comes again after its ack wait.
                        delivery.leave_to_log();
                        open.push(self.see_to(delivery, slot));
                    }
                    Err(ConsumeError::ConsumerGone { consumer, .. }) => {
                        self.make_again().await;
                        intake.reopen(consumer).await;
                    }
                    Err(ConsumeError::Stopped { .. } | _) => break,
                },
            }
        }
        intake.stop().await;
        Ok(())
    }

    async fn make_again(&self) {
        if let Err(error) = ensure_consumer(&self.bus, TASK_LOG, &self.consumer).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the consumer of ends is gone and can't be made yet"
            );
            clock::pause(TRY_AGAIN).await;
        }
    }

    async fn see_to(&self, delivery: Delivery, slot: Slot) {
        let outcome = match self.bus.subjects().parse(delivery.subject()) {
            Some(Address::Entry(_, task, _)) => self.settle(&task).await.map_err(|it| (task, it)),
            _ => Ok(()),
        };
        let ended = match outcome {
            Ok(()) => delivery.ack().await,
            Err((task, error)) => {
                tracing::warn!(%task, error = &error as &dyn std::error::Error,
                    "what an entry leaves to be done is tried again");
                let (first, longest) = ENDS_AGAIN;
                let tried = u32::try_from(delivery.delivered()).unwrap_or(u32::MAX);
                delivery.nak(Some(Backoff { first, longest }.after(tried))).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an entry is seen to again after its ack wait");
        }
        drop(slot);
    }

    async fn settle(&self, task: &TaskId) -> Result<(), EndError> {
        let mut log = TaskLog::read(&self.bus, task.clone(), self.by.clone()).await?;
        let Some(state) = log.state().cloned() else { return Ok(()) };
        let client = Client::new(self.bus.clone(), self.by.role.clone());
        match state.end() {
            Some(End::Cancelled { reason }) => {
                // First what lies below: what was only recorded comes into being and is called off.
                for below in client.cancel_below(&state, reason).await {
                    if let Cancelled::Unknown(why) = below.outcome {
                        return Err(EndError::Below { task: below.id, why });
                    }
                }
                Ok(client.finish(&state).await?)
            }
            Some(_) => Ok(client.finish(&state).await?),
            // It was revived, or asks somebody.
            None => Ok(advance(&self.bus, &self.by, &mut log).await?),
        }
    }
}
