//! The engine of `sinew up`: one nats-server as a child process on a data folder, secured, watched,
//! started again when it dies, and never left behind. It does not look for settings in the
//! environment, and it knows nothing of what flows through the server.
//!
//! [`find()`] gives the program; [`Engine::start`] runs it and writes the [`Context`]
//! that lets every other command in; [`Engine::stop`] ends it. A data
//! folder holds:
//!
//! | name | what it is |
//! |---|---|
//! | `context.json` | where the backbone is, and which credentials let in; no secret is in it |
//! | `keys/`, `orgs/`, `creds/` | keys, orgs and credentials, see [`account`](crate::account) |
//! | `accounts/` | what the server knows of accounts |
//! | `nats.conf` | what the server is told, written anew at each start |
//! | `nats-server.log`, `.err` | what it logs, in files of a bounded size; what it prints when it breaks |
//! | `nats-server.pid` | the child, so that one that was left behind is found |
//! | `engine.lock` | held by the `up` that runs here |
//! | `tls/` | the certificates, where connections are encrypted: see [`tls`](crate::tls) |
//! | `store/` | the streams |
//!
//! # No orphan
//! The child ends with this process, also when this process is killed. On Linux the kernel sees to
//! it: the child starts as a [guard](exec_guarded) that asks to be killed with its parent, and then
//! becomes nats-server. The kernel means the *thread* that started it, so one thread starts the
//! child and stays until it is gone. Elsewhere, or without a guard, the next start on the same
//! folder ends what an earlier one left.

mod child;
mod find;
mod folder;
mod guard;
mod ports;
mod probe;
mod settings;
mod supervise;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sinew_model::{OrgId, Root, signature::Policy};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::context::{Context, ContextError};
use crate::tls::{Encryption, TlsError};

pub use find::{FindError, find};
pub use folder::LOG_NAME;
pub use guard::{GuardError, exec_guarded};

/// What a stored message survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Durability {
    /// A power cut: it is on the disk before it is acknowledged.
    #[default]
    Always,
    /// The death of the server, not of the machine: it is on the disk two minutes later at most.
    Interval,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Always => "always",
            Self::Interval => "interval",
        })
    }
}

/// What engine to run, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of everything that it keeps. Made if it is not there.
    pub data_dir: PathBuf,
    /// What a stored message survives.
    pub durability: Durability,
    /// The client port on 127.0.0.1, and no other. `None` (or 0) takes the one that this folder had
    /// last, so that agents that still run find the backbone again; else 4222; else the next free.
    pub port: Option<u16>,
    /// The org that is made where it is not there, and that the context is for. Each org of a folder keeps its own streams.
    pub org: OrgId,
    /// First token of every subject; it only goes into the context.
    pub root: Root,
    /// The nats-server program, from [`find()`].
    pub binary: PathBuf,
    /// A program with its first arguments that calls [`exec_guarded`] with all that follow. `None`
    /// starts nats-server itself; see the module's documentation for what is lost then.
    pub guard: Option<Vec<OsString>>,
    /// Whether connections are encrypted, and who shows a certificate then; `None`: they are not,
    /// and the server listens on the loopback only, as always.
    pub encryption: Option<Encryption>,
    /// What is asked of messages, as the context says it to all who use it; `None`: what it takes
    /// where everybody has a key.
    pub signatures: Option<Policy>,
}

impl Config {
    /// Durable, on the usual port, below the default root, without a guard.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, org: OrgId, binary: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durability: Durability::default(),
            port: None,
            org,
            root: Root::default(),
            binary: binary.into(),
            guard: None,
            encryption: None,
            signatures: None,
        }
    }
}

