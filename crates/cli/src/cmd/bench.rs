//! `sinew bench`: figures, each side by side with a bare loop of the NATS client that writes the
//! same messages to the same streams in the same run.
//!
//! It runs a nats-server of its own on a throw-away folder, one for each durability mode, so it
//! neither needs a backbone nor touches one. The ways to be compared take turns, round by round,
//! and the medians over the rounds are reported: what slows the machine down for a while slows all
//! of them down.
//!
//! Read it in this order: [`place`] is the server under test; [`records`] are the messages that
//! both sides write; [`latency`], [`mail`], [`tasks`] and [`publish`] are the parts within one
//! process, and [`processes`] the one with many processes; [`recovery`] kills; [`orgs`] is about
//! many orgs, and is measured only where it is asked for; [`sample`] is what one round gives;
//! [`report`] is what is printed.

mod bare;
mod latency;
mod machine;
mod mail;
mod orgs;
mod place;
mod processes;
mod publish;
mod records;
mod recovery;
mod report;
mod sample;
mod signed;
mod tasks;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::Result;
use clap::ValueEnum;
use sinew_server::engine::Durability;

use report::Report;

use place::Place;

use crate::{exit::Code, output::Out};

/// Measure, each figure side by side with a bare NATS client.
///
/// It runs a nats-server of its own on a throw-away folder and needs no backbone. The ways to be
/// compared take turns; the medians over the rounds are printed, each with its durability mode.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew bench --quick
  sinew bench --only tasks --durability always --json")]
pub(crate) struct Args {
    /// Measure shortly (a minute or two): the figures show the order of magnitude only.
    #[arg(long)]
    quick: bool,
    /// Rounds of which the medians are reported [default: 5; 3 with --quick].
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: Option<u8>,
    /// Measure this part only; may be repeated.
    #[arg(long, value_name = "PART")]
    only: Vec<Part>,
    /// Measure with this durability only; may be repeated.
    #[arg(long, value_name = "MODE")]
    durability: Vec<Mode>,
    /// Where the throw-away folders are made [default: the system's folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Be one of many processes, against the server of this context.
    #[arg(long, hide = true, value_name = "CONTEXT", requires = "trade")]
    worker: Option<PathBuf>,
    /// It publishes one by one, in this way.
    #[arg(long, hide = true, value_name = "WAY", group = "trade")]
    worker_way: Option<processes::Way>,
    /// It works, under this name.
    #[arg(long, hide = true, value_name = "INSTANCE", group = "trade")]
    worker_as: Option<String>,
}

/// A part of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Publish to ack, and delegate to start.
    Latency,
    /// Message to delivery.
    Mail,
    /// Whole task lives.
    Tasks,
    /// Many callers of one process.
    Publish,
    /// Many processes.
    Processes,
    /// Many orgs: only where it is named, and then nothing else.
    Orgs,
    /// Whole task lives with and without signatures; only where it is asked for.
    Signed,
    /// A worker that is killed, until its task runs again; only where it is asked for.
    Recovery,
}

/// What a stored message survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// What is stored survives a power cut.
    Always,
    /// What is stored survives the death of the server.
    Interval,
}

/// The nats-server to measure, and how it is kept from being left behind.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// The program.
    pub(crate) binary: PathBuf,
    /// See [`sinew_server::engine::Config::guard`].
    pub(crate) guard: Option<Vec<OsString>>,
}

/// How long everything takes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rounds: usize,
    /// Of one round where throughput is measured.
    span: Duration,
    /// Operations in one round where latency is measured.
    operations: usize,
    /// How many processes at a time.
    processes: &'static [usize],
}

impl Args {
    fn pace(&self) -> Pace {
        let (rounds, span, operations, processes): (_, _, _, &[usize]) = if self.quick {
            (3, Duration::from_millis(200), 300, &[1, 10])
        } else {
            (5, Duration::from_secs(2), 2_000, &[1, 10, 100])
        };
        let rounds = self.rounds.map_or(rounds, usize::from);
        Pace { rounds, span, operations, processes }
    }

