//! The log of one task, as a writer holds it: read it, ask it to move, and know what came of it.
//! This is the one way in which anything in Sinew changes a task. The rules are `model`'s, and the
//! patience of a writer is what all guarded logs share.

use sinew_model::{
    TaskId, Time,
    limits::APPEND_ROUNDS,
    task::{Actor, Change, Command, Entry, Refusal, State, Stored, Task},
};

use crate::{
    clock,
    connect::Bus,
    guarded::{self, Failed, Log},
    publish::{AppendError, PublishError},
    read::HistoryError,
};

/// What this process knows of one task, and the right to ask it to move.
#[derive(Clone, Debug)]
pub struct TaskLog {
    bus: Bus,
    id: TaskId,
    by: Actor,
    task: Task,
    /// It is no earlier than this, whatever the clock says.
    floor: Time,
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// The command does not apply to the task as it is now: an answer, not a fault.
    #[error("the task does not allow it")]
    Refused(#[source] Refusal),
    /// The entry was not stored, and never will be: it is too large, or the server does not
    /// want it.
    #[error("the entry could not be stored")]
    Rejected(#[source] AppendError),
    /// The log could not be reached, or is full. Nothing was stored; asking again may help.
    #[error("the entry could not be stored now")]
    Unreachable(#[source] AppendError),
    /// It is not known whether the entry was stored. Asking again is safe.
    #[error("it is not known whether the entry was stored")]
    Unknown(#[source] AppendError),
    /// The log could not be read.
    #[error("the task's log could not be read")]
    Unreadable(#[from] HistoryError),
    /// Other writers were faster, over and over.
    #[error("{APPEND_ROUNDS} other writers in a row were faster")]
    Crowded,
}

impl ExecuteError {
    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Rejected(_)
            | Self::Unreachable(_)
            | Self::Unknown(_)
            | Self::Unreadable(_)
            | Self::Crowded => None,
        }
    }

    /// Whether the same command may succeed later, by itself.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Rejected(_) => false,
            Self::Unreachable(_) | Self::Unknown(_) | Self::Unreadable(_) | Self::Crowded => true,
        }
    }

    /// Whether the entry is larger than the log takes.
    #[must_use]
    pub const fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::Rejected(AppendError::Publish { source: PublishError::TooLarge { .. } })
        )
    }
}

/// An entry that was stored on this writer's behalf.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Its sequence in the log's stream.
    pub seq: u64,
    /// What it says.
    pub entry: Entry,
}

impl TaskLog {
    /// A task of which nothing is known: the first command decides as if it did not exist, and
    /// reads its log if that turns out wrong.
    #[must_use]
    pub fn unread(bus: &Bus, id: TaskId, by: Actor) -> Self {
        Self { bus: bus.clone(), id, by, task: Task::default(), floor: Time::from_micros(0) }
    }

    /// Reads the log of a task.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn read(bus: &Bus, id: TaskId, by: Actor) -> Result<Self, HistoryError> {
        let mut log = Self::unread(bus, id, by);
        log.refresh().await?;
        Ok(log)
    }

    /// Reads the log of a task from whichever replica answers first. It may be behind; a command
    /// is refused only after the leader was asked.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn glimpse(bus: &Bus, id: TaskId, by: Actor) -> Result<Self, HistoryError> {
        let mut log = Self::unread(bus, id, by);
        log.task = bus.glimpse(&log.id).await?.task;
        Ok(log)
    }

    /// What is decided from now on is no earlier than `at`, which the server's clock has seen. A
    /// process whose own clock is behind would else not begin what the server says is due.
    #[must_use]
    pub const fn not_before(mut self, at: Time) -> Self {
        self.floor = at;
        self
    }

    /// The task.
    #[must_use]
    pub const fn id(&self) -> &TaskId {
        &self.id
    }

    /// Its state as last seen; `None` where it does not exist.
    #[must_use]
    pub const fn state(&self) -> Option<&State> {
        self.task.state.as_ref()
    }

    /// The sequence of the newest entry that this process knows.
    #[must_use]
    pub const fn last_seq(&self) -> u64 {
        self.task.last_seq
    }

    /// Reads the log anew if it has grown.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn refresh(&mut self) -> Result<(), HistoryError> {
        self.task = self.bus.history(&self.id).await?.task;
        Ok(())
    }

    /// Asks the task to move, and says which entry did it.
    ///
    /// # Errors
    /// See [`ExecuteError`]. A refusal was decided on the newest state of the log.
    pub async fn execute(&mut self, command: &Command) -> Result<Done, ExecuteError> {
        match guarded::execute(self, command).await {
            Ok((seq, entry)) => Ok(Done { seq, entry }),
            Err(Failed::Refused(refusal)) => Err(ExecuteError::Refused(refusal)),
            Err(Failed::Rejected(error)) => Err(ExecuteError::Rejected(error)),
            Err(Failed::Unreachable(error)) => Err(ExecuteError::Unreachable(error)),
            Err(Failed::Unknown(error)) => Err(ExecuteError::Unknown(error)),
            Err(Failed::Unreadable(error)) => Err(ExecuteError::Unreadable(error)),
            Err(Failed::Crowded) => Err(ExecuteError::Crowded),
        }
    }

    fn entry(&self, change: Change, at: Time) -> Entry {
        Entry {
            task_id: self.id.clone(),
            org_id: self.bus.subjects().org().clone(),
            at,
            by: self.by.clone(),
            change,
        }
    }
}

impl Log for TaskLog {
    type Command = Command;
    type Entry = Entry;
    type Refusal = Refusal;
    type Unreadable = HistoryError;

    async fn now(&self) -> Result<Time, HistoryError> {
        Ok(clock::now().max(self.floor))
    }

    fn decide(&self, command: &Command, at: Time) -> Result<Entry, Refusal> {
        self.task.decide(command, at).map(|change| self.entry(change, at))
    }

    async fn append(&self, entry: &Entry, token: &str) -> Result<u64, AppendError> {
        self.bus.append(entry, self.task.last_seq, token).await
    }

    fn stored(&mut self, seq: u64, token: String, entry: &Entry) {
        let expected = Some(self.task.last_seq);
        let stored = Stored { seq, expected, token: Some(token), time: None, entry: entry.clone() };
        if let Err(void) = self.task.apply(&self.id, &stored) {
            // What `decide` allows is never void; the laws of the model are tested for that.
            tracing::error!(task = %self.id, seq, %void, "an own entry is void");
        }
    }

    async fn reread(&mut self, word: &str) -> Result<Option<(u64, Entry)>, HistoryError> {
        let history = self.bus.history(&self.id).await?;
        self.task = history.task;
        let own =
            history.entries.into_iter().map(|logged| logged.stored).find(|stored| {
                stored.token.as_deref().is_some_and(|token| token.starts_with(word))
            });
        Ok(own.map(|stored| (stored.seq, stored.entry)))
    }
}
