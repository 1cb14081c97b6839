//! Makes a stream again that somebody deleted under a running backbone. What it held is gone; what
//! the log still knows of goes back onto its queue by the sweep, and what still lies on a queue
//! gets a log again from whoever begins it. It may run twice: two makings of one stream are one.

use std::time::Duration;

use sinew_bus::{Bus, Topology, ensure::Ensured};
use sinew_model::limits::{ASTRAY_EVERY, STREAMS_EVERY};
use tokio_util::sync::CancellationToken;

/// How often it looks.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two looks at all streams.
    pub every: Duration,
    /// Time between two looks for messages of one stream in another.
    pub astray: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: STREAMS_EVERY, astray: ASTRAY_EVERY }
    }
}

/// Looks after the streams of one org.
#[derive(Debug)]
pub(crate) struct Streams {
    bus: Bus,
    topology: Topology,
    pace: Pace,
}

impl Streams {
    pub(crate) const fn new(bus: Bus, topology: Topology, pace: Pace) -> Self {
        Self { bus, topology, pace }
    }

    /// Looks until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let all = async {
            loop {
                sinew_bus::clock::pause(self.pace.every).await;
                self.look().await;
            }
        };
        shutdown.run_until_cancelled(all).await;
    }

    async fn look(&self) {
        for spec in &self.topology.catalogue().streams {
            let stream = spec.name;
            match self.topology.ensure_stream(&self.bus, stream).await {
                Ok(Ensured::Same | Ensured::Differs(_)) => {}
                Ok(Ensured::Created) => {
                    tracing::error!(
                        stream,
                        "the stream was gone with what it held; it was made again"
                    );
                }
                Err(error) => tracing::warn!(
                    stream,
                    error = &error as &dyn std::error::Error,
                    "the stream can't be looked at now"
                ),
            }
        }
    }
}
