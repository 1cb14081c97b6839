//! Breaks what Sinew runs on, and proves that no task is lost, none ends twice, and every effect
//! is there once. `make chaos` runs it; it is published to nobody.
//!
//! Read it in this order: [`plan`] makes the work and the faults of a run from its seed; [`ledger`]
//! keeps what was asked of Sinew beside it; [`observe`] reads what the streams hold in the end, and
//! [`checker`] compares the three, purely. [`run`] is what happens in between: [`world`] holds the
//! [`backbone`] (whose servers must be [`alike`] before they are struck again) and the [`actor`]s
//! (processes that do [`work`]), and strikes them, while each [`delegator`] delegates. [`recovery`]
//! and [`report`] tell how it went. [`failover`] is a measurement of its own.

mod actor;
mod alike;
mod backbone;
mod checker;
mod delegator;
mod failover;
mod ledger;
mod observe;
mod options;
mod plan;
mod recovery;
mod report;
mod run;
mod work;
mod world;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use options::Options;

/// Something is wrong with Sinew.
const WRONG: u8 = 1;

/// The run could not be made, which says nothing about Sinew.
const NO_RUN: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // The run tells by itself how it goes; its processes log into files.
    let obeys = words.first().is_some_and(|verb| verb == "obey");
    let filter = EnvFilter::new(if obeys { "info,async_nats=warn" } else { "off" });
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(filter)
        .init();
    match act(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => WRONG.into(),
        Err(error) => {
            report::say(format_args!("{error:?}"));
            NO_RUN.into()
        }
    }
}

/// Whether nothing is wrong.
fn act(words: &[String]) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let good = match words {
        [verb, orders] if verb == "obey" => {
            runtime.block_on(work::obey(serde_json::from_str(orders)?))?;
            true
        }
        [help] if help == "--help" || help == "-h" => {
            writeln!(std::io::stdout(), "{}\n{}", options::USAGE, failover::USAGE)?;
            true
        }
        [verb, words @ ..] if verb == "failover" => {
            let report = runtime.block_on(failover::run(words))?;
            writeln!(std::io::stdout(), "{report}\n{}", report.json())?;
            report.is_good()
        }
        words => runtime.block_on(chaos(words))?,
    };
    // What still runs is the read of a standard input that nobody waits for any more.
    runtime.shutdown_background();
    Ok(good)
}

async fn chaos(words: &[String]) -> anyhow::Result<bool> {
    let options = Options::parse(words).context(options::USAGE)?;
    let json = options.json.clone();
    let report = run::run(options).await?;
    if let Some(path) = json {
        run::write_json(&report, &path)?;
    }
    writeln!(std::io::stdout(), "{report}")?;
    Ok(report.is_good())
}
