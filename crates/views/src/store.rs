//! The file that holds the views of one org, and how it is shared.
//!
//! Several processes may have the file open: the one that `up` started and any number of
//! commands. SQLite's WAL lets all of them read while one writes, and every write is one
//! `IMMEDIATE` transaction that first compares the checkpoint, so that it does not matter who
//! folds an entry, nor whether two try. All work on the file runs on threads that may block.
//!
//! **Generations.** The tables of a view exist once per generation (`tasks_7`), and SQL views
//! without the number (`tasks`) show the live one. A rebuild fills a new generation beside the
//! live one, batch by batch, and one transaction makes it live and drops the old tables. So the
//! file itself is never swapped under a process that has it open, readers see either the old view
//! or the new one and always a whole one, and a rebuild that was interrupted leaves nothing but
//! tables that the next rebuild drops.

mod layout;
mod schema;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use sinew_bus::clock;
use sinew_model::{Subjects, Time, limits};
use tokio::sync::{Semaphore, watch};

use crate::task;

pub(crate) use layout::{Layout, Said};
pub(crate) use schema::{
    add_generation, checkpoint, drop_other_generations, live, make_live, set_checkpoint,
    tables_version,
};

/// How often an opening is tried while another process changes the file's journal mode, which
/// SQLite refuses at once and without waiting.
const OPEN_TRIES: u32 = 50;

/// The views of one org. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: &'static Layout,
    subjects: Subjects,
    /// `None`: in memory, where all share the one connection.
    path: Option<PathBuf>,
    /// The connection that writes, and in memory also reads.
    writer: Mutex<Connection>,
    /// Connections that read and are idle.
    readers: Mutex<Vec<Connection>>,
    /// Room for [`limits::VIEW_READERS`] queries at a time.
    reading: Arc<Semaphore>,
    /// The sequence up to which this process has seen the live view; waiters hold the other ends.
    reached: watch::Sender<u64>,
}

/// How far a view has read its stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The stream, by the time of its creation; `None` before the first batch.
    pub stream: Option<String>,
    /// The sequence up to which everything is folded.
    pub seq: u64,
    /// When the message at `seq` was stored, if there was one.
    pub stored_at: Option<Time>,
}

/// Why a view can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its folder can't be made.
    #[error("the folder of {} can't be made", .path.display())]
    Folder {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is a database of something else; it is left as it is.
    #[error("{} is a database, but not of Sinew", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Sinew wrote it; it is left as it is.
    #[error(
        "{} was written by a later version of Sinew (schema {found}, this one knows {known}); \
         use that version, or delete the file: it is built again from the stream",
        .path.display()
    )]
    Later {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema that this version knows.
        known: i64,
    },
    /// It holds the views of another org.
    #[error("{} holds the views of {found}, not of {wanted}", .path.display())]
    OtherOrg {
        /// The file.
        path: PathBuf,
        /// Whose views it holds, as root and org.
        found: String,
        /// Whose views were asked for, as root and org.
        wanted: String,
    },
    /// SQLite can't use it. A damaged file may be deleted: it is built again from the stream.
    #[error("{} can't be used; if it is damaged, delete it: it is built again", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The work on it was ended together with the runtime, or panicked.
    #[error("the opening of the view was cut off")]
    Stopped(#[source] tokio::task::JoinError),
}

