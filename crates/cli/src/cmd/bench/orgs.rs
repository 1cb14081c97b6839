//! What orgs cost: how long one more takes, the memory of one that nobody uses and of one that has
//! worked, and what a busy neighbour, or one that floods the server, does to an org's delegations.

mod flooder;

use std::{fmt, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use serde_json::Value;
use sinew_agent::{
    CancellationToken, Client, Context, Delegation, Runtime, Settings,
    model::{OrgId, grant::User, stream::AGENT_TASKS},
};
use sinew_bus::{Auth, Bus, Config as BusConfig, clock};
use sinew_server::{
    account::{Directory, Orgs, Quota},
    control::{flood::Guard, org::forget_consumers},
    engine::{Config, Durability, Engine, State},
};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Server, machine,
    place::role,
    sample::{Sample, Spans, figure_of, take_turns},
};

/// Orgs with work that are measured for their memory.
const WORKED: usize = 20;

/// How many additions are taken together, at the beginning and at the end.
const ADDITIONS: usize = 25;

/// Disk of an org here, in bytes: the server sets it aside, and a throw-away folder has not much.
const STORAGE_BYTES: i64 = 8 << 20;

/// Memory of an org's streams here, in bytes.
const MEMORY_BYTES: i64 = 1 << 19;

/// Who works.
const WORKER: &str = "worker";

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) orgs: usize,
    pub(super) queued: usize,
    pub(super) rounds: usize,
    pub(super) operations: usize,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    machine: machine::Machine,
    durability: Durability,
    orgs: usize,
    first_add_us: f64,
    last_add_us: f64,
    empty_server_bytes: u64,
    idle_org_bytes: u64,
    worked_org_bytes: u64,
    alone: Sample,
    neighbour_queued: usize,
    beside: Sample,
    ratio_p99: Option<f64>,
    flood_cut_off_ms: f64,
    after_flood: Sample,
    groups_idle: u64,
    groups_at_work: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| bytes / 1_024;
        let ms = |us: Option<f64>| us.unwrap_or_default() / 1_000.0;
        writeln!(f, "orgs on one server                         {}", self.orgs)?;
        writeln!(
            f,
            "adding one, the first {ADDITIONS}: median          {:.0} us",
            self.first_add_us
        )?;
        writeln!(
            f,
            "adding one, the last {ADDITIONS}: median           {:.0} us",
            self.last_add_us
        )?;
        writeln!(
            f,
            "memory of the server without orgs          {} KiB",
            kib(self.empty_server_bytes)
        )?;
        writeln!(f, "memory of an org that nobody used          {} KiB", kib(self.idle_org_bytes))?;
        writeln!(
            f,
            "memory of an org that worked and is idle   {} KiB",
            kib(self.worked_org_bytes)
        )?;
        writeln!(
            f,
            "Raft groups of an org, at three replicas   {} idle, {} with one role at work",
            self.groups_idle, self.groups_at_work
        )?;
        let samples =
            [("alone", &self.alone), ("beside", &self.beside), ("after", &self.after_flood)];
        for (what, sample) in samples {
            let (p50, p99) = (ms(sample.p50_us), ms(sample.p99_us));
            writeln!(
                f,
                "delegate to start, {what:<6}                  p50 {p50:.2} ms, p99 {p99:.2} ms"
            )?;
        }
        let ratio = self.ratio_p99.unwrap_or_default();
        writeln!(f, "p99 beside to alone                        {ratio:.2}")?;
        writeln!(f, "a flood was cut off after                  {:.0} ms", self.flood_cut_off_ms)?;
        let queued = self.neighbour_queued;
        write!(f, "beside: a neighbour had {queued} tasks queued and worked on them; ")?;
        write!(f, "after: one had flooded the server and was cut off")
    }
}

/// A server with orgs, and its operator.
struct Town {
    engine: Engine,
    orgs: Orgs,
    directory: Directory,
}

