//! Finds messages of one stream in another. The server lets a pull name any subject to be answered
//! on, and stores what is sent there under the subject that it had in its queue; no reader takes it
//! for anything, and here it becomes an incident. It may run twice: one place leaves one record.

use std::{collections::BTreeMap, time::Duration};

use sinew_bus::{Bus, Topology, clock, read::DepthError};
use sinew_model::{
    incident::{ASTRAY, Incident},
    limits::{INCIDENT_TEXT_BYTES, head},
    stream::{AGENT_MAIL, AGENT_TASKS, StreamSpec},
};
use tokio_util::sync::CancellationToken;

use super::sweep::CONTROLLERS;

/// The streams from which agents pull.
const PULLED: [&str; 2] = [AGENT_TASKS, AGENT_MAIL];

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Looks into the streams of one org.
#[derive(Debug)]
pub(crate) struct Astray {
    bus: Bus,
    topology: Topology,
    every: Duration,
}

impl Astray {
    pub(crate) const fn new(bus: Bus, topology: Topology, every: Duration) -> Self {
        Self { bus, topology, every }
    }

    /// Looks until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let all = async {
            loop {
                clock::pause(self.every).await;
                if let Err(error) = self.look().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the streams can't be looked into now"
                    );
                }
            }
        };
        shutdown.run_until_cancelled(Box::pin(all)).await;
    }

    async fn look(&self) -> Result<(), DepthError> {
        for (from, filter, other) in self.places() {
            let found = match self.bus.depth(other, &filter).await {
                Ok(found) => found,
                Err(DepthError::Request { source, .. }) if source.refusal() == Some(NO_STREAM) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.tell((from, other), &found).await;
        }
        Ok(())
    }

    /// Whose messages are looked for, by which subjects, and where.
    fn places(&self) -> Vec<(&'static str, String, &'static str)> {
        let streams = &self.topology.catalogue().streams;
        let mut places = Vec::new();
        for from in streams.iter().filter(|it| PULLED.contains(&it.name)) {
            let is_other = |it: &&StreamSpec| {
                it.name != from.name && !it.sources.iter().any(|source| source.name == from.name)
            };
            for filter in &from.subjects {
                let others = streams.iter().filter(is_other);
                places.extend(others.map(|it| (from.name, filter.clone(), it.name)));
            }
        }
        places
    }

    async fn tell(&self, (from, other): (&str, &str), found: &BTreeMap<String, u64>) {
        for (subject, count) in found {
            let text = format!("{count} messages of {from} lie in {other}, from {subject}");
            let incident = Incident {
                at: clock::now(),
                org_id: self.bus.subjects().org().clone(),
                kind: ASTRAY.to_owned(),
                user: None,
                name: None,
                found: head(&text, INCIDENT_TEXT_BYTES).to_owned(),
                done: "no reader takes them for anything".to_owned(),
                extra: serde_json::Map::new(),
            };
            let id = format!("{other}-{}", subject.replace('.', "_"));
            match self.bus.keep_incident(&self.topology, (&id, &incident), CONTROLLERS).await {
                Ok(()) => tracing::warn!(other, subject, count, "messages lie in another stream"),
                Err(why) => tracing::error!(other, subject, why, "an incident is not recorded"),
            }
        }
    }
}
