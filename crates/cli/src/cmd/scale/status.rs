//! `sinew scale status`: who leads, and how many instances each role is to have, has, and why.

use serde::Serialize;
use sinew_bus::{Bus, Scan, clock};
use sinew_model::{
    Time,
    health::{Crashing, Health},
    lease::{LeaseName, LeaseRecord},
    limits::{HEALTH_READ, HEALTH_SILENCE},
    scale::{RoleSignal, Signal},
    stream::SYSTEM,
};
use std::collections::BTreeMap;

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Show who leads, and how many instances each role is to have, has, and why.
///
/// WANTED is how many instances there are to be, RUNNING those that take work, BUSY those that work
/// on something; BACKLOG are tasks that nobody has begun, PEOPLE those that wait for a person.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew scale status
  sinew scale status --watch")]
pub(crate) struct Args {
    /// Go on, and show every change
    #[arg(long)]
    watch: bool,
}

/// How scaling stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Who leads the scalers now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scaler: Option<Leader>,
    /// Who starts and stops agents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actuator: Option<Leader>,
    /// When the roles were last looked at.
    pub(crate) at: Time,
    /// Whether nobody has looked for long.
    pub(crate) stale: bool,
    /// Every role of the team.
    pub(crate) roles: Vec<RoleSignal>,
    /// Roles whose command does not stay up.
    pub(crate) crashing: Vec<Crashing>,
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Leader {
    /// Who.
    pub(crate) holder: String,
    /// The how-manieth it is.
    pub(crate) term: u64,
}

/// Prints it, once or again and again.
///
/// # Errors
/// When there is nothing to show, or the backbone can't be asked.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    let hints = bus.watch_subject(bus.subjects().system_scaling().as_str()).await;
    let mut hints = hints.map_err(anyhow::Error::msg)?;
    let mut shown = look(&bus).await?.ok_or_else(nobody)?;
    print(&shown, out)?;
    if !args.watch {
        return Ok(Code::Done);
    }
    loop {
        if hints.next().await.is_none() {
            return Err(Fault::new(Code::Unreachable, "the backbone is gone").into());
        }
        let Some(now) = look(&bus).await? else { continue };
        let same = Status { at: shown.at, ..now.clone() } == shown;
        if !same {
            print(&now, out)?;
        }
        shown = now;
    }
}

fn nobody() -> Fault {
    Fault::not_found("no scaler has run for this org")
        .hint("start one: sinew up --team team.toml, or sinew scale run --team team.toml")
}

/// How it stands; `None` where no scaler ever said anything.
///
/// # Errors
/// When the backbone can't be asked.
pub(crate) async fn look(bus: &Bus) -> anyhow::Result<Option<Status>> {
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

async fn leader(bus: &Bus, name: LeaseName, now: Time) -> anyhow::Result<Option<Leader>> {
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
/// When the backbone can't be asked.
pub(crate) async fn health(bus: &Bus) -> anyhow::Result<BTreeMap<String, Health>> {
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

fn print(status: &Status, out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(status);
    }
    let who = |leader: &Option<Leader>| {
        leader.as_ref().map_or_else(
            || "nobody".to_owned(),
            |it| format!("{} (term {})", text::short(&it.holder, 32), it.term),
        )
    };
    let stale = if status.stale { "; THAT IS LONG AGO" } else { "" };
    out.line(format_args!(
        "scaler {}, actuator {}, looked {}{stale}",
        who(&status.scaler),
        who(&status.actuator),
        text::ago(status.at)
    ))?;
    let head = ["ROLE", "WANTED", "RUNNING", "BUSY", "BACKLOG", "PEOPLE", "BOUNDS", "WHY"];
    out.line(text::table(&head, status.roles.iter().map(|it| cells(it, status))))
}

fn cells(it: &RoleSignal, status: &Status) -> Vec<String> {
    let crashing = status.crashing.iter().find(|crash| crash.role == it.role);
    let why = crashing.map_or_else(
        || {
            let words = it.reason.words();
            it.stuck_since.map_or_else(
                || words.to_owned(),
                |since| format!("STUCK since {}: no instance comes up", text::ago(since)),
            )
        },
        |crash| format!("CRASHED {} times: {}", crash.times, text::short(&crash.why, 120)),
    );
    let numbers = [it.replicas.to_string(), it.running.to_string(), it.busy.to_string()];
    let tasks = [it.backlog.to_string(), it.waiting.to_string()];
    let bounds = format!("{}..{}", it.min, it.max);
    let role = [it.role.to_string()];
    role.into_iter().chain(numbers).chain(tasks).chain([bounds, why]).collect()
}
