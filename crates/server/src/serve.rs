//! Everything that runs beside the agents of one org, as one service: it keeps the view of the
//! tasks up with their log, listens for signs of life, takes back what dead agents held, moves
//! waiting tasks and meetings on, sees to ends, sweeps, makes streams again that were deleted,
//! finds messages that lie astray, and commits for other processes.
//! It may run twice for one org: each part decides by compare-and-set.

use std::{path::PathBuf, sync::Arc};

use sinew_bus::{Bus, CommitService, EnsureError, Topology, VouchError, clock};
use sinew_model::{IdError, stream, team::Team};
use sinew_views::{OpenError, Projection, Store, task::FollowError};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    actuate::{Actuator, Launch},
    control::{
        accepted::Accepted,
        astray::Astray,
        bodies::{self, Collector},
        ends::Ends,
        health::Checkup,
        meeting::Meetings,
        orphan::Orphans,
        parked::Parked,
        presence::Presence,
        scale::Scaler,
        schedule::{Recurring, RecurringError},
        standing::Standing,
        streams::{self, Streams},
        sweep::{CONTROLLERS, Pace, Sweep},
        wake::Wake,
    },
    face,
};

/// The streams for which a committer stands ready: those of the hot path.
const COMMITTED: [&str; 4] =
    [stream::AGENT_TASKS, stream::TASK_LOG, stream::AGENT_MAIL, stream::ORG_EVENTS];

/// What the service is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The streams and consumers of the org; what is missing is made.
    pub topology: Topology,
    /// The file of the views. It may be deleted whenever nothing uses it.
    pub views: PathBuf,
    /// The same, where somebody else in this process has it open already.
    pub store: Option<Store>,
    /// How often the sweep looks, and how soon it doubts.
    pub pace: Pace,
    /// The login of the system account, by which the server tells at once of connections that end;
    /// without it, a dead agent is noticed by its silence.
    pub system: Option<sinew_bus::Config>,
    /// What the org's account says of its keys and users, for whoever verifies a signature.
    pub statement: Option<String>,
    /// How often large bodies that nobody claims are looked for, and how old they must be.
    pub bodies: bodies::Pace,
    /// How often streams are looked for that somebody deleted.
    pub streams: streams::Pace,
    /// The roles that are scaled, now and when they change.
    pub team: Option<watch::Receiver<Arc<Team>>>,
    /// How the agents of the team are started on this machine; `None` where others start them.
    pub launch: Option<Launch>,
    /// Where it is asked over HTTP how this server fares.
    pub listener: Option<Arc<TcpListener>>,
}

impl Settings {
    /// The standard pace, without the system account.
    #[must_use]
    pub fn new(topology: Topology, views: impl Into<PathBuf>) -> Self {
        Self {
            topology,
            views: views.into(),
            store: None,
            pace: Pace::default(),
            system: None,
            statement: None,
            bodies: bodies::Pace::default(),
            streams: streams::Pace::default(),
            team: None,
            launch: None,
            listener: None,
        }
    }
}

