//! `sinew task delegate`: gives a role something to do, and perhaps waits for what comes of it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use sinew_agent::{Client, DelegateError, Delegated, Delegation, client::new_id};
use sinew_bus::{Bus, clock};
use sinew_model::{
    Band, Role, TaskId,
    limits::EFFECTS_PER_TASK,
    task::{Change, End, Transition},
};

use super::{
    print::{describe, tell_way_on},
    words,
};
use crate::{
    args::Global,
    env,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text::{self, given_span, moment},
    view,
};

/// Give a role something to do.
///
/// Prints the id of the task. When it returns, the task is stored and will end visibly, whether an
/// agent of the role is there or not. Inside a program that `agent run` started, the task is a
/// child of the one that the program works on, and delegating it again in a later attempt changes
/// nothing.
///
/// With --wait it says on stderr how the task fares, prints its result on stdout, and ends with 1
/// if the task does not complete. Where the task asks a question, it says how to answer it, and goes
/// on waiting.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew task delegate cto \"Count the words\" --input '\"one two three\"' --wait
  sinew task delegate qa \"Check the links\" --input @links.json --deadline 2h
  sinew task delegate cto \"Build it\" --after t01983f --verifier qa
  git log | jq -Rs . | sinew task delegate marketing \"Sum this up\" --input -")]
pub(crate) struct Args {
    /// The role that is to do it
    #[arg(value_name = "ROLE")]
    to: Role,
    /// What it is, in one line
    title: String,
    /// What the agent needs: JSON, @FILE with JSON, or - for JSON on stdin
    #[arg(long, value_name = "JSON|@FILE|-")]
    input: Option<String>,
    /// An id of your own: the same work again under it changes nothing, other work is refused
    #[arg(long, value_name = "ID")]
    id: Option<TaskId>,
    /// Names this call among those of the task it is made for, so that a later attempt which
    /// makes its calls in another order still makes it once
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The running task whose child it is; set by itself inside a program of `agent run`
    #[arg(long, value_name = "ID")]
    parent: Option<TaskId>,
    /// When it is given up: a moment, or a span from now on as 2h; 7 days after it may begin if not
    /// said
    #[arg(long, value_name = "T")]
    deadline: Option<String>,
    /// Begin no earlier than so much later, as 90s
    #[arg(long, value_name = "SPAN", conflicts_with = "at")]
    delay: Option<String>,
    /// Begin no earlier than at this moment, as 2026-05-10T14:23:01Z
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Which tasks of the role come first: urgent, normal or low
    #[arg(long, value_name = "BAND", default_value = "normal")]
    priority: Band,
    /// Failed attempts after which it is given up; 3 if not said
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Begin only once this task has completed; may be said several times. Where one ends
    /// otherwise, the new task is dead at once
    #[arg(long, value_name = "TASK", value_delimiter = ',')]
    after: Vec<String>,
    /// Any end of the tasks of --after will do
    #[arg(long, requires = "after")]
    after_any: bool,
    /// The role that must accept the result before it is final; never the worker's own
    #[arg(long, value_name = "ROLE")]
    verifier: Option<Role>,
    /// The role that is asked where nobody answers or judges in time; who delegates if not said
    #[arg(long, value_name = "ROLE")]
    escalate_to: Option<Role>,
    /// Where the queue is full, try again for so long, as 5m, before it is refused
    #[arg(long, value_name = "SPAN", value_parser = given_span)]
    wait_for_room: Option<Duration>,
    /// Wait for its end, and print its result
    #[arg(long)]
    wait: bool,
}

/// On whose behalf it is delegated.
struct Acting {
    task: TaskId,
    attempt: u32,
    /// The key of the call.
    key: String,
}

/// Delegates.
///
/// # Errors
/// Whatever kept it from being delegated, or from being waited for.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let delegation = delegation(&args)?;
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let delegation = delegation.after(after(&args, &target, &bus).await?);
    let plain = Client::new(bus.clone(), target.role.clone());
    let done = match acting(&args, &plain).await? {
        Some(Acting { task, attempt, key }) => {
            let client = Client::acting(bus, target.role.clone(), task, attempt).await?;
            carry_out(&client, delegation.key(key), args.wait_for_room).await?
        }
        None => {
            // The id is known beforehand, so that an answer that got lost can be asked for again.
            let id = args.id.clone().unwrap_or_else(new_id);
            carry_out(&plain, delegation.id(id), args.wait_for_room).await?
        }
    };
    if args.wait {
        return wait(&plain, &done, out).await;
    }
    let Delegated { id, existed, .. } = &done;
    out.either(&json!({ "taskId": id, "role": args.to, "existed": existed }), id)?;
    if *existed && !out.is_json() {
        out.note("it had been delegated before; nothing was changed");
    }
    Ok(Code::Done)
}

async fn carry_out(
    client: &Client,
    what: Delegation,
    patience: Option<Duration>,
) -> Result<Delegated, DelegateError> {
    match patience {
        Some(patience) => Box::pin(client.delegate_when_room(what, patience)).await,
        None => client.delegate(what).await,
    }
}