/// Why the engine does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder, or something in it, cannot be made or written.
    #[error("the data folder cannot be used: {}", .path.display())]
    Folder {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Another process runs an engine on this folder.
    #[error(
        "a backbone already runs on {}{}", .data_dir.display(),
        .pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    AlreadyRunning {
        /// The folder.
        data_dir: PathBuf,
        /// Who runs it, where that is known.
        pid: Option<u32>,
    },
    /// A nats-server that an earlier process left behind does not go.
    #[error("nats-server from an earlier run (process {pid}) does not end")]
    LeftBehind {
        /// The process.
        pid: u32,
    },
    /// There is no room for messages.
    #[error(
        "the disk of {} is full: {free} bytes are free, {needed} are needed", .data_dir.display()
    )]
    DiskFull {
        /// The folder.
        data_dir: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// The context of an earlier run cannot be read, or the new one cannot be written.
    #[error("there is no usable context")]
    Context(#[source] ContextError),
    /// The keys or the records of the orgs can't be used.
    #[error("the keys of the folder cannot be used")]
    Accounts(#[from] crate::account::AccountError),
    /// There are no certificates for an encrypted connection.
    #[error("the certificates of the backbone are not there")]
    Tls(#[from] TlsError),
    /// Somebody else listens on the port that was asked for.
    #[error("port {port} is taken by another program")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The system does not let this process listen on the port that was asked for.
    #[error("port {port} cannot be listened on")]
    PortRefused {
        /// The port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Every port is taken.
    #[error("no free port among the {tried} from {first}")]
    NoPort {
        /// The first that was tried.
        first: u16,
        /// How many were.
        tried: u16,
    },
    /// The program does not start.
    #[error("{} does not start", .program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The server ended.
    #[error("nats-server ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// How.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The server runs, and does not become ready.
    #[error(
        "nats-server is not ready after {} s ({seen}); the end of its log:\n{log}", .after.as_secs()
    )]
    NotReady {
        /// How long it had.
        after: Duration,
        /// What was seen instead.
        seen: String,
        /// The last lines of its log.
        log: String,
    },
    /// The system does not tell how the child fares.
    #[error("nats-server cannot be watched")]
    Unwatched(#[source] io::Error),
    /// The thread that watches over the child cannot be started.
    #[error("no thread to watch over nats-server")]
    Thread(#[source] io::Error),
    /// It was stopped before it was ready.
    #[error("the start was given up")]
    GivenUp,
}

/// How the engine fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The server starts, for the first time or again.
    Starting,
    /// The server serves JetStream.
    Ready {
        /// The process.
        pid: u32,
        /// How often it was started again since [`Engine::start`].
        restarts: u32,
    },
    /// The server is gone. It is started again in a moment.
    Down {
        /// What happened, with the last lines of the server's log.
        why: String,
    },
    /// It was stopped, and is not started again.
    Stopped,
}

/// A nats-server that runs and is kept running. Dropping this stops it too, without waiting for it.
#[derive(Debug)]
pub struct Engine {
    context: Context,
    /// The thread that watches over the child holds the other end.
    states: watch::Receiver<State>,
    /// Tells that thread to stop; so does dropping it.
    stopping: DropGuard,
}

impl Engine {
    /// Starts the server, waits until it serves JetStream, and writes the context. When the future
    /// is dropped before that, the server is stopped.
    ///
    /// # Errors
    /// See [`StartError`]. Nothing runs then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let (started, first) = oneshot::channel();
        let (sender, states) = watch::channel(State::Starting);
        let token = CancellationToken::new();
        let stopping = token.clone().drop_guard();
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || supervise::run(config, started, &sender, &token))
            .map_err(StartError::Thread)?;
        let context = first.await.unwrap_or(Err(StartError::GivenUp))?;
        Ok(Self { context, states, stopping })
    }

    /// Where the server is and how to get in, as it was written to the data folder.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// How the server fares, now and from now on.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.states.clone()
    }

    /// Ends the server, gracefully if it can, and returns when it is gone and its folder is free.
    pub async fn stop(mut self) {
        drop(self.stopping);
        // The channel closes if the watching thread broke; then there is nothing to wait for.
        self.states.wait_for(|state| *state == State::Stopped).await.ok();
    }
}
