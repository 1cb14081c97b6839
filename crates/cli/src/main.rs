//! The sinew binary.

mod cmd;

use std::{ffi::OsString, io::Write as _, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use sinew_server::engine;

use cmd::bench;

/// The hidden verb by which nats-server is tied to this process.
const GUARD: &str = "engine-guard";

/// The connective tissue of a company of AI agents.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// One JSON document on stdout.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Figures, side by side with a bare NATS client.
    Bench(bench::Args),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|verb| verb == GUARD) {
        return failed(&engine::exec_guarded(args).into());
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Where stderr is closed there is nobody to tell, and the exit code still says it.
fn failed(error: &anyhow::Error) -> ExitCode {
    writeln!(std::io::stderr(), "error: {error:#}").ok();
    ExitCode::FAILURE
}

#[tokio::main]
async fn run(Cli { json, command: Command::Bench(args) }: Cli) -> Result<()> {
    if args.is_worker() {
        return bench::work(&args).await;
    }
    let program = std::env::current_exe()?;
    let near = [program.clone(), std::env::current_dir()?];
    let env = |name| std::env::var_os(name);
    let binary = engine::find(None, env("SINEW_NATS_SERVER"), env("PATH"), &near).await?;
    let guard = Some(vec![program.into_os_string(), OsString::from(GUARD)]);
    let told = |what: &str| {
        writeln!(std::io::stderr(), "measuring {what}").ok();
    };
    let report = bench::run(&args, &bench::Server { binary, guard }, told).await?;
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(())
}
