//! Carries a plan out: makes what is missing, mends what can be mended, and says what is left.

use serde::Serialize;
use serde_json::Value;
use sinew_model::stream::StreamSpec;

use super::{
    EnsureError, Info, Plan, StreamState, Topology, call,
    compare::{Change, Difference, REPLICAS_FIELD, merged},
    create, info, plan, too_few_servers, wanted,
};
use crate::connect::Bus;

/// What the caller allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Every message stays.
    KeepMessages,
    /// Messages that a lower limit leaves no room for are deleted.
    DeleteMessages,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Every stream of the plan, in its order.
    pub streams: Vec<StreamReport>,
}

/// What was done to one stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: &'static str,
    /// What was done.
    pub outcome: Outcome,
    /// What still differs: what can't be changed in place, or would have deleted messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Difference>,
}

/// What was done to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// Nothing.
    Unchanged,
}

impl Report {
    /// Whether everything is now as it is to be.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.left.is_empty())
    }
}

impl Topology {
    /// Carries `plan` out. Each stream that it wants to touch is looked at again first, and what
    /// is true then decides; so a plan that has become old does no harm, and two at once neither.
    ///
    /// # Errors
    /// The first stream on which the server failed, see [`EnsureError`]. What was done before
    /// stays done, and applying again goes on.
    pub async fn apply(
        &self,
        bus: &Bus,
        plan: &Plan,
        consent: Consent,
    ) -> Result<Report, EnsureError> {
        let mut streams = Vec::new();
        for planned in &plan.streams {
            let Some(spec) = self.catalogue.stream(planned.stream) else {
                return Err(EnsureError::Unknown { name: planned.stream.to_owned() });
            };
            let (outcome, left) = match planned.state {
                StreamState::Same => (Outcome::Unchanged, Vec::new()),
                StreamState::Missing | StreamState::Drift(_) => mend(bus, spec, consent).await?,
            };
            streams.push(StreamReport { stream: spec.name, outcome, left });
        }
        Ok(Report { streams })
    }
}

async fn mend(
    bus: &Bus,
    spec: &StreamSpec,
    consent: Consent,
) -> Result<(Outcome, Vec<Difference>), EnsureError> {
    // Each further round needs somebody else to have made and deleted a stream in between.
    let found = loop {
        match info(bus, spec.name).await? {
            Some(found) => break found,
            None if create(bus, spec).await? => return Ok((Outcome::Created, Vec::new())),
            None => {}
        }
    };
    let drift = plan::drift(spec, &wanted(bus, spec), &found);
    let (mended, left): (Vec<_>, Vec<_>) = drift.into_iter().partition(|it| match it.change {
        Change::InPlace => true,
        Change::DeletesMessages => consent == Consent::DeleteMessages,
        Change::Impossible => false,
    });
    if mended.is_empty() {
        return Ok((Outcome::Unchanged, left));
    }
    update(bus, spec, &found, &mended, left).await
}

async fn update(
    bus: &Bus,
    spec: &StreamSpec,
    found: &Info,
    mended: &[Difference],
    mut left: Vec<Difference>,
) -> Result<(Outcome, Vec<Difference>), EnsureError> {
    let subject = format!("STREAM.UPDATE.{}", spec.name);
    let wanted = wanted(bus, spec);
    let config = |left: &[Difference]| Value::Object(merged(&found.config, &wanted, left));
    let mut done = call::<Value>(bus, &subject, &config(&left)).await;
    // Where nobody set a number of replicas, as many as there are servers is what is wanted.
    let replicas = mended.iter().find(|it| it.field == REPLICAS_FIELD);
    if let (None, Some(replicas)) = (spec.replicas, replicas)
        && done.as_ref().is_err_and(too_few_servers)
    {
        left.push(replicas.clone());
        done = call(bus, &subject, &config(&left)).await;
        left.pop();
    }
    match done {
        Ok(_) => Ok((Outcome::Updated, left)),
        Err(source) => Err(EnsureError::Request { what: format!("stream {}", spec.name), source }),
    }
}
