//! How long delegating stands still when the node is lost that leads the streams, beside how long
//! the engine itself does: a bare client writes the same two messages to the same streams at the
//! same moments. What the engine needs to elect is in both; what is Sinew's is the difference.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use async_nats::{HeaderMap, jetstream};
use serde_json::{Value, json};
use sinew_agent::{Bus, CancellationToken, Client, Config, Delegation};
use sinew_bus::{Topology, clock};
use sinew_model::{
    Band, Role, TaskId, Transition, header,
    stream::{AGENT_TASKS, TASK_LOG},
};
use sinew_testkit::{NatsCluster, wait};
use tokio::task::JoinSet;

use crate::{
    delegator::CHIEF,
    work::{ORG, ROLES},
};

/// How to call it.
pub(crate) const USAGE: &str = "\
usage: sinew-chaos failover [rounds]
  rounds            how often a node is lost, by SIGKILL and by a stop, each (5)";

/// Time between two delegations, and between two writes of the bare client.
const EVERY: Duration = Duration::from_millis(20);

/// How long both write before a node is lost, and after each of them goes on.
const CALM: Duration = Duration::from_secs(2);

/// How long a round may take, far beyond any election that was seen.
const ROUND: Duration = Duration::from_secs(60);

/// When one kind of writer got an answer that its message is stored.
#[derive(Clone, Debug, Default)]
struct Answers(Arc<Mutex<Marks>>);

#[derive(Debug, Default)]
struct Marks {
    /// When it began.
    at: Vec<tokio::time::Instant>,
    /// What callers were told instead.
    errors: Vec<String>,
}

impl Answers {
    fn note(&self, outcome: Result<(), String>) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => marks.at.push(clock::instant()),
            Err(error) => marks.errors.push(error),
        }
    }

    /// The longest time without an answer that had not ended by `from`.
    fn longest_gap(&self, from: tokio::time::Instant) -> Duration {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = marks.at.iter().zip(marks.at.iter().skip(1));
        let gaps = pairs.filter(|(_, end)| **end > from).map(|(start, end)| *end - *start);
        gaps.max().unwrap_or_default()
    }

    /// Whether answers have come for a while since the silence after `from`.
    fn is_flowing(&self, from: tokio::time::Instant) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = clock::instant() - CALM;
        let since = marks.at.iter().filter(|at| **at > from.max(recent)).count();
        since > 50
    }

    fn errors(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).errors.clone()
    }
}

/// How a node is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// SIGKILL.
    Kill,
    /// SIGTERM, as at a planned restart.
    Stop,
}

/// How long both stood still in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    loss: Loss,
    bare: Duration,
    sinew: Duration,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: Vec<Round>,
    /// What those who delegate were told, other than that it is done.
    errors: Vec<String>,
    delegated: usize,
}

/// Loses the node that leads, so many times in each way.
///
/// # Errors
/// When a round could not be made.
pub(crate) async fn run(words: &[String]) -> anyhow::Result<Report> {
    let rounds: usize = match words {
        [] => 5,
        [rounds] => rounds.parse().context(USAGE)?,
        _ => bail!(USAGE),
    };
    let cluster =
        tokio::task::spawn_blocking(|| NatsCluster::builder().size(3).sync_always(true).start())
            .await?;
    let cluster = Arc::new(cluster);
    let mut report = Report { rounds: Vec::new(), errors: Vec::new(), delegated: 0 };
    for number in 0..rounds {
        for loss in [Loss::Kill, Loss::Stop] {
            round(&cluster, (number, loss), &mut report).await?;
        }
    }
    Ok(report)
}

async fn round(
    cluster: &Arc<NatsCluster>,
    (number, loss): (usize, Loss),
    report: &mut Report,
) -> anyhow::Result<()> {
    let urls = cluster.urls().join(",");
    let bus = Bus::connect(Config::new(urls.clone(), ORG.parse()?)).await?;
    for stream in [AGENT_TASKS, TASK_LOG] {
        Topology::standard(&bus).ensure_stream(&bus, stream).await?;
    }
    let plain = async_nats::ConnectOptions::new().connect(urls.split(',').collect::<Vec<_>>());
    let plain = jetstream::new(plain.await?);
    let (bare, sinew) = (Answers::default(), Answers::default());
    let stop = CancellationToken::new();
    let writing = {
        let run = format!("{number}{}", if matches!(loss, Loss::Kill) { "k" } else { "s" });
        let client = Client::new(bus, CHIEF.parse()?);
        let delegating = delegate(client, run.clone(), sinew.clone(), stop.clone());
        let probing = probe(plain, run, bare.clone(), stop.clone());
        tokio::spawn(async move { tokio::join!(delegating, probing) })
    };
    clock::pause(CALM).await;
    let lost = clock::instant();
    let (nodes, strike) = (Arc::clone(cluster), loss);
    let at = tokio::task::spawn_blocking(move || strike_leader(&nodes, strike)).await??;
    wait::try_until("both to write again", ROUND, async || {
        let both = bare.is_flowing(lost) && sinew.is_flowing(lost) && lost.elapsed() > CALM * 2;
        if both { Ok(()) } else { Err("one of them stands still".to_owned()) }
    })
    .await
    .map_err(|late| anyhow::anyhow!("{late}"))?;
    stop.cancel();
    let (delegated, probed) = writing.await?;
    probed?;
    report.delegated += delegated?;
    report.rounds.push(Round {
        loss,
        bare: bare.longest_gap(lost),
        sinew: sinew.longest_gap(lost),
    });
    report.errors.extend(sinew.errors());
    let nodes = Arc::clone(cluster);
    tokio::task::spawn_blocking(move || {
        nodes.node(at).restart();
        nodes.wait_ready();
    })
    .await?;
    Ok(())
}

