//! Events: the projection of `ORG_EVENTS`, and what may be asked of it.
//!
//! ```text
//! ORG_EVENTS -> follow -> fold -> events, words (FTS5), daily, actors, strays -> query
//! ```
//!
//! It has a file of its own beside that of tasks, so that a burst of events makes no reader of tasks
//! wait. A rebuilt view equals the live one as long as the stream still holds what the live one has
//! folded; events age out of the stream, and what is to be kept longer is exported.

mod fold;
mod query;

use std::{path::PathBuf, time::Duration};

use sinew_bus::{Bus, RawMessage};
use sinew_model::{Subjects, event::Event, stream::ORG_EVENTS};
use tokio_util::sync::CancellationToken;

use crate::{
    message::Batch,
    store::{Checkpoint, Layout, OpenError, QueryError, Said, Store, WaitError},
    task::{Build, FoldError, FollowError, Projection, Why},
};

pub use query::{ActorRow, DayRow, EventRow, Search};

/// The events of one org. Clones share it; any number of processes may work on one file.
#[derive(Clone, Debug)]
pub struct EventView {
    projection: Projection,
}

/// The tables of the view of events.
const TABLES: &str = "
CREATE TABLE events_{g} (
    seq       INTEGER PRIMARY KEY,
    stored_at INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    role      TEXT NOT NULL,
    action    TEXT NOT NULL,
    task_id   TEXT,
    -- By its signature; null where it has none.
    sender    TEXT,
    details   TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;
CREATE INDEX events_{g}_task ON events_{g} (task_id, seq) WHERE task_id IS NOT NULL;
CREATE INDEX events_{g}_role ON events_{g} (role, seq);
CREATE INDEX events_{g}_time ON events_{g} (stored_at, seq);
-- The words stand in the table above and only their places are here.
CREATE VIRTUAL TABLE words_{g} USING fts5 (
    kind, role, action, details,
    content = 'events_{g}', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);
-- Days since 1970, by the server's clock.
CREATE TABLE daily_{g} (
    day    INTEGER NOT NULL,
    role   TEXT NOT NULL,
    kind   TEXT NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (day, role, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE actors_{g} (
    role        TEXT NOT NULL PRIMARY KEY,
    events      INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    last_action TEXT NOT NULL,
    last_task   TEXT
) STRICT, WITHOUT ROWID;
-- What is no event, or not from who it says.
CREATE TABLE strays_{g} (
    seq       INTEGER PRIMARY KEY,
    stored_at INTEGER NOT NULL,
    reason    TEXT NOT NULL
) STRICT;
";

static LAYOUT: Layout = Layout {
    // `SnwE`.
    application: 0x536e_7745,
    version: 1,
    tables: TABLES,
    views: &["events", "words", "daily", "actors", "strays"],
    stream: ORG_EVENTS,
    filter: |subjects| subjects.events().to_string(),
    said,
    fold: fold::fold,
};

fn said(_: &Subjects, raw: &RawMessage) -> Option<Said> {
    let event: Event = serde_json::from_slice(&raw.payload).ok()?;
    Some(Said { by: event.agent_role, assignment: None })
}

impl EventView {
    /// Opens the events of an org in the file at `path`; makes the file where it is missing.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: impl Into<PathBuf>, subjects: Subjects) -> Result<Self, OpenError> {
        let store = Store::open_at(Some(path.into()), subjects, &LAYOUT).await?;
        Ok(Self { projection: Projection::new(store) })
    }

    /// Opens a view that is gone with its last clone.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_in_memory(subjects: Subjects) -> Result<Self, OpenError> {
        let store = Store::open_at(None, subjects, &LAYOUT).await?;
        Ok(Self { projection: Projection::new(store) })
    }

    /// Folds everything that the stream holds at the time of the call; gives the sequence reached.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn catch_up(&self, bus: &Bus) -> Result<u64, FollowError> {
        self.projection.catch_up(bus).await
    }

    /// Keeps the view up with the stream until `shutdown`.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn follow(&self, bus: &Bus, shutdown: CancellationToken) -> Result<(), FollowError> {
        self.projection.follow(bus, shutdown).await
    }

    /// Builds the view again beside the live one, and then makes it the live one.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn rebuild(&self, bus: &Bus) -> Result<u64, FollowError> {
        self.projection.rebuild(bus).await
    }

    /// Folds a part of the stream into the live view.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn fold(&self, batch: Batch) -> Result<Checkpoint, FoldError> {
        self.store().fold_tasks(batch).await
    }

    /// Begins to build the view again, from batches that the caller has.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn build(&self, why: Why) -> Result<Build, FoldError> {
        self.store().build_tasks(why).await
    }

    /// How far the live view has read its stream.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, QueryError> {
        self.store().checkpoint().await
    }

    /// Waits until the live view holds everything up to `seq`, whoever folds it.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub async fn wait_until(&self, seq: u64, patience: Duration) -> Result<(), WaitError> {
        self.store().wait_until(seq, patience).await
    }

    /// Tells how far the live view is, each time that this process has folded.
    #[must_use]
    pub fn watch_reached(&self) -> tokio::sync::watch::Receiver<u64> {
        self.store().watch_reached()
    }

    const fn store(&self) -> &Store {
        self.projection.store()
    }
}
