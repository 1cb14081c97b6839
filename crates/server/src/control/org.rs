//! Is in every org that stirs: runs the service of an org while somebody is connected to it or
//! something is left to be done in it, and leaves when it has been quiet for long. An org that
//! nobody uses holds no connection and no consumer. When to be where is decided by
//! [`sinew_model::org`]; what is here looks and carries it out. It also tells the server which orgs
//! the platform hears.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde_json::Value;
use sinew_bus::{Bus, Config, ConnectError, RequestError, TopologyError, clock};
use sinew_model::{
    OrgId,
    grant::User,
    limits::{ORG_LOOK_EVERY, ORG_QUIET, ORG_VISITS},
    org::{Attendance, Step},
    stream::{AGENT_TASKS, TASK_LOG, TASK_SCHEDULES},
};
use sinew_views::{OpenError, QueryError, Store, task::Filter};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::flood::Guard;
use crate::{
    account::{AccountError, Directory, DirectoryError, Orgs, Record},
    context::Context,
    serve::{ServeError, Settings, serve},
};

/// How often it looks, and how long an org must be quiet before it is left.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Time between two looks; a new connection is seen at once.
    pub every: Duration,
    /// How long nobody else must have been connected.
    pub quiet: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: ORG_LOOK_EVERY, quiet: ORG_QUIET }
    }
}

