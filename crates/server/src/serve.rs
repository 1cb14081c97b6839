//! Everything that runs beside the agents of one org, as one service: it keeps the view of the
//! tasks up with their log, listens for signs of life, takes back what dead agents held, sweeps,
//! makes streams again that were deleted, and commits for other processes.
//! It may run twice for one org: each part decides by compare-and-set.

use std::path::PathBuf;

use sinew_bus::{Bus, CommitService, EnsureError, Topology};
use sinew_model::{IdError, stream};
use sinew_views::{OpenError, Projection, Store, task::FollowError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::control::{
    bodies::{self, Collector},
    orphan::Orphans,
    presence::Presence,
    schedule::{Recurring, RecurringError},
    streams::{self, Streams},
    sweep::{Pace, Sweep},
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
    /// How often the sweep looks, and how soon it doubts.
    pub pace: Pace,
    /// The login of the system account, by which the server tells at once of connections that end;
    /// without it, a dead agent is noticed by its silence.
    pub system: Option<sinew_bus::Config>,
    /// How often large bodies that nobody claims are looked for, and how old they must be.
    pub bodies: bodies::Pace,
    /// How often streams are looked for that somebody deleted.
    pub streams: streams::Pace,
}

impl Settings {
    /// The standard pace, without the system account.
    #[must_use]
    pub fn new(topology: Topology, views: impl Into<PathBuf>) -> Self {
        Self {
            topology,
            views: views.into(),
            pace: Pace::default(),
            system: None,
            bodies: bodies::Pace::default(),
            streams: streams::Pace::default(),
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
    /// The committer can't listen.
    #[error("the committer can't listen")]
    Commit(#[from] sinew_bus::ServeError),
    /// The firings of recurring tasks can't be taken.
    #[error("the firings of recurring tasks can't be taken")]
    Recurring(#[from] RecurringError),
    /// A name that the service uses is not acceptable.
    #[error("the controllers have no name")]
    Name(#[from] IdError),
    /// The view of the tasks can't be kept up.
    #[error("the view of the tasks can't be kept up")]
    Follow(#[from] FollowError),
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
    let store = Store::open(settings.views, bus.subjects().clone()).await?;
    let projection = Projection::new(store);
    let presence = Presence::default();
    let committer = CommitService::bind(&bus, &COMMITTED).await?;
    let sweep = Sweep::new(bus.clone(), projection.clone(), presence.clone(), settings.pace)?;
    let orphans = Orphans::new(bus.clone(), settings.system)?;

    let recurring = Recurring::bind(&bus).await?;

    let collector = Collector::new(bus.clone(), settings.bodies);
    let streams = Streams::new(bus.clone(), settings.topology, settings.streams);

    // One part that fails takes the others with it.
    let stop = shutdown.child_token();
    let mut parts: JoinSet<Result<(), ServeError>> = JoinSet::new();
    let (listening, token) = (bus.clone(), stop.clone());
    parts.spawn(async move {
        presence.listen(listening, token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        committer.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        sweep.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        recurring.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        orphans.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        collector.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move {
        streams.run(token).await;
        Ok(())
    });
    let token = stop.clone();
    parts.spawn(async move { Ok(projection.follow(&bus, token).await?) });

    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        stop.cancel();
        let ended = ended.unwrap_or_else(|error| Err(error.into()));
        outcome = outcome.and(ended);
    }
    outcome
}
