//! A folder with a backbone, and the `sinew` command in it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sinew_testkit::{Port, TempDir, wait};

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The program under test.
pub(crate) const SINEW: &str = env!("CARGO_BIN_EXE_sinew");

/// A working folder.
pub(crate) struct Place {
    folder: TempDir,
}

/// A command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A command that runs. It is killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// A backbone that runs in a folder.
pub(crate) struct Backbone {
    pub(crate) place: Place,
    pub(crate) up: Running,
    /// While its server is down, no other test shall take its port.
    _port: Port,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new("cli") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(SINEW);
        command.args(args).current_dir(self.folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SINEW_") {
                command.env_remove(name);
            }
        }
        command.env("SINEW_NATS_SERVER", sinew_testkit::install::nats_server());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        Done::of(&mut self.command(args))
    }

    /// Runs a command that must end well, and gives what it printed.
    #[track_caller]
    pub(crate) fn get(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, Some(0), "{args:?}: {done:?}");
        done.out.trim_end().to_owned()
    }

    /// Runs a command that must end well, and reads the JSON that it printed.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.get(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// Starts a command.
    pub(crate) fn start(&self, name: &str, args: &[&str]) -> Running {
        self.start_with(name, self.command(args))
    }

    pub(crate) fn start_with(&self, name: &str, mut command: Command) -> Running {
        let (out, err) = (self.path(&format!("{name}.out")), self.path(&format!("{name}.err")));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        Running { child: command.spawn().unwrap(), out, err }
    }

    /// Waits for a file, and gives what is in it.
    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str) -> String {
        let path = self.path(name);
        wait::until_blocking(name, LONG, || match std::fs::read_to_string(&path) {
            Ok(text) if text.ends_with('\n') => Ok(text.trim_end().to_owned()),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Done {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It ended with this code, and said this on stderr.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{self:?} does not say {words:?}");
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(self.pid(), which);
    }

    pub(crate) fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    pub(crate) fn err(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    /// Waits until it has said something on either.
    #[track_caller]
    pub(crate) fn until_says(&self, words: &str) {
        wait::until_blocking(words, LONG, || {
            let said = self.out() + &self.err();
            if said.contains(words) { Ok(()) } else { Err(said) }
        });
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(&mut self) -> ExitStatus {
        wait::until_blocking("its end", LONG, || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status),
            None => Err(self.err()),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Backbone {
    pub(crate) fn start() -> Self {
        Self::on(Place::new())
    }

    pub(crate) fn on(place: Place) -> Self {
        Self::with(place, &[])
    }

    pub(crate) fn with(place: Place, more: &[&str]) -> Self {
        let port = Port::lease();
        let number = port.number().to_string();
        let up = place.start("up", &[&["up", "--json", "--port", &number], more].concat());
        up.until_says("\"ready\"");
        Self { place, up, _port: port }
    }

    /// The process of the nats-server.
    pub(crate) fn nats(&self) -> u32 {
        let text = std::fs::read_to_string(self.place.path(".sinew/nats-server.pid")).unwrap();
        text.trim().parse().unwrap()
    }

    /// An agent whose program is a shell script; the working folder is that of the test.
    pub(crate) fn agent(&self, role: &str, script: &str, more: &[&str]) -> Running {
        let usual = ["agent", "run", "--role", role, "--retry-first", "50ms"];
        let agent = self.place.start(role, &[&usual, more, &["--", "sh", "-c", script]].concat());
        agent.until_says("takes the tasks");
        agent
    }

    /// A task with its life, as `task show` has it.
    pub(crate) fn show(&self, id: &str) -> Value {
        self.place.json(&["task", "show", id])
    }

    /// Waits until a task stands somewhere.
    #[track_caller]
    pub(crate) fn until_phase(&self, id: &str, phase: &str) {
        wait::until_blocking(phase, LONG, || {
            let found = self.place.json(&["task", "list", "--search", id]);
            let now = found["tasks"][0]["phase"].clone();
            if now == phase { Ok(()) } else { Err(now.to_string()) }
        });
    }
}

/// The transitions of a life.
pub(crate) fn words(life: &Value) -> Vec<&str> {
    let entries = life["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["transition"].as_str().unwrap()).collect()
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Waits until no process of that id runs; one that is dead and not reaped does not.
#[track_caller]
pub(crate) fn wait_gone(pid: u32) {
    wait::until_blocking("the process to be gone", LONG, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

/// A git repository with two commits.
pub(crate) fn repository(at: &Path) {
    std::fs::create_dir_all(at.join("src")).unwrap();
    std::fs::write(at.join("src/a.py"), "print(1)\n").unwrap();
    std::fs::write(at.join("README.md"), "# A\n[b](src/a.py) [c](gone.md)\n```sh\nls\n```\n")
        .unwrap();
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        let mut command = Command::new("git");
        let done = Done::of(command.arg("-C").arg(at).args(who).args(args));
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "code: the first part"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "docs: say what it is"]);
}
