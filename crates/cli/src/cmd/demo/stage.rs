//! Where the demo is played: a backbone on a throw-away folder, and the agents as processes of
//! their own, just as a person would start them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use sinew_bus::{Bus, Topology, ensure::Consent};
use sinew_model::{Band, stream::AGENT_TASKS};
use sinew_server::{Engine, ServeError, Settings, context::Context, serve};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::repository::Repository;
use crate::{cmd::up, env, text, view};

/// The agents: who each is, what runs it, and the program itself.
const TEAM: [(&str, &str, &str, &str); 4] = [
    ("ceo", "python3", "ceo.py", include_str!("../../../../../examples/team/ceo.py")),
    ("cto", "python3", "cto.py", include_str!("../../../../../examples/team/cto.py")),
    ("marketing", "sh", "marketing.sh", include_str!("../../../../../examples/team/marketing.sh")),
    ("qa", "python3", "qa.py", include_str!("../../../../../examples/team/qa.py")),
];
/// Lines of an agent's log that a failure shows.
const LAST_LINES: usize = 8;

/// The backbone and the agents. When it is dropped, all of them are gone.
#[derive(Debug)]
pub(super) struct Stage {
    agents: BTreeMap<String, Child>,
    engine: Engine,
    bus: Bus,
    serving: JoinHandle<Result<(), ServeError>>,
    stop: CancellationToken,
    /// The working folder of the agents.
    place: PathBuf,
    /// The last to go, since everything else is in it.
    folder: TempDir,
}

impl Stage {
    /// Brings up the backbone.
    ///
    /// # Errors
    /// What kept it from coming up.
    pub(super) async fn set(
        repository: &Repository,
        nats_server: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("sinew-demo-").tempdir()?;
        for (_, _, name, program) in TEAM {
            std::fs::write(folder.path().join(name), program)?;
        }
        repository.copy(&folder.path().join("copy")).await?;
        let data_dir = folder.path().join("data");
        let config = up::engine_config(&data_dir, "acme".parse()?, nats_server).await?;
        let engine = Engine::start(config).await?;
        let bus = Bus::connect(engine.context().server_config()).await?;
        let topology = Topology::standard(&bus);
        let plan = topology.plan(&bus).await?;
        topology.apply(&bus, &plan, Consent::KeepMessages).await?;
        let stop = CancellationToken::new();
        let settings = Settings::new(topology, view::path_in(&data_dir));
        let serving = tokio::spawn(serve(bus.clone(), settings, stop.clone()));
        let (agents, place) = (BTreeMap::new(), repository.top.clone());
        Ok(Self { agents, engine, bus, serving, stop, place, folder })
    }

    /// The connection of the demo.
    pub(super) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The copy of the repository.
    pub(super) fn copy(&self) -> PathBuf {
        self.folder.path().join("copy")
    }

    /// Starts the agent of a role.
    ///
    /// # Errors
    /// When the system does not start it.
    pub(super) fn enter(&mut self, role: &str) -> anyhow::Result<()> {
        let member = TEAM.into_iter().find(|(known, ..)| *known == role);
        let (_, runner, name, _) = member.with_context(|| format!("{role} is not of the team"))?;
        let this = std::env::current_exe().context("this program does not know where it is")?;
        let log = std::fs::File::options().create(true).append(true).open(self.log(role))?;
        let given = env::search_path().unwrap_or_default();
        let own = this.parent().map(Path::to_owned);
        let path = std::env::join_paths(own.into_iter().chain(std::env::split_paths(&given)))?;
        let mut command = Command::new(&this);
        for (variable, _) in env::TABLE {
            command.env_remove(variable);
        }
        let words = "agent run --concurrency 1 --retry-first 300ms --drain 5s --role";
        command
            .args(words.split(' '))
            .args([role, "--instance", &format!("{role}-0"), "--", runner])
            .arg(self.folder.path().join(name))
            .current_dir(&self.place)
            .env("PATH", path)
            .env(env::CONTEXT, Context::path_in(&self.engine.context().data_dir))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true);
        self.agents.insert(role.to_owned(), command.spawn()?);
        Ok(())
    }

    /// Kills the agent of a role, and says which process it was.
    ///
    /// # Errors
    /// When it does not run.
    pub(super) async fn kill(&mut self, role: &str) -> anyhow::Result<u32> {
        let mut agent = self.agents.remove(role).with_context(|| format!("{role} is not there"))?;
        let pid = agent.id().with_context(|| format!("{role} has ended by itself"))?;
        agent.kill().await?;
        Ok(pid)
    }

    /// How many tasks a role has on its queue.
    ///
    /// # Errors
    /// When the server does not say.
    pub(super) async fn queued(&self, role: &str) -> anyhow::Result<u64> {
        let subject = self.bus.subjects().tasks(&role.parse()?, Band::Normal);
        let depth = self.bus.depth(AGENT_TASKS, subject.as_str()).await?;
        Ok(depth.values().sum())
    }

    /// The end of what each agent logged.
    pub(super) fn last_words(&self) -> String {
        let mut words = String::new();
        for (role, ..) in TEAM {
            let log = std::fs::read_to_string(self.log(role)).unwrap_or_default();
            let from = log.lines().count().saturating_sub(LAST_LINES);
            for line in log.lines().skip(from) {
                words.push_str(&format!("{role}: {}\n", text::clean(line)));
            }
        }
        words
    }

    /// Ends the agents, then the backbone, in order.
    pub(super) async fn strike(self) {
        let Self { mut agents, engine, bus, serving, stop, place: _, folder } = self;
        for agent in agents.values() {
            let pid = agent.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            if let Some(pid) = pid
                && let Err(error) = kill_process(pid, Signal::TERM)
            {
                tracing::debug!(%error, "an agent had ended by itself");
            }
        }
        for agent in agents.values_mut() {
            if let Err(error) = agent.wait().await {
                tracing::debug!(%error, "an agent can't be waited for");
            }
        }
        stop.cancel();
        match serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the controllers ended with an error");
            }
            Err(error) => tracing::warn!(%error, "the controllers broke"),
        }
        drop(bus);
        engine.stop().await;
        drop(folder);
    }

    fn log(&self, role: &str) -> PathBuf {
        self.folder.path().join(format!("{role}.log"))
    }
}
