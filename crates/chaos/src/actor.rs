//! The processes of a run and the links that they talk over: what most faults strike.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use sinew_testkit::{FaultProxy, proxy::Direction};

use crate::work::{Orders, Part};

/// One link to each server, for one process.
#[derive(Debug)]
pub(crate) struct Links(Vec<FaultProxy>);

impl Links {
    /// Links to the servers at those ports.
    pub(crate) fn to(ports: &[u16]) -> Self {
        Self(ports.iter().map(|port| FaultProxy::start(*port)).collect())
    }

    /// The addresses for a client.
    pub(crate) fn url(&self) -> String {
        self.0.iter().map(FaultProxy::url).collect::<Vec<_>>().join(",")
    }

    /// Closes what is open, and lets nothing in.
    pub(crate) fn cut(&self) {
        self.0.iter().for_each(FaultProxy::cut);
    }

    /// Holds up what the servers say.
    pub(crate) fn deafen(&self) {
        self.0.iter().for_each(|link| link.stall_only(Direction::ToClient));
    }

    /// Delivers everything late.
    pub(crate) fn slow(&self, by: Duration) {
        self.0.iter().for_each(|link| link.delay(by));
    }

    /// Ends every fault.
    pub(crate) fn heal(&self) {
        self.0.iter().for_each(FaultProxy::heal);
    }
}

/// What all processes of a run have in common.
#[derive(Debug)]
pub(crate) struct Home {
    /// Where they log.
    pub(crate) dir: PathBuf,
    /// What is laid over the catalogue of streams.
    pub(crate) overlay: String,
}

/// A process that does a part, over links of its own. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Actor {
    /// What it is called in logs and reports.
    pub(crate) name: String,
    pub(crate) links: Links,
    orders: Orders,
    log: PathBuf,
    child: Option<Child>,
    /// How often it ended without having been killed.
    pub(crate) exits: u32,
}

impl Actor {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        home: &Home,
        name: &str,
        links: Links,
        (part, commit_service): (Part, bool),
    ) -> anyhow::Result<Self> {
        let (url, overlay) = (links.url(), home.overlay.clone());
        let mut actor = Self {
            name: name.to_owned(),
            links,
            orders: Orders { url, overlay, commit_service, part },
            log: log_in(&home.dir, name),
            child: None,
            exits: 0,
        };
        actor.spawn()?;
        Ok(actor)
    }

    /// Starts the process, which must not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn spawn(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("obey")
            .arg(serde_json::to_string(&self.orders)?)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again where it ended by itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn look_after(&mut self) -> anyhow::Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        if let Some(status) = child.try_wait()? {
            tracing::warn!(name = self.name, %status, "it ended by itself");
            self.exits += 1;
            self.spawn()?;
        }
        Ok(())
    }

    /// Gives it another name, under which it is then started.
    ///
    /// # Errors
    /// When that is no name.
    pub(crate) fn rename(&mut self, new: &str) -> anyhow::Result<()> {
        new.clone_into(&mut self.name);
        if let Part::Agent { instance, .. } = &mut self.orders.part {
            *instance = new.parse()?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        drop(self.kill());
    }
}

fn log_in(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.log"))
}
