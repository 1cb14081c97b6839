//! One run of nats-server: started, awaited, ended.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;
use sinew_bus::clock;
use sinew_model::limits::{
    ENGINE_KILL_PATIENCE, ENGINE_PROBE_EVERY, ENGINE_START_PATIENCE, ENGINE_STOP_PATIENCE,
};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::folder::{Folder, last_lines, send, unusable};
use super::ports::Ports;
use super::{StartError, probe};

/// How to start the server: the same each time.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) folder: Folder,
    pub(super) ports: Ports,
    /// By this a server is told from another that has taken its port.
    pub(super) name: String,
    pub(super) binary: PathBuf,
    pub(super) guard: Option<Vec<OsString>>,
}

impl Launch {
    /// Starts the server and waits until it serves. `None` when that was cancelled; the server is
    /// gone then.
    pub(super) async fn start(
        &self,
        stopping: &CancellationToken,
    ) -> Result<Option<Server>, StartError> {
        let mut server = self.spawn()?;
        match stopping.run_until_cancelled(server.ready(self)).await {
            Some(Ok(())) => Ok(Some(server)),
            Some(Err(error)) => {
                server.end(&self.folder).await;
                Err(error)
            }
            None => {
                server.end(&self.folder).await;
                Ok(None)
            }
        }
    }

    fn spawn(&self) -> Result<Server, StartError> {
        let stderr = self.folder.stderr();
        let log_from = self.folder.log().metadata().map_or(0, |data| data.len());
        let output = File::create(&stderr).map_err(|source| unusable(&stderr, source))?;
        let copy = output.try_clone().map_err(|source| unusable(&stderr, source))?;
        let (program, args) = self.command_line();
        let mut command = Command::new(&program);
        command
            .args(args)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(copy)
            .stderr(output)
            // Ctrl-C in a terminal goes to a whole group, and must not reach the child: `up` ends
            // things in their order.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| StartError::Spawn { program, source })?;
        let pid = child.id().unwrap_or_default();
        self.folder.remember(pid).map_err(|source| unusable(self.folder.path(), source))?;
        Ok(Server { child, pid, log: self.folder.log(), log_from, stderr })
    }

    /// The passwords are in the configuration and not here, where every user of the machine could
    /// read them.
    fn command_line(&self) -> (PathBuf, Vec<OsString>) {
        let server = [OsString::from("--config"), self.folder.config().into()];
        match self.guard.as_deref() {
            Some([program, first @ ..]) => {
                let mut args = first.to_vec();
                args.push(std::process::id().to_string().into());
                args.push(self.binary.clone().into());
                args.extend(server);
                (rooted(Path::new(program)), args)
            }
            Some([]) | None => (self.binary.clone(), server.into()),
        }
    }
}

/// A path that means the same in another working folder. A bare name is looked up on the path.
pub(super) fn rooted(path: &Path) -> PathBuf {
    if path.components().nth(1).is_none() {
        return path.to_owned();
    }
    // It fails for an empty path only, and that one is bare.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A nats-server process.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    pid: u32,
    log: PathBuf,
    /// How long the log was before this run.
    log_from: u64,
    stderr: PathBuf,
}

impl Server {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the process is gone.
    pub(super) async fn wait(&mut self) -> StartError {
        match self.child.wait().await {
            Ok(status) => self.ended(status),
            Err(source) => StartError::Unwatched(source),
        }
    }

    /// Waits until it serves JetStream.
    async fn ready(&mut self, launch: &Launch) -> Result<(), StartError> {
        let end = clock::instant() + ENGINE_START_PATIENCE;
        loop {
            let seen = tokio::select! {
                biased;
                ended = self.wait() => return Err(ended),
                seen = probe::ready(launch.ports, &launch.name) => seen,
            };
            match seen {
                Ok(()) => return Ok(()),
                Err(seen) if clock::instant() >= end => {
                    let (after, log) = (ENGINE_START_PATIENCE, self.last_lines());
                    return Err(StartError::NotReady { after, seen, log });
                }
                Err(_) => clock::pause(ENGINE_PROBE_EVERY).await,
            }
        }
    }

    /// Ends the process: it may write out what it has in memory, but not for ever.
    pub(super) async fn end(mut self, folder: &Folder) {
        for (signal, patience) in
            [(Signal::TERM, ENGINE_STOP_PATIENCE), (Signal::KILL, ENGINE_KILL_PATIENCE)]
        {
            // The process id is this child's for as long as nobody has waited for its end.
            if self.child.id().is_some() {
                send(self.pid, signal);
            }
            if timeout(patience, self.child.wait()).await.is_ok() {
                folder.forget();
                return;
            }
            tracing::warn!(pid = self.pid, ?signal, "nats-server does not end");
        }
    }

    fn ended(&self, status: ExitStatus) -> StartError {
        StartError::Ended { status, log: self.last_lines() }
    }

    fn last_lines(&self) -> String {
        last_lines(&self.log, self.log_from, &self.stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_guard_is_still_found_from_the_data_folder() {
        assert!(rooted(Path::new("target/sinew")).is_absolute());
        assert!(rooted(Path::new("./sinew")).is_absolute());
        assert_eq!(rooted(Path::new("sinew")), Path::new("sinew"));
        assert_eq!(rooted(Path::new("/bin/sinew")), Path::new("/bin/sinew"));
    }
}
