//! Any program as an agent: started once for each attempt, with the task on its stdin. What it
//! prints is its result; how it exits says what becomes of the attempt.
//!
//! | exit | what becomes of the attempt |
//! |---|---|
//! | 0 | the task is completed; or it is blocked or waits, where the program said so last |
//! | 75 | the task is postponed: another try later, not counted as a failure |
//! | anything else, or a signal | the attempt failed; the last 8 KiB of stderr are the cause |

mod document;
mod group;
mod lines;
mod output;

use std::{
    collections::BTreeSet,
    ffi::OsString,
    future::Future,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use sinew_bus::clock;
use sinew_model::{
    TaskId,
    limits::{CAUSE_BYTES, PROGRAM_LEFTOVERS, TERM_GRACE, tail},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::{ChildStdin, Command},
};

use crate::{
    context::Context,
    event::Emission,
    handler::{Failure, Handler},
    runtime::chain,
};
use group::Group;
use lines::Lines;
use output::{Left, Line, Output};

/// Read at a time from a pipe, in bytes.
const READ_BYTES: usize = 16_384;

/// The exit code that asks for another try later (`EX_TEMPFAIL` of sysexits).
pub const POSTPONE: i32 = 75;

/// A program that works on tasks.
///
/// It gets the task as one JSON document on stdin, and in its environment `SINEW_TASK_ID`,
/// `SINEW_ORG`, `SINEW_ROLE`, `SINEW_ATTEMPT`, `SINEW_FENCE` and `SINEW_CALLS` (a folder of the
/// attempt's own), besides what [`Program::env`] adds. A line of its stdout that is a JSON object
/// with the one key `progress`, `event`, `result`, `blocked` or `waiting` is that, where the last of
/// the latter three counts; all other lines are the text of its result. When the attempt shall end, its process group gets SIGTERM, and SIGKILL 5
/// seconds later.
#[derive(Clone, Debug)]
#[must_use]
pub struct Program {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    grace: Duration,
}

impl Program {
    /// The program and its arguments.
    pub fn new(program: impl Into<OsString>, args: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().collect(),
            env: Vec::new(),
            grace: TERM_GRACE,
        }
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// How long it has between SIGTERM and SIGKILL; at most 5 seconds, the default.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace.min(TERM_GRACE);
        self
    }

    async fn run(self, task: Context) -> Result<Value, Failure> {
        let document = document::of(&task).await?;
        let known = document.ended;
        let calls = tempfile::Builder::new().prefix("sinew-calls-").tempdir()?;
        let mut child = self.command(&task, calls.path()).spawn().map_err(|error| {
            Failure::retry(format!("{:?} did not start: {error}", self.program))
        })?;
        // Dropped with this future, so that an attempt that is given up leaves no process.
        let group = Group::of(&child);
        let feed = feed(child.stdin.take(), document.bytes);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let said =
            async { tokio::join!(listen(stdout, &task), last_words(stderr, task.id()), feed) };
        tokio::pin!(said);
        let mut heard = None;
        let (mut told, mut kill_at) = (false, None);
        let status = loop {
            tokio::select! {
                all = &mut said, if heard.is_none() => heard = Some(all),
                status = child.wait() => break status?,
                () = task.stopped(), if !told => {
                    told = true;
                    group.terminate();
                    kill_at = Some(clock::instant() + self.grace);
                }
                () = at(kill_at) => {
                    kill_at = None;
                    group.kill();
                }
            }
        };
        let (output, stderr, ()) = match heard {
            Some(all) => all,
            None => match tokio::time::timeout(PROGRAM_LEFTOVERS, &mut said).await {
                Ok(all) => all,
                // Something that it started holds the pipes open: it goes with the program.
                Err(_late) => {
                    group.kill();
                    said.await
                }
            },
        };
        if !status.success() {
            return Err(failure(status, &stderr));
        }
        left(&task, output.into_left(), &known).await
    }

    fn command(&self, task: &Context, calls: &Path) -> Command {
        let assignment = task.assignment();
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .env("SINEW_TASK_ID", assignment.task_id.as_str())
            .env("SINEW_ORG", assignment.org_id.as_str())
            .env("SINEW_ROLE", assignment.role.as_str())
            .env("SINEW_ATTEMPT", task.attempt().to_string())
            .env("SINEW_FENCE", task.fence().to_string())
            .env("SINEW_CALLS", calls)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

impl Handler for Program {
    fn handle(
        &self,
        task: Context,
    ) -> impl Future<Output = Result<Value, Failure>> + Send + 'static {
        self.clone().run(task)
    }
}

/// A program need not read its input, and may end before it has.
async fn feed(stdin: Option<ChildStdin>, document: Vec<u8>) {
    if let Some(mut stdin) = stdin
        && let Err(error) = stdin.write_all(&document).await
    {
        tracing::debug!(%error, "the program did not read its task");
    }
}

/// Takes in what the program prints, and passes on what it reports.
async fn listen(stdout: Option<impl AsyncRead + Unpin>, task: &Context) -> Output {
    let mut output = Output::default();
    let Some(mut stdout) = stdout else { return output };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stdout.read(&mut buffer).await.unwrap_or(0);
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        for line in output.take(bytes) {
            report(task, line).await;
        }
    }
    if let Some(line) = output.finish() {
        report(task, line).await;
    }
    output
}

