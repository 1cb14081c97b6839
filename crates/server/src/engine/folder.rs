//! The data folder: made, locked, measured, and cleared of a server that an earlier run left.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::process::{Pid, Signal};
use sinew_bus::clock;
use sinew_model::OrgId;
use sinew_model::limits::{
    CAUSE_BYTES, ENGINE_FREE_BYTES, ENGINE_KILL_PATIENCE, ENGINE_LOG_LINES, ENGINE_PROBE_EVERY,
    ENGINE_STOP_PATIENCE, tail,
};

use super::StartError;
use crate::account::{Orgs, Quota};
use crate::private;

/// What the server logs, in the data folder. It starts a new file when one is full.
pub const LOG_NAME: &str = "nats-server.log";

/// Where the streams are.
pub(super) const STORE_NAME: &str = "store";

/// The folder and what is in it are for their owner alone.
const OWNER_ONLY: u32 = 0o700;

/// A data folder that nobody else runs an engine on while this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Held for its lock, which ends with the process, whatever ends it.
    _lock: File,
}

impl Folder {
    /// Makes the folder if it is not there, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, StartError> {
        make(path)?;
        let path = path.canonicalize().map_err(|source| unusable(path, source))?;
        let lock = lock(&path)?;
        let folder = Self { path, _lock: lock };
        // nats-server would let others look into it.
        make(&folder.store())?;
        Ok(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path.join("nats.conf")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join(LOG_NAME)
    }

    /// What the server prints before it can log, and when it breaks.
    pub(super) fn stderr(&self) -> PathBuf {
        self.path.join("nats-server.err")
    }

    pub(super) fn store(&self) -> PathBuf {
        self.path.join(STORE_NAME)
    }

    fn pid(&self) -> PathBuf {
        self.path.join("nats-server.pid")
    }

    /// Writes a file for its owner alone.
    pub(super) fn write(&self, path: &Path, content: &str) -> Result<(), StartError> {
        private::write(path, content.as_bytes()).map_err(|source| unusable(path, source))
    }

    /// Remembers the child, for whoever comes after a crash.
    pub(super) fn remember(&self, pid: u32) -> io::Result<()> {
        std::fs::write(self.pid(), format!("{pid}\n"))
    }

    /// The child is gone.
    pub(super) fn forget(&self) {
        // A file that stays is harmless: who reads it makes sure what process it names.
        std::fs::remove_file(self.pid()).ok();
    }

    /// The disk that streams may take, in bytes: what they have, and most of what is free.
    pub(super) fn room(&self) -> Result<u64, StartError> {
        let disk = rustix::fs::statvfs(&self.path)
            .map_err(|error| unusable(&self.path, io::Error::from(error)))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        room(size(self.store()), free).ok_or_else(|| StartError::DiskFull {
            data_dir: self.path.clone(),
            free,
            needed: ENGINE_FREE_BYTES,
        })
    }

    /// Takes over the streams of a folder of the earlier kind, in which an org was let in by a
    /// password: the server keeps an account's streams in a folder of the account's name, which
    /// is a public key now.
    pub(super) fn adopt(&self, orgs: &Orgs) -> Result<(), StartError> {
        let streams = self.store().join("jetstream");
        // Before the first start there is nothing.
        for entry in std::fs::read_dir(&streams).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(org) = name.to_str().and_then(|name| name.parse::<OrgId>().ok()) else {
                continue;
            };
            let account = orgs.ensure(&org, Quota::NONE)?.account;
            let new = streams.join(account);
            if !new.exists() {
                std::fs::rename(entry.path(), &new).map_err(|source| unusable(&new, source))?;
                tracing::info!(%org, "took over the streams of an earlier version");
            }
        }
        Ok(())
    }

    /// Ends a nats-server of this folder that an earlier run left behind. Whatever else has its
    /// process id by now is left alone.
    pub(super) async fn end_left_behind(&self) -> Result<(), StartError> {
        let Some(pid) = read_pid(&self.pid()) else { return Ok(()) };
        for (signal, patience) in
            [(Signal::TERM, ENGINE_STOP_PATIENCE), (Signal::KILL, ENGINE_KILL_PATIENCE)]
        {
            let end = clock::instant() + patience;
            if self.is_ours(pid).await {
                tracing::warn!(pid, "ending a nats-server that an earlier run left behind");
                send(pid, signal);
            }
            while self.is_ours(pid).await {
                if clock::instant() >= end {
                    break;
                }
                clock::pause(ENGINE_PROBE_EVERY).await;
            }
        }
        if self.is_ours(pid).await { Err(StartError::LeftBehind { pid }) } else { Ok(()) }
    }

    /// Whether a process runs on the configuration of this folder. This process holds the lock, so
    /// there is no other reason for one to do so than that it was left behind.
    async fn is_ours(&self, pid: u32) -> bool {
        let config = self.config();
        let wanted = config.as_os_str().as_bytes();
        let line = command_line(pid).await;
        line.windows(wanted.len()).any(|part| part == wanted)
    }
}

