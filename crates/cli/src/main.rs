//! The `sinew` command. Here is only the way in: read the arguments, run one verb, and turn what
//! came of it into an exit code. Each verb is a file in [`cmd`]; [`exit`] has the table of codes,
//! [`mod@env`] that of the environment.

mod args;
mod cmd;
mod env;
mod exit;
mod output;
mod secure;
mod signals;
mod target;
mod text;
mod view;

use std::process::ExitCode;

use clap::Parser as _;

use args::Cli;
use exit::Code;
use output::Out;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    // Before any thread is started: this process is to become another program.
    if words.next().is_some_and(|verb| verb == cmd::GUARD) {
        let error = sinew_server::engine::exec_guarded(words);
        return exit::report(Out::text(), &error.into()).into();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit::of_clap(&error).into(),
    };
    let out = Out::new(cli.global.json);
    run(cli, out).unwrap_or_else(|error| exit::report(out, &error)).into()
}

fn run(cli: Cli, out: Out) -> anyhow::Result<Code> {
    output::log_to_stderr(&cli.global, &cli.command)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(cmd::run(cli, out));
    // What still runs is a read of a terminal or a disk that nobody waits for any more.
    runtime.shutdown_background();
    outcome
}