async fn report(task: &Context, line: Line) {
    match line {
        Line::Progress { message, percent } => task.progress(message, percent),
        Line::Event(event) => {
            if let Err(error) = task.emit(Emission::of_value(event)).await {
                tracing::warn!(task = %task.id(), why = chain(&error), "an event was not emitted");
            }
        }
    }
}

/// The end of what the program says on stderr; all of it is passed on to the log, line by line.
async fn last_words(stderr: Option<impl AsyncRead + Unpin>, task: &TaskId) -> String {
    let (mut kept, mut lines) = (Vec::new(), Lines::default());
    let Some(mut stderr) = stderr else { return String::new() };
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stderr.read(&mut buffer).await.unwrap_or(0);
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        for line in lines.take(bytes) {
            tracing::info!(target: "sinew::program", %task, "{line}");
        }
        kept.extend_from_slice(bytes);
        let excess = kept.len().saturating_sub(CAUSE_BYTES);
        kept.drain(..excess);
    }
    if let Some(line) = lines.finish() {
        tracing::info!(target: "sinew::program", %task, "{line}");
    }
    String::from_utf8_lossy(&kept).trim().to_owned()
}

/// What becomes of the attempt of a program that ended well.
async fn left(task: &Context, left: Left, known: &BTreeSet<TaskId>) -> Result<Value, Failure> {
    match left {
        Left::Result(result) => Ok(result),
        Left::Fault(fault) => Err(Failure::retry(fault)),
        Left::Question(ask) => match task.ask(ask) {
            Ok(answer) => {
                let cause = "the question was answered before: the answer is in `answers` of the \
                             task, and is";
                Err(Failure::retry(format!("{cause} {answer}")))
            }
            Err(failure) => Err(failure),
        },
        // A program that waits for what it knows to have ended would begin again and again.
        Left::Tasks(tasks) if tasks.iter().all(|task| known.contains(task)) => Err(Failure::retry(
            "all that it waits for had ended before: how is in `ended` of the task",
        )),
        Left::Tasks(on) => {
            task.wait_for(on.clone()).await?;
            // They have ended since it began: the next attempt is told how.
            Err(Failure::Wait { on })
        }
    }
}

fn failure(status: ExitStatus, stderr: &str) -> Failure {
    if status.code() == Some(POSTPONE) {
        return Failure::Postpone { after: None };
    }
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    };
    let cause = if stderr.is_empty() { how } else { format!("{how}: {stderr}") };
    Failure::retry(tail(&cause, CAUSE_BYTES))
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
