//! Runs a program in another language against what a test has started, so that the wire contract is
//! also held by clients that are not ours.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait;

/// A program that has said nothing about its time has this much.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A program that is to be run by an interpreter.
#[derive(Debug, Clone)]
#[must_use]
pub struct Script {
    interpreter: PathBuf,
    /// What is run, and what is handed to it.
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    stdin: Vec<u8>,
    timeout: Duration,
}

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed on stdout.
    pub stdout: String,
    /// All that it printed on stderr.
    pub stderr: String,
}

impl Output {
    /// Stdout, of a program that must succeed.
    ///
    /// # Panics
    /// When it failed, with all that it said.
    #[must_use]
    #[track_caller]
    pub fn success(self) -> String {
        let Self { status, stdout, stderr } = self;
        assert!(
            status.success(),
            "it ended with {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        stdout
    }
}

impl Script {
    pub(crate) fn new(interpreter: impl Into<PathBuf>, args: Vec<OsString>) -> Self {
        let interpreter = interpreter.into();
        Self { interpreter, args, env: Vec::new(), stdin: Vec::new(), timeout: TIMEOUT }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more variable of its environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// What it reads on stdin; nothing where nothing is said.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// How long it may take; 30 s where nothing is said.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end, while the other tasks of the test go on.
    ///
    /// # Panics
    /// When it takes too long, with what it said until then; and when it can't be started.
    pub async fn run(self) -> Output {
        match tokio::task::spawn_blocking(move || self.run_blocking()).await {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// [`run`](Self::run) for a test that is not async.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[must_use]
    pub fn run_blocking(self) -> Output {
        let mut child = self.spawn(Stdio::piped());
        // Each pipe has its own thread, so that none can fill up while another is awaited.
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let mut input = child.stdin.take();
        let feeder = std::thread::spawn(move || {
            // A program that does not want its input may close it.
            drop(input.as_mut().map(|pipe| pipe.write_all(&self.stdin)));
        });
        let ended = wait::try_until_blocking("the program to end", self.timeout, || {
            child.try_wait().map_err(|error| error.to_string())?.ok_or("it still runs".to_owned())
        });
        if ended.is_err() {
            kill(&mut child);
        }
        feeder.join().expect("feeding stdin");
        let stdout = stdout.join().expect("reading stdout");
        let stderr = stderr.join().expect("reading stderr");
        match ended {
            Ok(status) => Output { status, stdout, stderr },
            Err(error) => panic!("{error}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"),
        }
    }

    /// Starts it; what it prints on stdout is for the caller to read, and its stdin is empty.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(self) -> Child {
        let mut child = self.spawn(Stdio::inherit());
        drop(child.stdin.take());
        child
    }

    fn spawn(&self, stderr: Stdio) -> Child {
        Command::new(&self.interpreter)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap_or_else(|error| panic!("{} is needed: {error}", self.interpreter.display()))
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("reading what the program says");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn kill(child: &mut Child) {
    child.kill().expect("killing the program");
    child.wait().expect("waiting for the killed program");
}
