//! Agents as child processes. One thread starts them all and stays until they are gone, because the
//! kernel ends a child with the thread that started it: so none of them outlives this process, also
//! when it is killed.

use std::{
    collections::VecDeque,
    ffi::OsString,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process_group};
use sinew_model::{
    InstanceId,
    limits::{CRASH_LINE_BYTES, CRASH_LINES, TEAM_EVENTS, TEAM_STOP, head},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStderr, Command},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// What to start.
#[derive(Debug)]
pub(crate) struct Birth {
    /// The name under which its end is told.
    pub(crate) instance: InstanceId,
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
    /// Variables that it gets.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Variables that it does not get.
    pub(crate) without: Vec<OsString>,
    /// Cancelled when it is to be killed at once.
    pub(crate) kill: CancellationToken,
}

/// An agent has ended, or did not start.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) instance: InstanceId,
    /// How, in words, with the end of what it said.
    pub(crate) why: String,
    /// Whether it ended well.
    pub(crate) well: bool,
}

/// The thread that has the children.
#[derive(Debug)]
pub(crate) struct Children {
    births: mpsc::Sender<Birth>,
    ends: mpsc::Receiver<End>,
    /// Cancelled when all are to end.
    stop: CancellationToken,
}

impl Children {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(crate) fn begin() -> std::io::Result<Self> {
        let (births, asked) = mpsc::channel(TEAM_EVENTS);
        let (told, ends) = mpsc::channel(TEAM_EVENTS);
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopping = stop.clone();
        std::thread::Builder::new()
            .name("agents".to_owned())
            .spawn(move || runtime.block_on(live(asked, told, stopping)))?;
        Ok(Self { births, ends, stop })
    }

    /// Starts one. Its end is told in every case.
    pub(crate) async fn start(&self, birth: Birth) {
        if self.births.send(birth).await.is_err() {
            tracing::error!("the thread of the agents is gone");
        }
    }

    /// The next end; nothing while there is none.
    pub(crate) async fn next_end(&mut self) -> End {
        match self.ends.recv().await {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }

    /// Ends them all: each may bring to its end what it can within a time, and is killed then.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        drop(self.births);
        while self.ends.recv().await.is_some() {}
    }
}

async fn live(mut asked: mpsc::Receiver<Birth>, told: mpsc::Sender<End>, stop: CancellationToken) {
    // Dropped with this thread's runtime, which kills what is left.
    let mut lives = JoinSet::new();
    loop {
        tokio::select! {
            birth = asked.recv() => match birth {
                Some(birth) => {
                    lives.spawn(life(birth, told.clone(), stop.child_token()));
                }
                None => break,
            },
            Some(_) = lives.join_next() => {}
        }
    }
    // Whoever let go of this without a word wants them gone as well.
    stop.cancel();
    while lives.join_next().await.is_some() {}
}

/// One agent from its start to its end.
async fn life(birth: Birth, told: mpsc::Sender<End>, stop: CancellationToken) {
    let Birth { instance, program, args, folder, env, without, kill } = birth;
    let mut command = Command::new(&program);
    for name in without {
        command.env_remove(name);
    }
    command
        .args(args)
        .envs(env)
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C in a terminal goes to a whole group, and this process ends them in its own order.
        .process_group(0)
        .kill_on_drop(true);
    let end = match command.spawn() {
        Ok(mut child) => {
            let said = child.stderr.take();
            let (status, tail) =
                tokio::join!(run(&mut child, &stop, &kill), last_lines(&instance, said));
            End {
                why: words(status.as_ref().ok(), &tail),
                well: status.is_ok_and(|it| it.success()),
                instance,
            }
        }
        Err(error) => {
            let why = format!("it does not start in {}: {error}", folder.display());
            End { instance, why, well: false }
        }
    };
    // Nobody listens any more where everything ends.
    told.send(end).await.ok();
}

/// Waits for its end, and sees to it when it is to end.
async fn run(
    child: &mut Child,
    stop: &CancellationToken,
    kill: &CancellationToken,
) -> std::io::Result<ExitStatus> {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let signal = |signal: Signal| {
        // The group is this child's for as long as nobody has waited for its end.
        if let Some(group) = group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, ?signal, "an agent was gone already");
        }
    };
    tokio::select! {
        status = child.wait() => return status,
        () = stop.cancelled() => signal(Signal::TERM),
        () = kill.cancelled() => signal(Signal::KILL),
    }
    let ended = timeout(TEAM_STOP, child.wait()).await;
    match ended {
        Ok(status) => status,
        Err(_) => {
            signal(Signal::KILL);
            child.wait().await
        }
    }
}

/// Passes on what an agent says, and keeps the end of it.
async fn last_lines(instance: &InstanceId, said: Option<ChildStderr>) -> VecDeque<String> {
    let mut tail = VecDeque::new();
    let Some(said) = said else { return tail };
    let mut lines = BufReader::new(said).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let line = head(&line, CRASH_LINE_BYTES).to_owned();
        tracing::info!("{instance}: {line}");
        if tail.len() == CRASH_LINES {
            tail.pop_front();
        }
        tail.push_back(line);
    }
    tail
}

fn words(status: Option<&ExitStatus>, tail: &VecDeque<String>) -> String {
    let status = status.map_or_else(|| "it is lost".to_owned(), ToString::to_string);
    let tail = tail.iter().map(String::as_str).collect::<Vec<_>>().join(" | ");
    if tail.is_empty() { status } else { format!("{status}: {tail}") }
}
