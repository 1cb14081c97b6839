//! Runs a Python program against what a test has started, so that the wire contract is also held
//! by a client in another language. The clients are those of `tools/install-python-clients`.

use std::ffi::OsString;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::{install, wait};

/// A program that has said nothing about its time has this much.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A Python program that is to be run.
#[derive(Debug, Clone)]
#[must_use]
pub struct Python {
    /// The file, or `-c` and the code.
    program: Vec<OsString>,
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
        assert!(status.success(), "python: {status}\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        stdout
    }
}

impl Python {
    /// A script; a relative path counts from the root of the checkout.
    pub fn script(path: impl Into<PathBuf>) -> Self {
        Self::new(vec![install::workspace_root().join(path.into()).into()])
    }

    /// A few lines of code.
    pub fn code(text: &str) -> Self {
        Self::new(vec!["-c".into(), text.into()])
    }

    fn new(program: Vec<OsString>) -> Self {
        Self { program, args: Vec::new(), env: Vec::new(), stdin: Vec::new(), timeout: TIMEOUT }
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
    /// When it takes too long, with what it said until then; when there is no Python; and when
    /// the clients are not installed, with what to run.
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
        let mut child = Command::new("python3")
            .args(&self.program)
            .args(&self.args)
            .env("PYTHONPATH", install::python_clients())
            .env("PYTHONUNBUFFERED", "1")
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starting python3, which the tests need");
        // Each pipe has its own thread, so that none can fill up while another is awaited.
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let mut input = child.stdin.take();
        let feeder = std::thread::spawn(move || {
            // A program that does not want its input may close it.
            drop(input.as_mut().map(|pipe| pipe.write_all(&self.stdin)));
        });
        let ended = wait::try_until_blocking("the Python program to end", self.timeout, || {
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