/// Loses the node that leads the queue, and says which it was.
fn strike_leader(cluster: &NatsCluster, loss: Loss) -> anyhow::Result<usize> {
    let at = cluster.stream_leader(AGENT_TASKS).context("nobody leads the queue")?;
    match loss {
        Loss::Kill => cluster.node(at).kill(),
        Loss::Stop => cluster.node(at).stop(),
    }
    Ok(at)
}

/// Delegates a task every [`EVERY`], whether or not those before are stored.
async fn delegate(
    client: Client,
    run: String,
    answers: Answers,
    stop: CancellationToken,
) -> anyhow::Result<usize> {
    let [role, _] = ROLES;
    let role: Role = role.parse()?;
    let mut open = JoinSet::new();
    let mut count = 0;
    while !stop.is_cancelled() {
        let id: TaskId = format!("F{run}-{count}").parse()?;
        let what = Delegation::new(role.clone(), "Go on").id(id);
        let (client, answers) = (client.clone(), answers.clone());
        open.spawn(async move {
            let done = client.delegate(what).await;
            answers.note(done.map(drop).map_err(|error| format!("{error:?}")));
        });
        count += 1;
        clock::pause(EVERY).await;
    }
    while open.join_next().await.transpose()?.is_some() {}
    Ok(count)
}

/// Writes the same two messages with the bare client, each try anew; what is lost in one is not
/// sent again, since the next comes at once.
async fn probe(
    plain: jetstream::Context,
    run: String,
    answers: Answers,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let subjects = sinew_model::Subjects::new("genbrain".parse()?, ORG.parse()?);
    let mut open = JoinSet::new();
    let mut count = 0_u64;
    while !stop.is_cancelled() {
        let id: TaskId = format!("B{run}-{count}").parse()?;
        let queue = subjects.tasks(&"probe".parse()?, Band::Normal).to_string();
        let log = subjects.entry(&id, Transition::Created).to_string();
        let (plain, answers) = (plain.clone(), answers.clone());
        open.spawn(async move {
            // What the bare client is told counts for nothing but the silence.
            if store(&plain, (AGENT_TASKS, queue), &id).await.is_ok()
                && store(&plain, (TASK_LOG, log), &id).await.is_ok()
            {
                answers.note(Ok(()));
            }
        });
        count += 1;
        clock::pause(EVERY).await;
    }
    open.abort_all();
    Ok(())
}

async fn store(
    plain: &jetstream::Context,
    (stream, subject): (&str, String),
    id: &TaskId,
) -> anyhow::Result<()> {
    let mut headers = HeaderMap::new();
    headers.insert(header::EXPECTED_STREAM, stream);
    headers.insert(header::MSG_ID, format!("{id}:1"));
    plain.publish_with_headers(subject, headers, "{}".into()).await?.await?;
    Ok(())
}

impl Report {
    /// Whether no caller saw more than a wait.
    pub(crate) fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        let rounds = self.rounds.iter().map(|round| {
            json!({
                "loss": format!("{:?}", round.loss).to_lowercase(),
                "bareMs": round.bare.as_millis(),
                "sinewMs": round.sinew.as_millis(),
            })
        });
        json!({
            "rounds": rounds.collect::<Vec<_>>(),
            "delegated": self.delegated,
            "errors": self.errors,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "3 servers, sync always; the longest time without an answer, in ms")?;
        for (name, wanted) in [("SIGKILL", true), ("planned stop", false)] {
            let of = self.rounds.iter().filter(|it| matches!(it.loss, Loss::Kill) == wanted);
            let pairs: Vec<(u128, u128)> =
                of.map(|it| (it.bare.as_millis(), it.sinew.as_millis())).collect();
            let bare = middle(pairs.iter().map(|pair| pair.0));
            let sinew = middle(pairs.iter().map(|pair| pair.1));
            writeln!(out, "{name}: bare / sinew {pairs:?}; medians {bare} / {sinew}")?;
        }
        write!(out, "{} delegations, {} told anything but done", self.delegated, self.errors.len())
    }
}

fn middle(all: impl Iterator<Item = u128>) -> u128 {
    let mut all: Vec<u128> = all.collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}
