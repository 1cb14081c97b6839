//! Where work comes in. Shut, nothing is asked for, and what was handed over and not begun has gone
//! back to the queue; what runs is not touched.

use std::sync::Arc;

use sinew_bus::{ConsumeError, Delivery, Intake, Slot, Slots, clock};
use sinew_model::{
    Band, limits,
    stream::{AGENT_TASKS, work_consumer_name, work_consumer_of},
};
use tokio_util::sync::CancellationToken;

use super::{ensure, host::Host};

/// The way from the queue of a role into a runtime.
pub(crate) struct Gate {
    host: Arc<Host>,
    slots: Slots,
    /// The bands in use.
    bands: Vec<Band>,
    /// `None` while it is shut.
    intake: Option<Intake>,
}

impl Gate {
    pub(crate) fn shut(host: &Arc<Host>, slots: &Slots) -> Self {
        let bands = vec![Band::Normal];
        Self { host: Arc::clone(host), slots: slots.clone(), bands, intake: None }
    }

    /// Opens it, if it is shut.
    pub(crate) fn open(&mut self) {
        let Self { host, slots, bands, intake } = self;
        intake.get_or_insert_with(|| {
            let role = &host.settings.role;
            let consumer = |band: &Band| (*band, work_consumer_name(role, *band));
            Intake::open(&host.bus, AGENT_TASKS, bands.iter().map(consumer).collect(), slots)
        });
    }

    /// Shuts it, if it is open.
    pub(crate) async fn close(&mut self) {
        if let Some(intake) = self.intake.take() {
            intake.stop().await;
        }
    }

    /// What comes next; nothing while it is shut. May be cancelled without losing anything.
    pub(crate) async fn next(&mut self) -> Result<(Delivery, Slot), ConsumeError> {
        match &mut self.intake {
            Some(intake) => intake.next().await,
            None => std::future::pending().await,
        }
    }

    /// Takes a band into use. What stands in the way now is no reason to end the work on the
    /// others.
    pub(crate) async fn open_band(&mut self, band: Band) -> bool {
        let role = &self.host.settings.role;
        match self.host.topology.ensure_work_consumer(&self.host.bus, role, band).await {
            Ok(()) => {
                self.bands.push(band);
                if let Some(intake) = &self.intake {
                    intake.add_consumer(band, work_consumer_name(role, band)).await;
                }
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(?band, error, "a band of the queue can't be taken into use yet");
                false
            }
        }
    }

    /// Makes a consumer again that somebody deleted. The count of attempts is in the log, so
    /// nothing is forgotten with it.
    pub(crate) async fn reopen(&self, consumer: &str, shutdown: &CancellationToken) {
        let (bus, role) = (&self.host.bus, &self.host.settings.role);
        let band = work_consumer_of(consumer).map(|(_, band)| band);
        while let Some(band) = band
            && !shutdown.is_cancelled()
        {
            let ensured = async {
                ensure(&self.host).await?;
                self.host.topology.ensure_work_consumer(bus, role, band).await
            };
            match ensured.await {
                Ok(()) => {
                    tracing::warn!(consumer, "the consumer was gone; it was made again");
                    if let Some(intake) = &self.intake {
                        intake.reopen(consumer).await;
                    }
                    return;
                }
                Err(error) => {
                    tracing::warn!(
                        consumer,
                        error = &error as &dyn std::error::Error,
                        "the consumer is gone and can't be made again yet"
                    );
                    clock::pause(limits::TRY_AGAIN).await;
                }
            }
        }
    }
}