/// Why a question to a view has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// SQLite could not answer.
    #[error("the view could not be read")]
    Unusable(#[from] rusqlite::Error),
    /// What the view holds is not readable: it was written by something else.
    #[error("the view's state of task {task} is not readable")]
    State {
        /// The task.
        task: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// There is no phase of that name.
    #[error("{0:?} is no phase of a task")]
    Phase(String),
    /// The work was ended together with the runtime, or panicked.
    #[error("the question to the view was cut off")]
    Stopped(#[source] tokio::task::JoinError),
    /// The store is closed.
    #[error("the view is closed")]
    Closed,
}

/// Why a wait for a sequence ended without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Nobody folded that far in time.
    #[error("the view has reached sequence {reached}, not {wanted}")]
    TimedOut {
        /// The sequence that was awaited.
        wanted: u64,
        /// The sequence that the view has reached.
        reached: u64,
    },
    /// The view could not be read.
    #[error("the view's checkpoint could not be read")]
    Query(#[from] QueryError),
}

impl QueryError {
    /// Whether another process held the file, so that trying again helps.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Unusable(source) if is_busy(source))
    }
}

impl Store {
    /// Opens the views of an org in the file at `path`; makes the file where it is missing, and
    /// empties it where an earlier version wrote it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(path: impl Into<PathBuf>, subjects: Subjects) -> Result<Self, OpenError> {
        Self::open_at(Some(path.into()), subjects, &task::LAYOUT).await
    }

    /// Opens views that are gone with the last clone of the store.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_in_memory(subjects: Subjects) -> Result<Self, OpenError> {
        Self::open_at(None, subjects, &task::LAYOUT).await
    }

    /// Opens views of another kind than tasks; without a path in memory.
    pub(crate) async fn open_at(
        path: Option<PathBuf>,
        subjects: Subjects,
        layout: &'static Layout,
    ) -> Result<Self, OpenError> {
        if let Some(folder) = path.as_deref().and_then(Path::parent) {
            tokio::fs::create_dir_all(folder).await.map_err(|source| OpenError::Folder {
                path: path.clone().unwrap_or_default(),
                source,
            })?;
        }
        let mut tries = 0;
        loop {
            let (place, names) = (path.clone(), subjects.clone());
            let opened =
                tokio::task::spawn_blocking(move || open_writer(place.as_deref(), &names, layout))
                    .await
                    .map_err(OpenError::Stopped)?;
            tries += 1;
            match opened {
                Ok((writer, reached)) => {
                    return Ok(Self::new(path, subjects, layout, writer, reached));
                }
                Err(OpenError::Unusable { source, .. })
                    if is_busy(&source) && tries < OPEN_TRIES =>
                {
                    clock::pause(limits::VIEW_LOOK_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn new(
        path: Option<PathBuf>,
        subjects: Subjects,
        layout: &'static Layout,
        writer: Connection,
        reached: u64,
    ) -> Self {
        let inner = Inner {
            layout,
            subjects,
            path,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            reading: Arc::new(Semaphore::new(limits::VIEW_READERS)),
            reached: watch::Sender::new(reached),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The subjects of the org whose views these are.
    #[must_use]
    pub fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// What kind of view this is.
    pub(crate) fn layout(&self) -> &'static Layout {
        self.inner.layout
    }

    /// How far the live view has read its stream.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn checkpoint(&self) -> Result<Checkpoint, QueryError> {
        self.read(|view| Ok(live(view)?.1)).await
    }

    /// The sequence up to which the live view holds everything.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn reached(&self) -> Result<u64, QueryError> {
        Ok(self.checkpoint().await?.seq)
    }

    /// The generation that a rebuild fills now, and how far it is.
    pub(crate) async fn building(&self) -> Result<Option<(i64, u64)>, QueryError> {
        self.read(|view| Ok(schema::building(view)?)).await
    }

    /// Waits until the live view holds everything up to `seq`, whoever folds it. Whoever wrote at
    /// that sequence sees its own write afterwards.
    ///
    /// # Errors
    /// See [`WaitError`].
    pub async fn wait_until(&self, seq: u64, patience: Duration) -> Result<(), WaitError> {
        let end = clock::instant() + patience;
        let mut changed = self.inner.reached.subscribe();
        loop {
            let reached = self.reached().await?;
            if reached >= seq {
                return Ok(());
            }
            let now = clock::instant();
            if now >= end {
                return Err(WaitError::TimedOut { wanted: seq, reached });
            }
            // Either this process folds, or the file tells at the next look.
            let next = end.min(now + limits::VIEW_LOOK_EVERY);
            drop(tokio::time::timeout_at(next, changed.changed()).await);
        }
    }

    /// Runs a question on a connection that reads, all of it on one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let place = Arc::clone(&self.inner.reading).acquire_owned().await;
        let Ok(place) = place else { return Err(QueryError::Closed) };
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            let answer = inner.read(question);
            drop(place);
            answer
        })
        .await
        .map_err(QueryError::Stopped)?
    }

    /// Runs `work` as one transaction on the connection that writes; its error rolls back.
    pub(crate) async fn write<T, E>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &Subjects) -> Result<T, E> + Send + 'static,
    ) -> Result<Result<T, E>, tokio::task::JoinError>
    where
        T: Send + 'static,
        E: From<rusqlite::Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            let mut writer = locked(&inner.writer);
            let act = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&act, &inner.subjects)?;
            act.commit()?;
            Ok(done)
        })
        .await
    }

    /// Tells how far the live view is, each time that this process has folded. Another process may
    /// have folded more.
    #[must_use]
    pub fn watch_reached(&self) -> watch::Receiver<u64> {
        self.inner.reached.subscribe()
    }

    /// Tells those who wait how far the live view is.
    pub(crate) fn tell_reached(&self, seq: u64) {
        self.inner.reached.send_replace(seq);
    }
}

impl Inner {
    fn read<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let Some(path) = &self.path else {
            return question(&*locked(&self.writer).transaction()?);
        };
        let idle = locked(&self.readers).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => open_reader(path)?,
        };
        let answer = question(&*reader.transaction()?);
        locked(&self.readers).push(reader);
        answer
    }
}

/// What the lock guards is a connection, and SQLite rolls back what a panic left open.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open(path)?;
    schema::tune(&reader)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}

fn open_writer(
    path: Option<&Path>,
    subjects: &Subjects,
    layout: &Layout,
) -> Result<(Connection, u64), OpenError> {
    let shown = path.unwrap_or_else(|| Path::new(":memory:"));
    let unusable = |source| OpenError::Unusable { path: shown.to_owned(), source };
    let opened = match path {
        Some(path) => Connection::open(path),
        None => Connection::open_in_memory(),
    };
    let mut writer = opened.map_err(unusable)?;
    schema::tune(&writer).map_err(unusable)?;
    schema::prepare(&mut writer, shown, subjects, layout)?;
    let (_, checkpoint) = live(&writer).map_err(unusable)?;
    Ok((writer, checkpoint.seq))
}

/// Whether another process holds the file, so that trying again helps.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked)
    )
}
