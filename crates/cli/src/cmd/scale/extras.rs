//! A team file and a place for health, as `up` and `server` take them.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use sinew_bus::{Auth, Bus, Config, clock};
use sinew_server::{Settings, actuate::Launch, serve, team::TeamFile};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Outside;
use crate::{
    cmd::GUARD,
    env,
    exit::{Code, Fault},
};

/// Where health is told where nobody says otherwise: on this machine only, on a free port.
pub(crate) const HEALTH: &str = "127.0.0.1:0";

/// The file in a data folder that keeps the part of instance names which is this folder's own.
const TAG: &str = "instance-tag";

/// Letters of that part.
const TAG_LETTERS: usize = 5;

/// What there is besides the controllers.
pub(crate) struct Extras {
    team: Option<TeamFile>,
    /// Whether agents are started here.
    starts: bool,
    listener: Arc<TcpListener>,
    address: SocketAddr,
    outside: Outside,
}

impl Extras {
    /// Reads the team, and listens.
    ///
    /// # Errors
    /// When the team makes no sense, or nothing can listen there.
    pub(crate) async fn open(
        team: Option<&Path>,
        health: SocketAddr,
        starts: bool,
    ) -> anyhow::Result<Self> {
        let team = match team {
            Some(path) => Some(TeamFile::open(path).await?),
            None => None,
        };
        if let Some(file) = team.as_ref().filter(|_| starts) {
            let team = file.watch().borrow().clone();
            let lame = team.roles.iter().find(|(_, it)| it.start.is_none() && it.policy.max > 0);
            if let Some((role, _)) = lame {
                return Err(Fault::usage(format!("the role {role} of the team has no `command`"))
                    .hint(format!("add command = [\"PROGRAM\", …] to [roles.{role}], or max = 0"))
                    .into());
            }
        }
        let listener = TcpListener::bind(health).await.map_err(|error| {
            Fault::new(Code::Refused, format!("nothing can listen on {health}: {error}"))
                .hint("name another --health ADDRESS:PORT")
        })?;
        let address = listener.local_addr()?;
        Ok(Self {
            team,
            starts,
            listener: Arc::new(listener),
            address,
            outside: Outside::default(),
        })
    }

    /// With scalers of somebody else's, who may ask.
    pub(crate) fn asked_by(mut self, outside: Outside) -> Self {
        self.outside = outside;
        self
    }

    /// Where KEDA may ask.
    pub(crate) fn keda_url(&self) -> Option<String> {
        self.outside.keda()
    }

    /// Where health is told.
    pub(crate) fn health_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts all of it into the settings of a service. `reach` is what an agent needs in its
    /// environment to find the backbone.
    ///
    /// # Errors
    /// When this machine does not know who it is.
    pub(crate) fn furnish(
        &self,
        settings: &mut Settings,
        data_dir: &Path,
        reach: Vec<(OsString, OsString)>,
    ) -> anyhow::Result<()> {
        settings.listener = Some(Arc::clone(&self.listener));
        let Some(team) = &self.team else { return Ok(()) };
        settings.team = Some(team.watch());
        if self.starts {
            let this = std::env::current_exe().context("this program does not know where it is")?;
            let agent: [OsString; 3] = [this.clone().into(), "agent".into(), "run".into()];
            let kept = [env::LOG];
            let without = env::TABLE.iter().map(|(name, _)| *name).filter(|it| !kept.contains(it));
            settings.launch = Some(Launch {
                guard: [this.into(), GUARD.into()],
                agent: agent.into(),
                folder: team.folder(),
                env: reach,
                without: without.map(OsString::from).collect(),
                tag: tag(data_dir)?,
            });
        }
        Ok(())
    }

    /// Serves, answers who asks, and takes up changes of the team meanwhile.
    ///
    /// # Errors
    /// As [`serve()`], and when nobody can be answered any more.
    pub(crate) async fn serve(
        self,
        bus: Bus,
        settings: Settings,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let asked = self.outside.run(bus.clone(), stop.clone());
        let following = async {
            if let Some(team) = self.team {
                team.follow(stop.clone()).await;
            }
        };
        let (served, asked, ()) = tokio::join!(
            async {
                let served = serve(bus, settings, stop.clone()).await;
                stop.cancel();
                served
            },
            async {
                let asked = asked.await;
                if asked.is_err() {
                    stop.cancel();
                }
                asked
            },
            following
        );
        served.map_err(anyhow::Error::from).and(asked)
    }
}

/// What an agent needs to find servers that somebody else runs.
///
/// # Errors
/// When the working folder is not known.
pub(crate) fn reach(config: &Config) -> anyhow::Result<Vec<(OsString, OsString)>> {
    let mut reach: Vec<(OsString, OsString)> = vec![
        (env::URL.into(), config.url.clone().into()),
        (env::ORG.into(), config.org.to_string().into()),
    ];
    if let Auth::Credentials(creds) = &config.auth {
        let creds: PathBuf = std::path::absolute(creds).context("the folder of the credentials")?;
        reach.push((env::CREDS.into(), creds.into()));
    }
    Ok(reach)
}

/// The part of instance names that is this folder's own. It stays, so that an agent which is started
/// again takes back at once what an earlier one of its name held.
fn tag(data_dir: &Path) -> anyhow::Result<String> {
    let path = data_dir.join(TAG);
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let known = known.trim();
    if known.len() == TAG_LETTERS && known.bytes().all(|it| it.is_ascii_alphanumeric()) {
        return Ok(known.to_owned());
    }
    let unique = clock::unique();
    let tag = unique.get(unique.len().saturating_sub(TAG_LETTERS)..).unwrap_or(&unique);
    std::fs::create_dir_all(data_dir)
        .and_then(|()| std::fs::write(&path, tag))
        .with_context(|| path.display().to_string())?;
    Ok(tag.to_owned())
}
