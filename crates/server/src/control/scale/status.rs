//! How scaling stands, and how the servers fare, as they said it last.

use std::collections::BTreeMap;

use serde::Serialize;
use sinew_bus::{Bus, RequestError, Scan, ScanError, clock};
use sinew_model::{
    Time,
    health::{Crashing, Health},
    lease::{LeaseName, LeaseRecord},
    limits::{HEALTH_READ, HEALTH_SILENCE},
    scale::{RoleSignal, Signal},
    stream::SYSTEM,
};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Why it is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookError {
    /// The server could not be asked.
    #[error("the backbone could not be asked")]
    Request(#[from] RequestError),
    /// What servers said of themselves could not be read.
    #[error("what servers said of themselves could not be read")]
    Scan(#[from] ScanError),
    /// What was said is not readable.
    #[error("what the scaler said is not readable")]
    Unreadable(#[from] serde_json::Error),
}

/// How scaling stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Who leads the scalers now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaler: Option<Leader>,
    /// Who starts and stops agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actuator: Option<Leader>,
    /// When the roles were last looked at.
    pub at: Time,
    /// Whether nobody has looked for long.
    pub stale: bool,
    /// Every role of the team.
    pub roles: Vec<RoleSignal>,
    /// Roles whose command does not stay up.
    pub crashing: Vec<Crashing>,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Leader {
    /// Who.
    pub holder: String,
    /// The how-manieth it is.
    pub term: u64,
}

/// How it stands; `None` where no scaler ever said anything.
///
/// # Errors
/// See [`LookError`].
pub async fn look(bus: &Bus) -> Result<Option<Status>, LookError> {
    let last = match bus.last(SYSTEM, bus.subjects().system_scaling().as_str()).await {
        Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(None),
        last => last?,
    };
    let Some(last) = last else { return Ok(None) };
    let signal: Signal = serde_json::from_slice(&last.payload)?;
    let now = clock::now();
    let actuator = leader(bus, LeaseName::Actuator, now).await?;
    let health = health(bus).await?;
    let leads = |it: &&Health| it.leads(LeaseName::Actuator);
    let crashing = health.values().filter(leads).flat_map(|it| it.crashing.clone()).collect();
    Ok(Some(Status {
        scaler: leader(bus, LeaseName::Scaler, now).await?,
        actuator,
        at: signal.at,
        stale: signal.is_stale(now),
        roles: signal.roles,
        crashing,
    }))
}

async fn leader(bus: &Bus, name: LeaseName, now: Time) -> Result<Option<Leader>, RequestError> {
    let (_, record) = bus.lease(name).await?;
    let holds = |it: &LeaseRecord| {
        let over = it.at.plus(std::time::Duration::from_millis(it.ttl_millis));
        !it.released && over > now
    };
    Ok(record.filter(holds).map(|LeaseRecord { holder, term, .. }| Leader { holder, term }))
}

/// The newest sample of each server that still sends some.
///
/// # Errors
/// See [`LookError`].
pub async fn health(bus: &Bus) -> Result<BTreeMap<String, Health>, LookError> {
    let mut newest = BTreeMap::new();
    let state = match bus.stream_state(SYSTEM).await {
        Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(newest),
        state => state?,
    };
    let from = state.last_seq.saturating_sub(HEALTH_READ).max(1);
    let subject = bus.subjects().system_health();
    let mut scan: Scan = bus.scan(SYSTEM, subject.as_str(), from).await?;
    let now = clock::now();
    while scan.pending() > 0 {
        let message = scan.next().await?;
        let Ok(health) = serde_json::from_slice::<Health>(&message.payload) else { continue };
        let is_ours = health.org_id == *bus.subjects().org();
        if is_ours && now.since(health.at) < HEALTH_SILENCE {
            newest.insert(health.server.clone(), health);
        }
    }
    Ok(newest)
}