/// Why the service does not run, or no longer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A stream is missing and can't be made.
    #[error("the streams of the org are not as they are to be")]
    Ensure(#[from] EnsureError),
    /// The views can't be opened.
    #[error("the views can't be opened")]
    Views(#[from] OpenError),
    /// The views can't be asked.
    #[error("the views can't be asked")]
    Query(#[from] sinew_views::QueryError),
    /// The committer can't listen.
    #[error("the committer can't listen")]
    Commit(#[from] sinew_bus::ServeError),
    /// The firings of recurring tasks can't be taken.
    #[error("the firings of recurring tasks can't be taken")]
    Recurring(#[from] RecurringError),
    /// What the account says of its keys could not be made known.
    #[error("whose signatures count could not be made known")]
    Vouch(#[from] VouchError),
    /// A name that the service uses is not acceptable.
    #[error("the controllers have no name")]
    Name(#[from] IdError),
    /// The view of the tasks can't be kept up.
    #[error("the view of the tasks can't be kept up")]
    Follow(#[from] FollowError),
    /// There is no thread for the agents of the team.
    #[error("the agents of the team can't be started")]
    Actuate(#[source] std::io::Error),
    /// Nobody can ask over HTTP how it fares.
    #[error("the face over HTTP is broken")]
    Face(#[source] std::io::Error),
    /// A part of the service panicked.
    #[error("a part of the service broke")]
    Broken(#[from] tokio::task::JoinError),
}

/// Serves one org until `shutdown`.
///
/// # Errors
/// See [`ServeError`]. Where one part fails, all are stopped.
pub async fn serve(
    bus: Bus,
    settings: Settings,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    for spec in &settings.topology.catalogue().streams {
        settings.topology.ensure_stream(&bus, spec.name).await?;
    }
    if let Some(statement) = &settings.statement {
        bus.vouch(statement).await?;
    }
    let store = match settings.store {
        Some(store) => store,
        None => Store::open(settings.views, bus.subjects().clone()).await?,
    };
    let began = store.reached().await?;
    let accepted = Accepted::new(bus.clone(), store.clone(), settings.pace, began)?;
    let projection = Projection::new(store);
    let presence = Presence::default();
    let committer = CommitService::bind(&bus, &COMMITTED).await?;
    let sweep = Sweep::new(bus.clone(), projection.clone(), presence.clone(), settings.pace)?
        .with_given_up(settings.topology.catalogue().consumers.max_deliver > 0);
    let wake = Wake::new(bus.clone(), projection.store().clone())?;
    let ends = Ends::new(bus.clone(), &settings.topology)?;
    let parked = Parked::new(bus.clone(), presence.clone())?;
    let orphans = Orphans::new(bus.clone(), settings.system)?;
    let recurring = Recurring::bind(&bus).await?;
    let meetings = Meetings::new(bus.clone())?;

    let collector = Collector::new(bus.clone(), settings.bodies);
    let astray = Astray::new(bus.clone(), settings.topology.clone(), settings.streams.astray);
    let streams = Streams::new(bus.clone(), settings.topology, settings.streams);
    let scaled = Scaled::new(&bus, projection.store(), &presence)?;
    let (checkup, (team, launch)) = (scaled.checkup.clone(), (settings.team, settings.launch));

    let mut parts = Parts { running: JoinSet::new(), stop: shutdown.child_token() };
    let listening = bus.clone();
    parts.add(|stop| presence.listen(listening, stop));
    parts.add(|stop| committer.run(stop));
    parts.add(|stop| sweep.run(stop));
    parts.add(|stop| wake.run(stop));
    parts.add(|stop| accepted.run(stop));
    parts.add(|stop| parked.run(stop));
    parts.add(|stop| recurring.run(stop));
    parts.add(|stop| meetings.run(stop));
    parts.add(|stop| orphans.run(stop));
    parts.add(|stop| collector.run(stop));
    parts.add(|stop| streams.run(stop));
    parts.add(|stop| astray.run(stop));
    scaled.start(&mut parts, team, launch);
    if let Some(listener) = settings.listener {
        parts.add_fallible(|stop| answer(listener, checkup, stop));
    }
    parts.add_fallible(|stop| async move { Ok(ends.run(stop).await?) });
    parts.add_fallible(|stop| async move { Ok(projection.follow(&bus, stop).await?) });
    parts.run().await
}

/// What there is to scaling and to health.
struct Scaled {
    bus: Bus,
    me: String,
    by: sinew_model::Role,
    view: Store,
    presence: Presence,
    standing: Standing,
    checkup: Checkup,
}

impl Scaled {
    fn new(bus: &Bus, view: &Store, presence: &Presence) -> Result<Self, IdError> {
        let (me, standing) = (clock::unique(), Standing::default());
        let told = (presence.clone(), standing.clone());
        let checkup = Checkup::new(bus.clone(), me.clone(), told, Some(view.clone()));
        let (bus, view, presence) = (bus.clone(), view.clone(), presence.clone());
        Ok(Self { bus, me, by: CONTROLLERS.parse()?, view, presence, standing, checkup })
    }

    /// Starts the parts that there are to be.
    fn start(
        self,
        parts: &mut Parts,
        team: Option<watch::Receiver<Arc<Team>>>,
        launch: Option<Launch>,
    ) {
        let Self { bus, me, by, view, presence, standing, checkup } = self;
        parts.add(|stop| checkup.run(stop));
        let Some(team) = team else { return };
        let seen = (presence.clone(), Some(view));
        let scaler = Scaler::new(bus.clone(), me.clone(), team.clone(), seen);
        let scaler = scaler.telling(standing.clone());
        parts.add(|stop| scaler.run(stop));
        let Some(launch) = launch else { return };
        let actuator = Actuator::new(bus, (me, by), team, (presence, standing), launch);
        parts.add_fallible(
            |stop| async move { actuator.run(stop).await.map_err(ServeError::Actuate) },
        );
    }
}

/// Tells over HTTP how this server fares.
async fn answer(
    listener: Arc<TcpListener>,
    checkup: Checkup,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    // A copy, since whoever set it up may look at its address still.
    let listener = copied(&listener).map_err(ServeError::Face)?;
    let routes = face::health::router(checkup.clone()).merge(face::metrics::router(checkup));
    face::listen(listener, routes, stop).await.map_err(ServeError::Face)
}

fn copied(listener: &TcpListener) -> std::io::Result<TcpListener> {
    let copy = std::os::fd::AsFd::as_fd(listener).try_clone_to_owned()?;
    TcpListener::from_std(copy.into())
}

/// The parts of the service. One that fails takes the others with it.
struct Parts {
    running: JoinSet<Result<(), ServeError>>,
    stop: CancellationToken,
}

impl Parts {
    /// Starts a part that gets over whatever happens.
    fn add<F>(&mut self, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let part = part(self.stop.clone());
        self.running.spawn(async move {
            part.await;
            Ok(())
        });
    }

    /// Starts a part that may fail.
    fn add_fallible<F>(&mut self, part: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), ServeError>> + Send + 'static,
    {
        self.running.spawn(part(self.stop.clone()));
    }

    /// Waits until all of them have ended, and gives the first failure.
    async fn run(mut self) -> Result<(), ServeError> {
        let mut outcome = Ok(());
        while let Some(ended) = self.running.join_next().await {
            self.stop.cancel();
            let ended = ended.unwrap_or_else(|error| Err(error.into()));
            outcome = outcome.and(ended);
        }
        outcome
    }
}
