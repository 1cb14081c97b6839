//! The log of one task, as a writer holds it: read it, ask it to move, and know what came of it.
//! This is the one way in which anything in Sinew changes a task. The rules are `model`'s; what is
//! here is the patience: a lost race is read back and decided anew, and an answer that got lost is
//! looked for in the log by the writer's own token.

use sinew_model::{
    TaskId, Time,
    limits::APPEND_ROUNDS,
    task::{Actor, Change, Command, Entry, Refusal, State, Stored, Task},
};

use crate::{
    clock,
    connect::Bus,
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
        let word = clock::unique();
        let mut fresh = false;
        let mut lost = None;
        for round in 0..APPEND_ROUNDS {
            let at = clock::now().max(self.floor);
            let change = match self.task.decide(command, at) {
                Ok(change) => change,
                // What is known here may be old; the log may see it otherwise.
                Err(_) if !fresh => {
                    if let Some(done) = self.reread(&word).await? {
                        return Ok(done);
                    }
                    fresh = true;
                    continue;
                }
                Err(refusal) => return Err(ExecuteError::Refused(refusal)),
            };
            let entry = self.entry(change, at);
            let token = format!("{word}-{round}");
            match self.bus.append(&entry, self.task.last_seq, &token).await {
                Ok(seq) => return Ok(self.stored(seq, token, entry)),
                Err(AppendError::Conflict { .. }) => {}
                Err(error @ AppendError::Publish { source: PublishError::Unknown { .. } }) => {
                    if lost.is_some() {
                        return Err(ExecuteError::Unknown(error));
                    }
                    lost = Some(error);
                }
                Err(error) => return Err(failed(error)),
            }
            match self.reread(&word).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => fresh = true,
                // The log is out of reach, so the lost answer stays lost.
                Err(error) => {
                    return Err(lost.map_or(ExecuteError::Unreadable(error), ExecuteError::Unknown));
                }
            }
        }
        Err(ExecuteError::Crowded)
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

    /// Takes over what was just stored, without reading it back.
    fn stored(&mut self, seq: u64, token: String, entry: Entry) -> Done {
        let expected = Some(self.task.last_seq);
        let stored = Stored { seq, expected, token: Some(token), time: None, entry };
        if let Err(void) = self.task.apply(&self.id, &stored) {
            // What `decide` allows is never void; the laws of the model are tested for that.
            tracing::error!(task = %self.id, seq, %void, "an own entry is void");
        }
        Done { seq, entry: stored.entry }
    }

    /// Reads the log anew, and finds the entry that this writer stored without learning of it.
    async fn reread(&mut self, word: &str) -> Result<Option<Done>, HistoryError> {
        let history = self.bus.history(&self.id).await?;
        self.task = history.task;
        let own =
            history.entries.into_iter().map(|logged| logged.stored).find(|stored| {
                stored.token.as_deref().is_some_and(|token| token.starts_with(word))
            });
        Ok(own.map(|stored| Done { seq: stored.seq, entry: stored.entry }))
    }
}

fn failed(error: AppendError) -> ExecuteError {
    match &error {
        AppendError::Publish {
            source: PublishError::Unreachable { .. } | PublishError::Full { .. },
        } => ExecuteError::Unreachable(error),
        AppendError::Publish { .. }
        | AppendError::Conflict { .. }
        | AppendError::Alien { .. }
        | AppendError::Unencodable { .. } => ExecuteError::Rejected(error),
    }
}