    fn load(&self) -> orgs::Load {
        let (orgs, queued, operations) =
            if self.quick { (50, 500, 100) } else { (1_000, 10_000, 500) };
        let rounds = self.pace().rounds;
        orgs::Load { orgs, queued, rounds, operations }
    }

    fn modes(&self) -> Vec<Durability> {
        let all = [(Mode::Always, Durability::Always), (Mode::Interval, Durability::Interval)];
        let is_asked = |mode: &Mode| self.durability.is_empty() || self.durability.contains(mode);
        all.iter().filter(|(mode, _)| is_asked(mode)).map(|(_, durability)| *durability).collect()
    }

    fn wants(&self, part: Part) -> bool {
        let by_itself = !matches!(part, Part::Signed | Part::Recovery);
        (self.only.is_empty() && by_itself) || self.only.contains(&part)
    }

    /// Whether this process is one of the many of another one that measures.
    fn is_worker(&self) -> bool {
        self.worker.is_some()
    }
}

/// Measures on a server of its own, and prints the figures.
///
/// # Errors
/// When there is no nats-server, or something went wrong while measuring.
pub(crate) async fn command(args: &Args, out: Out) -> Result<Code> {
    if args.is_worker() {
        work(args).await?;
        return Ok(Code::Done);
    }
    let (binary, guard) = super::up::nats_server(None).await?;
    if args.only.contains(&Part::Orgs) {
        out.note("measuring orgs");
        let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
        let server = Server { binary, guard: Some(guard) };
        let report = orgs::measure(&folder, &server, args.load()).await?;
        out.either(&report, report.to_string())?;
        return Ok(Code::Done);
    }
    let told = |what: &str| out.note(format!("measuring {what}"));
    let report = run(args, &Server { binary, guard: Some(guard) }, told).await?;
    out.either(&report, report.to_string().trim_end())?;
    Ok(Code::Done)
}

/// Measures. Says on `told` what it is about to do.
async fn run(args: &Args, server: &Server, told: impl Fn(&str)) -> Result<Report> {
    let pace = args.pace();
    let folder = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut report = Report::new(machine::look(&folder)?, pace.rounds);
    for durability in args.modes() {
        let mode = report::mode(durability);
        let place = Place::open(&folder, server, durability).await?;
        if args.wants(Part::Latency) {
            told(&format!("{mode}: latency"));
            report.add(durability, latency::measure(&place, pace).await?);
        }
        if args.wants(Part::Mail) {
            told(&format!("{mode}: messages"));
            report.add(durability, mail::measure(&place, pace).await?);
        }
        if args.wants(Part::Tasks) {
            told(&format!("{mode}: task lives"));
            report.add(durability, tasks::measure(&place, pace).await?);
        }
        if args.wants(Part::Publish) {
            told(&format!("{mode}: callers of one process"));
            report.add(durability, publish::measure(&place, pace).await?);
        }
        if args.wants(Part::Processes) {
            told(&format!("{mode}: many processes"));
            report.add(durability, processes::measure(&place, pace).await?);
        }
        if args.wants(Part::Signed) {
            told(&format!("{mode}: signatures"));
            report.add(durability, signed::measure(&place, pace).await?);
        }
        if args.wants(Part::Recovery) {
            told(&format!("{mode}: kills"));
            report.add(durability, recovery::measure(&place, pace).await?);
        }
        place.close().await;
    }
    Ok(report)
}

/// Is one of the many processes, until the one that measures says that it is enough.
async fn work(args: &Args) -> Result<()> {
    match (&args.worker, args.worker_way, &args.worker_as) {
        (Some(context), _, Some(name)) => recovery::work(context, name).await,
        (Some(context), Some(way), None) => processes::work(context, way).await,
        // The command line does not let this through.
        (_, _, _) => Ok(()),
    }
}