/// Measures on a server of its own.
pub(super) async fn measure(folder: &Path, server: &Server, load: Load) -> Result<Report> {
    let machine = machine::look(folder)?;
    let folder = tempfile::Builder::new().prefix("sinew-bench-").tempdir_in(folder)?;
    let mut config = Config::new(folder.path(), "bench".parse()?, &server.binary);
    config.guard.clone_from(&server.guard);
    let durability = config.durability;
    let engine = Engine::start(config).await?;
    let context = engine.context();
    let orgs = Orgs::new(&context.data_dir, context.root.clone());
    let directory = Directory::connect(&context.url, &orgs.system_creds()).await?;
    let town = Town { engine, orgs, directory };
    let empty_server_bytes = town.memory()?;
    let mut additions = Vec::new();
    for number in 0..load.orgs {
        additions.push(town.add(&format!("org{number}")).await?);
    }
    let full = town.memory()?;
    let worked = WORKED.min(load.orgs);
    let mut groups = (0, 0);
    for number in 0..worked {
        groups = town.work_once(&format!("org{number}")).await?;
    }
    let used = town.memory()?;
    let Beside { alone, beside, cut, after } = town.neighbours(load).await?;
    town.engine.stop().await;
    Ok(Report {
        machine,
        durability,
        orgs: load.orgs,
        first_add_us: median(additions.iter().take(ADDITIONS))?,
        last_add_us: median(additions.iter().rev().take(ADDITIONS))?,
        empty_server_bytes,
        idle_org_bytes: each(full.saturating_sub(empty_server_bytes), load.orgs),
        worked_org_bytes: each(used.saturating_sub(full), worked),
        ratio_p99: alone.p99_us.zip(beside.p99_us).map(|(alone, beside)| beside / alone),
        alone,
        neighbour_queued: load.queued,
        beside,
        flood_cut_off_ms: cut.as_secs_f64() * 1_000.0,
        after_flood: after,
        groups_idle: groups.0,
        groups_at_work: groups.1,
    })
}

fn each(bytes: u64, count: usize) -> u64 {
    bytes / u64::try_from(count).unwrap_or(u64::MAX).max(1)
}

fn median<'a>(spans: impl Iterator<Item = &'a Duration>) -> Result<f64> {
    let mut all = Spans::new()?;
    spans.for_each(|span| all.add(*span));
    all.sample(Duration::from_secs(1)).p50_us.context("no org was added")
}

impl Town {
    /// What the server holds in memory, in bytes.
    fn memory(&self) -> Result<u64> {
        let State::Ready { pid, .. } = self.engine.states().borrow().clone() else {
            bail!("the server is not there");
        };
        let path = format!("/proc/{pid}/status");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Ok(kib.context(path)?.saturating_mul(1_024))
    }

    /// Adds an org as `sinew org add` does, and says how long it took.
    async fn add(&self, name: &str) -> Result<Duration> {
        let org: OrgId = name.parse()?;
        let quota =
            Quota { storage_bytes: STORAGE_BYTES, memory_bytes: MEMORY_BYTES, ..Quota::default() };
        let since = clock::instant();
        self.orgs.add(&org, quota)?;
        self.directory.put(&self.orgs.org_jwt(&org)?).await?;
        Ok(since.elapsed())
    }

    async fn enter(&self, name: &str) -> Result<Bus> {
        let org: OrgId = name.parse()?;
        let mut config = BusConfig::new(&self.engine.context().url, org.clone());
        config.auth = Auth::Credentials(self.orgs.ensure_local(&org, &User::Server)?);
        let bus = Bus::connect(config).await?;
        let topology = self.orgs.record(&org)?.quota.topology(&bus)?;
        for spec in &topology.catalogue().streams {
            topology.ensure_stream(&bus, spec.name).await?;
        }
        Ok(bus)
    }

    /// An org's first work: its streams are made, one task is done, and everybody leaves. Gives how
    /// many streams and consumers there are afterwards and were at work: in a cluster with three
    /// replicas each of them is a Raft group.
    async fn work_once(&self, name: &str) -> Result<(u64, u64)> {
        let bus = self.enter(name).await?;
        let (begin, mut begun) = mpsc::channel(1);
        let worker = Worker::start(&bus, 1, begin)?;
        let client = Client::new(bus.clone(), role("caller")?);
        let id = client.delegate(Delegation::new(role(WORKER)?, "Work")).await?.id;
        begun.recv().await.context("no start")?;
        client.outcome(&id).await?;
        let at_work = assets(&bus).await?;
        worker.stop().await?;
        forget_consumers(&bus).await;
        Ok((assets(&bus).await?, at_work))
    }