/// Why the service of an org did not run, or no longer.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("its credentials can't be made")]
    Account(#[from] AccountError),
    #[error("it can't be connected to")]
    Connect(#[from] ConnectError),
    #[error("its streams are not as they may be")]
    Topology(#[from] TopologyError),
    #[error("its service failed")]
    Serve(#[from] ServeError),
}

/// Why it was not seen whether an org has work.
#[derive(Debug, thiserror::Error)]
enum WorkFault {
    #[error("its streams can't be looked at")]
    Request(#[from] RequestError),
    #[error("its view can't be opened")]
    Open(#[from] OpenError),
    #[error("its view can't be asked")]
    Query(#[from] QueryError),
}

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// The streams on which consumers stand that are made again when they are needed.
const CONSUMED: [&str; 3] = [AGENT_TASKS, TASK_LOG, TASK_SCHEDULES];

/// The controllers of all orgs of a data folder but the one that is always served.
#[derive(Clone, Debug)]
pub struct Tenants {
    orgs: Orgs,
    context: Context,
    pace: Pace,
}

/// An org that is, or was a moment ago, served.
#[derive(Debug)]
struct Served {
    attendance: Attendance,
    /// The one connection to the org, once it is there.
    bus: Arc<OnceLock<Bus>>,
    stop: CancellationToken,
}

/// What the service of an org works with.
#[derive(Debug)]
struct Place {
    org: OrgId,
    record: Record,
    bus: Arc<OnceLock<Bus>>,
}

/// What is known while it runs.
#[derive(Debug, Default)]
struct State {
    served: BTreeMap<OrgId, Served>,
    running: JoinSet<OrgId>,
    /// Orgs that hold something and were not looked into since the start.
    unvisited: BTreeSet<String>,
    /// The orgs that the platform was told to hear.
    heard: Option<BTreeSet<String>>,
}

impl Tenants {
    /// The orgs beside the context's own.
    #[must_use]
    pub fn new(context: Context, pace: Pace) -> Self {
        let orgs = Orgs::new(&context.data_dir, context.root.clone());
        Self { orgs, context, pace }
    }

    /// Where the view of an org is.
    #[must_use]
    pub fn view_of(context: &Context, org: &OrgId) -> PathBuf {
        context.data_dir.join("views").join(format!("{org}.db"))
    }

    /// Attends until `shutdown`, and leaves every org in order; meanwhile whoever sends too fast, in
    /// the context's own org too, is cut off.
    pub async fn run(self, shutdown: CancellationToken) {
        let guard = Guard::new(self.context.clone()).run(shutdown.clone());
        tokio::join!(Box::pin(guard), self.attend_all(shutdown));
    }

    async fn attend_all(self, shutdown: CancellationToken) {
        let mut state = State::default();
        while !shutdown.is_cancelled() {
            if let Err(error) = self.attend(&mut state, &shutdown).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the orgs of the server can't be looked at now"
                );
            }
            shutdown.run_until_cancelled(clock::pause(self.pace.every)).await;
        }
        for served in state.served.values() {
            served.stop.cancel();
        }
        while state.running.join_next().await.is_some() {}
    }

    async fn attend(
        &self,
        state: &mut State,
        shutdown: &CancellationToken,
    ) -> Result<(), DirectoryError> {
        let directory = Directory::connect(&self.context.url, &self.orgs.system_creds()).await?;
        let mut begins = directory.watch().await?;
        state.unvisited = directory.holders().await?;
        loop {
            self.look(state, &directory).await?;
            let State { served, running, .. } = state;
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = clock::pause(self.pace.every) => {}
                ended = running.join_next(), if !running.is_empty() => {
                    if let Some(Ok(org)) = ended {
                        served.remove(&org);
                    }
                    // One that failed at once is not tried again at once.
                    clock::pause(self.pace.every / 10).await;
                }
                account = self.stranger(&mut begins, &*served) => if account.is_none() {
                    return Ok(());
                }
            }
        }
    }

    /// Waits until somebody connects to an org that is not served.
    async fn stranger(
        &self,
        begins: &mut sinew_bus::Begins,
        served: &BTreeMap<OrgId, Served>,
    ) -> Option<()> {
        loop {
            let account = begins.next().await?;
            // Records that can't be read are looked at by the next look, which says so.
            let records = self.orgs.records().unwrap_or_default();
            let is_new = |(org, record): &(OrgId, Record)| {
                record.account == account && *org != self.context.org && !served.contains_key(org)
            };
            if records.iter().any(is_new) {
                return Some(());
            }
        }
    }

    async fn look(&self, state: &mut State, directory: &Directory) -> Result<(), DirectoryError> {
        let Some(records) = records(&self.orgs) else { return Ok(()) };
        self.tell_platform(state, directory, &records).await?;
        let connections = directory.connections().await?;
        let known: BTreeSet<&OrgId> = records.iter().map(|(org, _)| org).collect();
        for (org, served) in &state.served {
            if !known.contains(org) {
                served.stop.cancel();
            }
        }
        for (org, record) in &records {
            if *org == self.context.org || record.is_shut() {
                continue;
            }
            let all = connections.get(&record.account).copied().unwrap_or_default();
            self.look_at(state, (org, record), all).await;
        }
        Ok(())
    }

    async fn look_at(&self, state: &mut State, (org, record): (&OrgId, &Record), all: u64) {
        let now = clock::now();
        let attendance = state.served.get(org).map(|it| it.attendance).unwrap_or_default();
        let others = all.saturating_sub(u64::from(attendance.is_inside()));
        let quiet = |it: &Served| it.attendance.is_quiet();
        let visits = state.served.values().filter(|it| quiet(it)).count();
        let call = !attendance.is_inside()
            && visits < ORG_VISITS
            && state.unvisited.contains(&record.account);
        let mut inside = attendance.is_inside();
        match attendance.decide(others, call, (now, self.pace.quiet)) {
            Step::Stay => {}
            Step::Enter => {
                state.unvisited.remove(&record.account);
                let stop = CancellationToken::new();
                let bus = Arc::new(OnceLock::new());
                let place = Place { org: org.clone(), record: record.clone(), bus: bus.clone() };
                state.running.spawn(self.clone().serve(place, stop.clone()));
                state.served.insert(org.clone(), Served { attendance, bus, stop });
                inside = true;
            }
            Step::AskToLeave => {
                if let Some(served) = state.served.get(org) {
                    self.leave_if_done(org, served).await;
                }
            }
        }
        if let Some(served) = state.served.get_mut(org) {
            served.attendance = attendance.after(others, inside, now);
        }
    }

    async fn leave_if_done(&self, org: &OrgId, served: &Served) {
        // Without a connection it is not known, and the service itself tries to get one.
        let Some(bus) = served.bus.get() else { return };
        match self.has_work(org, bus).await {
            Ok(true) => {}
            Ok(false) => served.stop.cancel(),
            Err(error) => tracing::warn!(
                %org,
                error = &error as &dyn std::error::Error,
                "it can't be seen whether an org has work"
            ),
        }
    }

    /// Runs the service of one org.
    async fn serve(self, place: Place, stop: CancellationToken) -> OrgId {
        let served = self.served(&place, stop).await;
        let Place { org, .. } = place;
        match served {
            Ok(()) => tracing::info!(%org, "an org is quiet"),
            Err(error) => tracing::error!(
                %org,
                error = &error as &dyn std::error::Error,
                "an org is not served"
            ),
        }
        org
    }

    async fn served(&self, place: &Place, stop: CancellationToken) -> Result<(), Fault> {
        let Place { org, record, bus: known } = place;
        tracing::info!(%org, "an org stirs");
        let bus = Bus::connect(self.config(org)?).await?;
        let bus = known.get_or_init(|| bus);
        let topology = record.quota.topology(bus)?;
        let mut settings = Settings::new(topology, Self::view_of(&self.context, org));
        settings.system = Some(self.context.system_config());
        settings.statement = Some(self.orgs.statement(org)?);
        serve(bus.clone(), settings, stop).await?;
        if self.is_there(org) {
            forget_consumers(bus).await;
        }
        Ok(())
    }

    fn is_there(&self, org: &OrgId) -> bool {
        self.orgs.record(org).is_ok_and(|record| !record.is_shut())
    }

    fn config(&self, org: &OrgId) -> Result<Config, AccountError> {
        let creds = self.orgs.ensure_local(org, &User::Server)?;
        let mut config = self.context.org_config(org, creds);
        config.name = format!("sinew controllers of {org}");
        Ok(config)
    }

    /// Whether something is left to be done in an org that nobody is connected to.
    async fn has_work(&self, org: &OrgId, bus: &Bus) -> Result<bool, WorkFault> {
        match bus.stream_state(TASK_SCHEDULES).await {
            Ok(state) if state.messages > 0 => return Ok(true),
            Ok(_) => {}
            Err(error) if error.refusal() == Some(NO_STREAM) => {}
            Err(error) => return Err(error.into()),
        }
        // What only lies on a queue waits for a worker, who brings the controllers along.
        let view = Self::view_of(&self.context, org);
        let store = Store::open(view, bus.subjects().clone()).await?;
        let open = Filter { ended: Some(false), limit: Some(1), ..Filter::default() };
        Ok(!store.list(open).await?.tasks.is_empty())
    }

    /// Tells the server of the orgs that the platform hears, where they are others than before.
    async fn tell_platform(
        &self,
        state: &mut State,
        directory: &Directory,
        records: &[(OrgId, Record)],
    ) -> Result<(), DirectoryError> {
        let heard: BTreeSet<String> = records.iter().map(|(_, it)| it.account.clone()).collect();
        if state.heard.as_ref() == Some(&heard) {
            return Ok(());
        }
        match self.orgs.platform_jwt() {
            Ok(jwt) => {
                directory.put(&jwt).await?;
                state.heard = Some(heard);
            }
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "the platform is not told of the orgs"
            ),
        }
        Ok(())
    }
}

/// The records of all orgs. Where they can't be read this is said, and the next look may.
pub(super) fn records(orgs: &Orgs) -> Option<Vec<(OrgId, Record)>> {
    let records = orgs.records().inspect_err(|error| {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "the records of the orgs can't be read"
        );
    });
    records.ok()
}

/// Deletes the consumers of an org that nobody is connected to: each costs memory, and whoever
/// needs one makes it.
pub async fn forget_consumers(bus: &Bus) {
    for stream in CONSUMED {
        let names = bus.api::<Value>(&format!("CONSUMER.NAMES.{stream}"), &Value::Null).await;
        // One that stays costs memory and nothing else.
        let Ok(names) = names else { continue };
        let names = names.get("consumers").and_then(Value::as_array).cloned().unwrap_or_default();
        for name in names.iter().filter_map(Value::as_str) {
            let gone =
                bus.api::<Value>(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null).await;
            if let Err(error) = gone {
                tracing::debug!(stream, name, %error, "a consumer that nobody needs stays");
            }
        }
    }
}
