//! The controllers that run inside `sinew up`: the shared committer and the view of tasks.

use std::path::PathBuf;

use anyhow::Context as _;
use sinew_bus::{Bus, CommitService, Topology};
use sinew_model::stream::{AGENT_MAIL, AGENT_TASKS, ORG_EVENTS, TASK_LOG};
use sinew_views::{Projection, Store};
use tokio_util::sync::CancellationToken;

/// What the controllers need to know.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The streams and consumers.
    pub(crate) topology: Topology,
    /// The file of the views.
    pub(crate) views: PathBuf,
}

/// Runs until `shutdown`.
///
/// # Errors
/// When a controller can't go on.
pub(crate) async fn serve(
    bus: Bus,
    settings: Settings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    for stream in [AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS] {
        settings.topology.ensure_stream(&bus, stream).await?;
    }
    let commit = CommitService::bind(&bus, &[AGENT_TASKS, TASK_LOG, AGENT_MAIL, ORG_EVENTS]);
    let commit = commit.await.context("the committer does not start")?;
    let store = Store::open(settings.views, bus.subjects().clone()).await?;
    let projection = Projection::new(store);
    let (followed, ()) =
        tokio::join!(projection.follow(&bus, shutdown.clone()), commit.run(shutdown.clone()));
    followed.context("the view of tasks")
}