/// The rest of what is free is for logs, and for whatever else the machine does.
fn room(used: u64, free: u64) -> Option<u64> {
    (free >= ENGINE_FREE_BYTES).then(|| used.saturating_add(free / 4 * 3))
}

/// Something in the data folder that failed.
pub(super) fn unusable(path: &Path, source: io::Error) -> StartError {
    StartError::Folder { path: path.to_owned(), source }
}

/// The last lines that a server wrote since its log was `from` bytes long.
pub(super) fn last_lines(log: &Path, from: u64, stderr: &Path) -> String {
    // A log that cannot be read is no reason to hide what is being reported.
    let mut text = read_from(log, from).unwrap_or_default();
    text.push_str(&read_from(stderr, 0).unwrap_or_default());
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(ENGINE_LOG_LINES);
    let end = lines.get(skipped..).unwrap_or_default().join("\n");
    tail(&end, CAUSE_BYTES).to_owned()
}

/// The end of a file, at most [`CAUSE_BYTES`] of it. A file that is shorter than `from` was begun
/// anew.
fn read_from(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = if length < from { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(CAUSE_BYTES as u64))))?;
    let mut bytes = Vec::new();
    file.take(CAUSE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn make(path: &Path) -> Result<(), StartError> {
    DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(path)
        .map_err(|source| unusable(path, source))
}

fn lock(folder: &Path) -> Result<File, StartError> {
    let path = folder.join("engine.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|source| unusable(&path, source))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let (data_dir, pid) = (folder.to_owned(), read_pid(&path));
            return Err(StartError::AlreadyRunning { data_dir, pid });
        }
        Err(error) => return Err(unusable(&path, error.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|source| unusable(&path, source))?;
    Ok(file)
}

fn read_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The bytes of all files below a folder. What vanishes while it is counted is not counted.
fn size(folder: PathBuf) -> u64 {
    let mut folders = vec![folder];
    let mut bytes = 0_u64;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => bytes = bytes.saturating_add(data.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Sends a signal to a process that may be gone.
pub(super) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        rustix::process::kill_process(pid, signal).ok();
    }
}

/// The program and the arguments of a process; nothing if it is gone, or dead and not yet reaped.
#[cfg(target_os = "linux")]
async fn command_line(pid: u32) -> Vec<u8> {
    tokio::fs::read(format!("/proc/{pid}/cmdline")).await.unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
async fn command_line(pid: u32) -> Vec<u8> {
    let mut ps = tokio::process::Command::new("ps");
    ps.args(["-ww", "-o", "args=", "-p", &pid.to_string()]);
    ps.output().await.map(|output| output.stdout).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinew_testkit::TempDir;

    #[test]
    fn a_folder_has_one_engine() {
        let dir = TempDir::new("folder");
        let first = Folder::open(dir.path()).unwrap();
        let error = Folder::open(dir.path()).unwrap_err();
        let me = std::process::id();
        assert!(matches!(error, StartError::AlreadyRunning { pid: Some(pid), .. } if pid == me));
        drop(first);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn only_the_last_lines_since_the_start_are_shown() {
        let dir = TempDir::new("folder");
        let (log, stderr) = (dir.join("log"), dir.join("err"));
        std::fs::write(&log, "before\n").unwrap();
        assert_eq!(last_lines(&log, 7, &stderr), "");
        std::fs::write(&log, "before\nafter\n").unwrap();
        std::fs::write(&stderr, "panic\n").unwrap();
        assert_eq!(last_lines(&log, 7, &stderr), "after\npanic");
        assert_eq!(last_lines(&log, 1_000, &stderr), "before\nafter\npanic");
        std::fs::write(&log, "x\n".repeat(100_000)).unwrap();
        assert_eq!(last_lines(&log, 0, &stderr).lines().count(), ENGINE_LOG_LINES);
    }

    #[test]
    fn room_counts_what_the_store_has() {
        let dir = TempDir::new("folder");
        let folder = Folder::open(dir.path()).unwrap();
        std::fs::create_dir(folder.store().join("deep")).unwrap();
        std::fs::write(folder.store().join("deep/block"), "12345").unwrap();
        assert_eq!(size(folder.store()), 5);
        assert!(folder.room().unwrap() > 5);
        assert_eq!(room(5, ENGINE_FREE_BYTES), Some(5 + ENGINE_FREE_BYTES / 4 * 3));
        assert_eq!(room(5, ENGINE_FREE_BYTES - 1), None, "a full disk is seen");
    }

    #[tokio::test]
    async fn a_process_that_is_not_ours_is_left_alone() {
        let dir = TempDir::new("folder");
        let folder = Folder::open(dir.path()).unwrap();
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        folder.remember(stranger.id()).unwrap();
        folder.end_left_behind().await.unwrap();
        assert!(stranger.try_wait().unwrap().is_none(), "a stranger was ended");
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
