//! `sinew agent run`: takes the tasks of a role and starts a program for each.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use sinew_agent::{Program, Runtime, Settings};
use sinew_model::{InstanceId, grant::User, limits, retry::Backoff};

use super::card::CardArgs;
use crate::{
    args::Global,
    cmd::{GUARD, up},
    env,
    exit::{Code, Fault},
    output::Out,
    signals,
    target::{self, Target},
    text::{given_span, number_to},
};

/// Make any program an agent.
///
/// It is started once for each task of a role. The program gets the task as one JSON document on stdin. A line that it prints on stdout which
/// is a JSON object with the one key `progress`, `event`, `result` or `blocked` is that; all other
/// lines are the text of its result. Exit code 0 completes the task, 75 asks for another try
/// later, and anything else fails the attempt, with the end of stderr as the cause. When the task
/// is cancelled or the agent is stopped, the program's process group gets SIGTERM, and SIGKILL 5
/// seconds later.
///
/// In its environment are SINEW_TASK_ID, SINEW_ORG, SINEW_ROLE, SINEW_ATTEMPT and SINEW_FENCE,
/// and what a `sinew` command needs to act for its task: what it delegates is a child of the task
/// and happens once, however often the task is tried.
///
/// One Ctrl-C takes nothing more and lets running programs end, a second one ends at once.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew agent run --role cto -- wc -w
  sinew agent run --role cto --instance cto-0 --concurrency 2 -- python3 agent.py
  sinew agent run --role writer -- sh -c 'claude -p \"$(cat)\"'")]
pub(crate) struct Args {
    /// A name that outlives a restart: started again under it, the agent takes back at once what
    /// it held; never two at a time [env: SINEW_INSTANCE]
    #[arg(long, value_name = "NAME")]
    instance: Option<InstanceId>,
    /// Programs that run at a time
    #[arg(long, value_name = "N", default_value_t = limits::CONCURRENCY, value_parser = number_to::<{ limits::CONCURRENCY_MAX }>)]
    concurrency: usize,
    /// How long running programs may go on after the first Ctrl-C, as 20s
    #[arg(long, value_name = "SPAN", default_value = "20s", value_parser = given_span)]
    drain: Duration,
    /// How long running programs may go on after an order to drain, as 1h; as --drain if not said
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    finish: Option<Duration>,
    /// The wait after a first failed attempt, as 30s; it doubles with each further one
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = given_span)]
    retry_first: Duration,
    /// The longest wait after a failed attempt
    #[arg(long, value_name = "SPAN", default_value = "10m", value_parser = given_span)]
    retry_longest: Duration,
    /// A TOML file with values for the streams, as `streams.AGENT_TASKS.max_msgs = 50000`
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
    #[command(flatten)]
    card: CardArgs,
    /// The program and its arguments, after --
    #[arg(last = true, required = true, value_name = "CMD")]
    cmd: Vec<OsString>,
}

/// Hosts the agent until it is told to stop.
///
/// # Errors
/// What kept it from starting or from going on.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let role = target::role(global)?.ok_or_else(|| {
        Fault::usage("an agent needs a role").hint("name it: sinew agent run --role cto -- CMD")
    })?;
    let instance = match args.instance.clone() {
        Some(instance) => Some(instance),
        None => env::parsed(env::INSTANCE)?,
    };
    let mut target = Target::find(global)?;
    target.as_user(&User::Agent(role.clone()))?;
    let program = program(&args.cmd, &target, instance.as_ref())?;
    let program = global.secure.hand_on(&target.config, program)?;
    let stop = signals::listen()?;
    let bus = target.connect().await?;
    let mut settings = Settings::new(role.clone());
    settings.instance.clone_from(&instance);
    settings.concurrency = args.concurrency;
    settings.drain = args.drain;
    settings.finish = args.finish;
    settings.card = args.card.description()?;
    settings.backoff =
        Backoff { first: args.retry_first, longest: args.retry_longest.max(args.retry_first) };
    settings.topology = Some(up::topology(&bus, args.topology.as_deref())?);
    if !out.is_json() {
        let name = instance.map_or_else(|| "this agent".to_owned(), |name| name.to_string());
        out.note(format_args!("{name} takes the tasks of {role}; Ctrl-C ends it in order"));
    }
    let tally = tokio::select! {
        tally = Runtime::new(bus, settings).run(program, stop.gently.clone()) => tally?,
        () = stop.now.cancelled() => return Ok(Code::Interrupted),
    };
    if out.is_json() {
        out.document(&tally)?;
    } else {
        let (started, ended, released) = (tally.started, tally.ended, tally.released);
        let how = if tally.drained { "drained, as it was told to" } else { "ended" };
        out.note(format_args!(
            "{role} has {how}: {started} attempts begun, {ended} tasks ended, {released} given back"
        ));
        if tally.refused.total() > 0 {
            let count = tally.refused.total();
            out.note(format_args!("{count} messages were refused; `sinew evidence` shows them"));
        }
    }
    Ok(Code::Done)
}

/// The program with its environment. It is started through the guard, so that it does not go on
/// alone when this process is killed.
fn program(
    cmd: &[OsString],
    target: &Target,
    instance: Option<&InstanceId>,
) -> anyhow::Result<Program> {
    let (name, rest) = cmd.split_first().ok_or_else(|| Fault::usage("there is no program"))?;
    let this = std::env::current_exe().context("this program does not know where it is")?;
    let found = find(name)?;
    let mut args = vec![OsString::from(GUARD), std::process::id().to_string().into()];
    args.push(found.into());
    args.extend(rest.iter().cloned());
    let mut program = Program::new(&this, args)
        .env(env::URL, &target.config.url)
        .env("PATH", search_path(&this)?);
    // A path leads to the login; no password is ever in an environment.
    if let Some((path, _)) = target.own_context() {
        program = program.env(env::CONTEXT, path);
    }
    if let sinew_agent::Auth::Credentials(creds) = &target.config.auth {
        let creds = std::path::absolute(creds).context("the folder of the credentials")?;
        program = program.env(env::CREDS, creds);
    }
    if let Some(instance) = instance {
        program = program.env(env::INSTANCE, instance.as_str());
    }
    Ok(program)
}

/// Where the program looks for others: this `sinew` is the last that it finds.
fn search_path(this: &Path) -> anyhow::Result<OsString> {
    let given = env::search_path().unwrap_or_default();
    let own = this.parent().map(Path::to_owned);
    Ok(std::env::join_paths(std::env::split_paths(&given).chain(own))?)
}

/// Finds the program as a shell would, so that a slip of the pen is known before the first task.
fn find(name: &OsStr) -> Result<PathBuf, Fault> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    let path = Path::new(name);
    if name.as_encoded_bytes().contains(&b'/') {
        if runs(path) {
            return Ok(path.to_owned());
        }
    } else if let Some(path) = std::env::split_paths(&env::search_path().unwrap_or_default())
        .map(|folder| folder.join(path))
        .find(|path| runs(path))
    {
        return Ok(path);
    }
    Err(Fault::not_found(format!("there is no program {}", name.display()))
        .hint("name one that is on PATH, or a path to one that may be executed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_a_shell_finds_it() {
        assert!(find(OsStr::new("sh")).unwrap().is_absolute());
        assert_eq!(find(OsStr::new("/bin/sh")).unwrap(), PathBuf::from("/bin/sh"));
        for name in ["no-such-program", "/no/such", "/etc/passwd", "/bin"] {
            assert!(find(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
