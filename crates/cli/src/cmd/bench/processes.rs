//! Many processes, one for each agent, each publishing one message after the other: by the bare
//! client, by the bus straight into the stream, and by the bus through the commit service, which
//! here, as in a running backbone, is in a process of its own (this one).
//!
//! The processes are this program again. They say when they are ready, begin all at once when they
//! are told to, and say how many they published when they are told to stop.

use std::{io::Write as _, path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use futures::future::try_join_all;
use sinew_agent::{CancellationToken, model::stream::ORG_EVENTS};
use sinew_bus::{Bus, CommitService, clock};
use sinew_server::Context;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{
    Pace,
    latency::{publish, publish_bare},
    place::{Place, Side},
    report::{Figure, Line},
    sample::{Rounds, Sample, figure_of, take_turns},
};

/// How long the processes may take to get ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Way {
    /// By the bare client.
    Bare,
    /// By the bus, straight into the stream.
    Direct,
    /// By the bus, through the commit service.
    Service,
}

const WAYS: [Way; 3] = [Way::Bare, Way::Direct, Way::Service];

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    let stop = CancellationToken::new();
    let mut config = place.context().server_config();
    "bench committer".clone_into(&mut config.name);
    let committer = Bus::connect(config).await?;
    let service = CommitService::bind(&committer, &[ORG_EVENTS]).await?;
    let serving = tokio::spawn(service.run(stop.clone()));
    let mut figures = Vec::new();
    let mut alone: Option<Rounds> = None;
    for processes in pace.processes {
        let rounds = take_turns(pace.rounds, &WAYS, async |way| {
            place.clear().await?;
            Ok(vec![round(place, way, (*processes, pace.span)).await?])
        });
        let rounds = rounds.await?;
        let of = |way| figure_of(&rounds, way, 0);
        let (bare, direct, service) = (of(0)?, of(1)?, of(2)?);
        let single = alone.get_or_insert_with(|| bare.clone());
        figures.push(
            Figure::rate(format!("{processes} processes, each one by one, 512 B"))
                .line(
                    Line::new("Sinew, commit service", service)
                        .against("Sinew, direct", direct)
                        .against("bare", bare)
                        .against("bare, one process", single),
                )
                .line(Line::new("Sinew, direct", direct).against("bare", bare))
                .line(Line::new("bare", bare)),
        );
    }
    stop.cancel();
    serving.await?;
    Ok(figures)
}

async fn round(place: &Place, way: Way, (processes, span): (usize, Duration)) -> Result<Sample> {
    let way = way.to_possible_value().context("a way without a name")?;
    let arguments = ["--worker-way", way.get_name()];
    let started = (0..processes).map(|_| Process::start(place, &arguments));
    let mut all = try_join_all(started).await?;
    try_join_all(all.iter_mut().map(|it| it.say("go"))).await?;
    let since = clock::instant();
    clock::pause(span).await;
    try_join_all(all.iter_mut().map(|it| it.say("stop"))).await?;
    let counts = try_join_all(all.iter_mut().map(Process::count)).await?;
    let elapsed = since.elapsed();
    Ok(Sample::rate(counts.into_iter().sum(), elapsed))
}

/// One of the many, as the one that measures sees it.
pub(super) struct Process {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Starts it, and waits until it is ready.
    pub(super) async fn start(place: &Place, arguments: &[&str]) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own file is not known")?;
        let mut child = Command::new(program)
            .arg("bench")
            .arg("--worker")
            .arg(place.context_path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("a process does not start")?;
        let to = child.stdin.take().context("a process without stdin")?;
        let from = BufReader::new(child.stdout.take().context("a process without stdout")?);
        let mut process = Self { child, to, from };
        process.expect("ready").await?;
        Ok(process)
    }

    /// Waits for its next word, which is to be this one.
    pub(super) async fn expect(&mut self, word: &str) -> Result<()> {
        let said = self.line().await?;
        if said != word {
            bail!("a process said {said:?}, and was to say {word:?}");
        }
        Ok(())
    }

    /// Ends it by SIGKILL.
    pub(super) async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    pub(super) async fn say(&mut self, word: &str) -> Result<()> {
        Ok(self.to.write_all(format!("{word}\n").as_bytes()).await?)
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        tokio::time::timeout(PATIENCE, self.from.read_line(&mut line)).await??;
        match line.trim() {
            "" => bail!("a process ended before its time"),
            word => Ok(word.to_owned()),
        }
    }

    /// How many it published.
    async fn count(&mut self) -> Result<usize> {
        let count = self.line().await?.parse().context("a process does not count")?;
        self.child.wait().await?;
        Ok(count)
    }
}

/// The process's own half.
pub(super) async fn work(context: &Path, way: Way) -> Result<()> {
    let context = Context::load(context)?;
    let mut side = Side::connect(&context, "process").await?;
    if way == Way::Service {
        let mut config = context.server_config();
        config.commit_service = true;
        side.bus = Bus::connect(config).await?;
    }
    let once = async || match way {
        Way::Bare => publish_bare(&side).await,
        Way::Direct | Way::Service => publish(&side).await,
    };
    once().await?;
    if way == Way::Service && side.bus.publish_stats().by_service == 0 {
        bail!("the commit service did not take the first message");
    }
    say("ready")?;
    listen().await?;
    let stop = listen();
    tokio::pin!(stop);
    let mut count = 0_usize;
    loop {
        tokio::select! {
            biased;
            stopped = &mut stop => {
                stopped?;
                break;
            }
            published = once() => published?,
        }
        count += 1;
    }
    say(&count.to_string())
}

/// Tells the process that measures.
pub(super) fn say(word: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{word}")?)
}

/// Waits for its next word.
pub(super) async fn listen() -> Result<()> {
    let read = || std::io::stdin().read_line(&mut String::new());
    tokio::task::spawn_blocking(read).await??;
    Ok(())
}