    /// How long a delegation takes to start in one org, by itself and beside a busy one, in turns.
    async fn neighbours(&self, load: Load) -> Result<Beside> {
        self.add("quiet").await?;
        let noisy: OrgId = "noisy".parse()?;
        self.orgs.add(&noisy, Quota { storage_bytes: -1, memory_bytes: -1, ..Quota::default() })?;
        self.directory.put(&self.orgs.org_jwt(&noisy)?).await?;
        let (quiet, noisy) = (self.enter("quiet").await?, self.enter("noisy").await?);
        let (begin, mut begun) = mpsc::channel(1);
        let worker = Worker::start(&quiet, 1, begin)?;
        let client = Client::new(quiet.clone(), role("caller")?);
        let rounds = take_turns(load.rounds, &[false, true], async |is_beside| {
            let (heard, mut seen) = mpsc::channel(1_000);
            let busy = if is_beside {
                let left = noisy.stream_state(AGENT_TASKS).await?.messages;
                let left = usize::try_from(left).unwrap_or(usize::MAX);
                fill(&noisy, load.queued.saturating_sub(left)).await?;
                let busy = Worker::start(&noisy, 5, heard)?;
                seen.recv().await.context("the neighbour does not work")?;
                Some(busy)
            } else {
                None
            };
            let sample = delegations(&client, &mut begun, load.operations).await?;
            if let Some(busy) = busy {
                busy.stop().await?;
            }
            Ok(vec![sample])
        });
        let rounds = rounds.await?;
        let cut = self.flooded().await?;
        let after = delegations(&client, &mut begun, load.operations).await?;
        worker.stop().await?;
        let (alone, beside) =
            (figure_of(&rounds, 0, 0)?.median(), figure_of(&rounds, 1, 0)?.median());
        Ok(Beside { alone, beside, cut, after })
    }

    /// Lets an agent of the noisy org flood the server, which a guard watches.
    async fn flooded(&self) -> Result<Duration> {
        let context = self.engine.context();
        let creds = self.orgs.creds(&"noisy".parse()?, &User::Agent(role("flooder")?), None)?;
        let stop = CancellationToken::new();
        let guard = tokio::spawn(Guard::new(context.clone()).run(stop.clone()));
        let (url, subject) = (context.url.clone(), "genbrain.org.noisy.metrics");
        let flooding =
            tokio::task::spawn_blocking(move || flooder::flood(&url, &creds.text, subject));
        let cut = flooding.await?;
        stop.cancel();
        guard.await?;
        cut
    }
}

/// The streams and consumers of an org.
async fn assets(bus: &Bus) -> Result<u64> {
    let info: Value = bus.api("INFO", &Value::Null).await?;
    let count = |what: &str| info.get(what).and_then(Value::as_u64);
    let all = count("streams").zip(count("consumers")).map(|(streams, it)| streams + it);
    all.context("the server does not say how many streams and consumers there are")
}

/// What was measured beside others.
struct Beside {
    alone: Sample,
    beside: Sample,
    /// How long a flood took to be cut off.
    cut: Duration,
    after: Sample,
}

/// Delegates one task after the other, and takes the time until each begins.
async fn delegations(
    client: &Client,
    begun: &mut mpsc::Receiver<Instant>,
    count: usize,
) -> Result<Sample> {
    let mut spans = Spans::new()?;
    let since = clock::instant();
    for _ in 0..count {
        let at = clock::instant();
        let id = client.delegate(Delegation::new(role(WORKER)?, "Work")).await?.id;
        let start: Instant = begun.recv().await.context("no start")?;
        spans.add(start.duration_since(at));
        client.outcome(&id).await?;
    }
    Ok(spans.sample(since.elapsed()))
}

/// Queues tasks that nobody works on yet.
async fn fill(bus: &Bus, count: usize) -> Result<()> {
    let client = Client::new(bus.clone(), role("caller")?);
    let worker = role(WORKER)?;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        if running.len() >= FILLERS {
            running.join_next().await.context("a delegation")???;
        }
        let (client, what) = (client.clone(), Delegation::new(worker.clone(), "Noise"));
        running.spawn(async move { client.delegate(what).await.map(drop) });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

/// Delegations under way at once while a queue is filled: enough for batches.
const FILLERS: usize = 256;

/// An agent in this process that does nothing with its tasks but say that they began.
struct Worker {
    stop: CancellationToken,
    running: tokio::task::JoinHandle<Result<()>>,
}

impl Worker {
    fn start(bus: &Bus, concurrency: usize, begin: mpsc::Sender<Instant>) -> Result<Self> {
        let mut settings = Settings::new(role(WORKER)?);
        settings.concurrency = concurrency;
        let runtime = Runtime::new(bus.clone(), settings);
        let stop = CancellationToken::new();
        let handler = move |_task: Context| {
            let begin = begin.clone();
            async move {
                // Whoever listens to a busy neighbour hears that it is busy, and no more.
                begin.try_send(clock::instant()).ok();
                Ok("done".into())
            }
        };
        let run = runtime.run(handler, stop.clone());
        let running = tokio::spawn(async move { Ok(run.await.map(drop)?) });
        Ok(Self { stop, running })
    }

    async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.running.await?
    }
}