fn delegation(args: &Args) -> anyhow::Result<Delegation> {
    let mut it = Delegation::new(args.to.clone(), &args.title).priority(args.priority);
    if let Some(input) = &args.input {
        it = it.input(words::json("the input", input)?);
    }
    if let Some(id) = &args.id {
        it = it.id(id.clone());
    }
    let due = args.deadline.as_deref().map(moment).transpose()?;
    if let Some(due) = due {
        it = it.deadline(due);
    }
    if let Some(text) = args.delay.as_ref().or(args.at.as_ref()) {
        let begin = moment(text)?;
        if let Some(due) = due.filter(|due| begin >= *due) {
            return Err(Fault::usage(format!(
                "it would begin at {begin}, and is given up at {due}"
            ))
            .hint("give it a later --deadline")
            .into());
        }
        it = it.not_before(begin);
    }
    if let Some(attempts) = args.max_attempts {
        it = it.max_attempts(attempts);
    }
    if args.after_any {
        it = it.after_any();
    }
    if let Some(role) = &args.verifier {
        it = it.verifier(role.clone());
    }
    if let Some(role) = &args.escalate_to {
        it = it.escalate_to(role.clone());
    }
    Ok(it)
}

/// The tasks that it comes after, of which a person may say the beginnings.
async fn after(args: &Args, target: &Target, bus: &Bus) -> anyhow::Result<Vec<TaskId>> {
    let mut tasks = Vec::with_capacity(args.after.len());
    for text in &args.after {
        tasks.push(view::resolve(target, bus, text).await?);
    }
    Ok(tasks)
}

/// The task on whose behalf the command acts, if it does.
async fn acting(args: &Args, client: &Client) -> anyhow::Result<Option<Acting>> {
    let own: Option<TaskId> = env::parsed(env::TASK_ID)?;
    if let Some(parent) = args.parent.as_ref().filter(|parent| own.as_ref() != Some(parent)) {
        let Some(state) = client.state(parent).await? else {
            return Err(Fault::not_found(format!("there is no task {parent}")).into());
        };
        let Some(start) = state.running() else {
            let text = format!("{parent} is not running, so it can have no new children");
            return Err(Fault::new(Code::Refused, text).into());
        };
        let key = args.key.clone().unwrap_or_else(clock::unique);
        return Ok(Some(Acting { task: parent.clone(), attempt: start.attempt, key }));
    }
    let Some(task) = own else { return Ok(None) };
    let attempt = env::parsed(env::ATTEMPT)?.ok_or_else(|| {
        Fault::usage(format!("{} is set, and {} is not", env::TASK_ID, env::ATTEMPT))
    })?;
    let key = match &args.key {
        Some(key) => key.clone(),
        None => ordinal("delegate")?,
    };
    Ok(Some(Acting { task, attempt, key }))
}

/// The number of this call among those of its kind that the attempt makes, over all processes of
/// it: each call makes the next file of the attempt's own folder.
///
/// # Errors
/// When there is no such folder, or it is full.
pub(crate) fn ordinal(kind: &str) -> Result<String, Fault> {
    let folder: PathBuf = env::path(env::CALLS).ok_or_else(|| {
        Fault::usage(format!("{} is not set, so calls can't be numbered", env::CALLS))
            .hint("name the call with --key")
    })?;
    number(&folder, kind).map(|number| format!("#{number}"))
}

fn number(folder: &Path, kind: &str) -> Result<usize, Fault> {
    for number in 0..EFFECTS_PER_TASK {
        let path = folder.join(format!("{kind}-{number}"));
        match std::fs::File::create_new(&path) {
            Ok(_) => return Ok(number),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Fault::usage(format!("{}: {error}", path.display()))),
        }
    }
    Err(Fault::new(Code::Refused, format!("more than {EFFECTS_PER_TASK} calls of one attempt")))
}

/// Follows the task to its end, and prints what came of it.
async fn wait(client: &Client, done: &Delegated, out: Out) -> anyhow::Result<Code> {
    let mut follow = client.follow(&done.id).await?;
    out.note(format_args!("task {}", done.id));
    let mut begun = None;
    loop {
        if let Some(entry) = follow.next().await? {
            let since = *begun.get_or_insert(entry.at);
            let span = text::span(entry.at.since(since));
            let word = entry.change.transition();
            if !matches!(word, Transition::Created) {
                let what = describe(&entry.change);
                out.note(format_args!("{span:>7}  {:<9}  {what}", word.word()));
            }
            if let Some(state) = follow.state() {
                tell_way_on(client, &done.id, state, out).await?;
            }
            if !matches!(entry.change, Change::Created { .. }) && !word.is_end() {
                continue;
            }
        }
        if let Some(state) = follow.state()
            && let Some(end) = state.end()
        {
            return ended(&done.id, end, state.attempts, out);
        }
    }
}

/// Prints how a task ended.
///
/// # Errors
/// When nothing can be printed.
pub(super) fn ended(id: &TaskId, end: &End, attempts: u32, out: Out) -> anyhow::Result<Code> {
    if out.is_json() {
        let mut document = serde_json::to_value(end)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("taskId".to_owned(), id.as_str().into());
            fields.insert("attempts".to_owned(), attempts.into());
        }
        out.document(&document)?;
    }
    match end {
        End::Completed { result, .. } => {
            if !out.is_json() {
                out.line(text::result(result))?;
            }
            Ok(Code::Done)
        }
        End::Failed { .. } | End::Cancelled { .. } | End::Dead { .. } => {
            if !out.is_json() {
                out.note(format_args!("task {id} did not complete: `sinew task show {id}`"));
            }
            Ok(Code::Failed)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_numbered_over_all_processes_of_an_attempt() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(number(folder.path(), "delegate").unwrap(), 0);
        assert_eq!(number(folder.path(), "delegate").unwrap(), 1);
        assert_eq!(number(folder.path(), "event").unwrap(), 0);
        assert!(number(&folder.path().join("none"), "delegate").is_err());
    }
}
