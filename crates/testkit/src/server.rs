//! A real nats-server for one test: its own port and data, killed and cleaned up when dropped.
//! Everything here blocks, a few tens of milliseconds for a start, so that it can be used from
//! any test, async or not, and from several threads at once.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::port::Port;
use crate::{TempDir, install, monitor, wait};

/// A start takes some 50 ms; a loaded machine and much data to recover are allowed for.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// A graceful stop writes what is in memory and takes some 20 ms.
const STOP_DEADLINE: Duration = Duration::from_secs(15);

/// How often a start may find that a stranger has taken one of its ports.
const START_TRIES: usize = 5;

/// How much of the log a failed test shows.
const LOG_LINES_SHOWN: usize = 100;

/// What a server shall be; made by [`NatsServer::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    name: Option<String>,
    sync_always: bool,
    max_payload: Option<usize>,
    dir: Option<PathBuf>,
    store_dir: Option<PathBuf>,
    jetstream_config: String,
    extra_config: String,
}

impl Builder {
    /// The server's name; `testkit` where none is given.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Whether every write is on the disk before it is acknowledged. Off, as nats-server has it.
    pub fn sync_always(mut self, always: bool) -> Self {
        self.sync_always = always;
        self
    }

    /// The largest message, in bytes; nats-server's own default is 1 MiB.
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = Some(bytes);
        self
    }

    /// Keeps configuration, log and data in this folder, and leaves them there, so that another
    /// server can be opened on the same data. Else they are in a [`TempDir`].
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Keeps the streams in this folder, and leaves them there. Else they are in `store` beside the
    /// configuration.
    pub fn store_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.store_dir = Some(dir.into());
        self
    }

    /// More lines for the `jetstream` block of the configuration.
    pub fn jetstream_config(mut self, lines: &str) -> Self {
        self.jetstream_config.push_str(lines);
        self.jetstream_config.push('\n');
        self
    }

    /// More text for the configuration: accounts, authorization, an operator. Calls add up.
    pub fn extra_config(mut self, text: &str) -> Self {
        self.extra_config.push_str(text);
        self.extra_config.push('\n');
        self
    }

    /// Starts the server and waits until it serves JetStream.
    ///
    /// # Panics
    /// When it does not, with its log; and when it is not installed, with what to run.
    #[must_use]
    pub fn start(self) -> NatsServer {
        for _ in 1..START_TRIES {
            let server = self.spawn();
            match server.try_wait_ready() {
                Ok(()) => return server,
                Err(why) if is_port_taken(&why) => {}
                Err(why) => panic!("{why}"),
            }
        }
        let server = self.spawn();
        server.wait_ready();
        server
    }

    /// Starts the process and does not wait.
    pub(crate) fn spawn(&self) -> NatsServer {
        let home = match &self.dir {
            Some(dir) => Home::Kept(absolute(dir)),
            None => Home::Temporary(TempDir::new("nats")),
        };
        let kept = match &home {
            Home::Temporary(dir) => dir.path(),
            Home::Kept(dir) => dir,
        };
        let server = NatsServer {
            client_port: Port::lease(),
            monitor_port: Port::lease(),
            child: Mutex::new(None),
            store_dir: self.store_dir.as_deref().map_or_else(|| kept.join("store"), absolute),
            home,
        };
        std::fs::create_dir_all(&server.store_dir).expect("making the store folder");
        std::fs::write(server.config_path(), self.config(&server)).expect("writing the config");
        server.spawn();
        server
    }

    fn config(&self, server: &NatsServer) -> String {
        let name = quoted(self.name.as_deref().unwrap_or("testkit"));
        let store = quoted(&server.store_dir().to_string_lossy());
        let (port, monitor) = (server.port(), server.monitor_port.number());
        // Given limits keep the free memory and disk of the machine out of the tests.
        let mut text = format!(
            "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
             jetstream {{\n  store_dir: {store}\n  max_memory_store: 1GB\n  \
             max_file_store: 16GB\n"
        );
        if self.sync_always {
            text.push_str("  sync_interval: always\n");
        }
        text.push_str(&self.jetstream_config);
        text.push_str("}\n");
        if let Some(bytes) = self.max_payload {
            writeln!(text, "max_payload: {bytes}").expect("writing into a string");
        }
        text.push_str(&self.extra_config);
        text
    }
}

/// A running nats-server. Dropping it kills the process and removes its data; when the test is
/// failing, the end of the server's log is printed first.
#[derive(Debug)]
pub struct NatsServer {
    client_port: Port,
    monitor_port: Port,
    /// `None` between a kill or stop and the restart. Behind a lock so that one task of a test
    /// can kill a server that others use.
    child: Mutex<Option<Child>>,
    store_dir: PathBuf,
    /// Last, because it may be removed only after the process is gone.
    home: Home,
}

#[derive(Debug)]
enum Home {
    Temporary(TempDir),
    Kept(PathBuf),
}

impl NatsServer {
    /// Starts a server with nothing special about it.
    ///
    /// # Panics
    /// When it does not start, with its log; and when it is not installed, with what to run.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Says first what the server shall be.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where clients connect. It stays the same over restarts.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// The port of [`url`](Self::url).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.client_port.number()
    }

    /// Where the monitoring pages are (`/varz`, `/jsz`, ...).
    #[must_use]
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port.number())
    }

    /// The JSON of a monitoring page, such as `/connz?subs=1`.
    ///
    /// # Errors
    /// When the server does not answer, or not with JSON.
    pub fn monitor(&self, page: &str) -> Result<serde_json::Value, String> {
        monitor::json(self.monitor_port.number(), page)
    }

    /// Whether all is well: JetStream runs, and every stream and consumer is there and current.
    ///
    /// # Errors
    /// What the server says is not well.
    pub fn health(&self) -> Result<(), String> {
        monitor::health(self.monitor_port.number(), "")
    }

    /// The folder that holds configuration, log and store.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match &self.home {
            Home::Temporary(dir) => dir.path(),
            Home::Kept(dir) => dir,
        }
    }

    /// Where the streams are.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.store_dir.clone()
    }

    /// What the server has logged so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process id.
    ///
    /// # Panics
    /// When the server does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child().as_ref().expect("the server is stopped").id()
    }

    /// Whether the process is there (a paused one is).
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends the process at once, as a crash would: what it had not yet written stays unwritten.
    /// Does nothing to a server that is not running.
    pub fn kill(&self) {
        let Some(mut child) = self.child().take() else { return };
        child.kill().expect("killing the server");
        child.wait().expect("waiting for the killed server");
    }

    /// Ends the process gracefully, and returns when it is gone. Does nothing to a server that is
    /// not running.
    ///
    /// # Panics
    /// When it does not go; it is killed all the same.
    pub fn stop(&self) {
        if !self.is_running() {
            return;
        }
        // A paused process gets its signals only when it goes on.
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
        let gone = wait::try_until_blocking("nats-server to stop", STOP_DEADLINE, || {
            if self.is_running() { Err("it still runs".to_owned()) } else { Ok(()) }
        });
        self.kill();
        gone.unwrap_or_else(|error| panic!("{error}\n{}", self.end_of_log()));
    }

    /// Starts the server again on the same port and the same data, and waits until it serves
    /// JetStream. One that still runs is stopped gracefully first.
    ///
    /// # Panics
    /// When it does not start, with its log.
    pub fn restart(&self) {
        self.stop();
        self.spawn();
        self.wait_ready();
    }

    /// Freezes the process: connections stay open and nothing is answered.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let pid = self.os_pid();
        wait::until_blocking("nats-server to freeze", STOP_DEADLINE, || {
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            match rustix::process::waitid(WaitId::Pid(pid), options) {
                Ok(Some(_)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// Lets a paused process go on.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits until the server serves JetStream.
    pub(crate) fn wait_ready(&self) {
        self.try_wait_ready().unwrap_or_else(|why| panic!("{why}"));
    }

    pub(crate) fn try_wait_ready(&self) -> Result<(), String> {
        let port = self.monitor_port.number();
        wait::try_until_blocking("nats-server to serve JetStream", START_DEADLINE, || {
            if !self.is_running() {
                return Ok(Err("nats-server ended at once".to_owned()));
            }
            monitor::health(port, "js-enabled-only=true")?;
            monitor::greeting(self.port())?;
            Ok(Ok(()))
        })
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(|why| format!("{why}\n{}", self.end_of_log()))
    }

    fn spawn(&self) {
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.expect("opening the log");
        let child = Command::new(install::nats_server())
            // What a configuration names without a path is in the server's own folder.
            .current_dir(self.dir())
            .arg("--config")
            .arg(self.config_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("sharing the log"))
            .stderr(log)
            .spawn()
            .expect("starting nats-server");
        *self.child() = Some(child);
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.os_pid(), signal).expect("sending a signal");
    }

    fn os_pid(&self) -> Pid {
        let raw = i32::try_from(self.pid()).expect("process ids are small");
        Pid::from_raw(raw).expect("process ids are not zero")
    }

    fn config_path(&self) -> PathBuf {
        self.dir().join("nats.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.dir().join("server.log")
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let skipped = lines.len().saturating_sub(LOG_LINES_SHOWN);
        let end = lines.get(skipped..).unwrap_or_default().join("\n");
        format!("--- log of nats-server at {}, {skipped} lines left out ---\n{end}", self.url())
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child().take() {
            // It may have ended by itself; there is nobody left to tell.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            show(&self.end_of_log());
        }
    }
}

/// Whether a server ended because somebody else listens where it should.
pub(crate) fn is_port_taken(why: &str) -> bool {
    why.contains("address already in use")
}

/// The same place for a process that runs elsewhere.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).expect("a folder to begin from")
}

/// Text as nats-server's configuration wants it.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[expect(clippy::print_stderr, reason = "a failing test shows the log where it shows the failure")]
fn show(text: &str) {
    eprintln!("{text}");
}
