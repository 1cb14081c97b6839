//! Folds batches of the log into one generation of the tables, one transaction a batch.
//!
//! The checkpoint is compared before anything else and moves in the same transaction, so that an
//! entry is folded once however many processes try. A message that is no entry, or an entry that
//! breaks the law of the log, changes no task: it is kept among the voids, with the reason.

use std::collections::BTreeMap;

use rusqlite::{Transaction, params};
use serde::Serialize;
use sinew_model::{
    Address, Entry, Subjects, TaskId,
    limits::{self, head},
    task::{Change, DecodeError, Stored},
};

use super::row::{Folded, int, moment};
use crate::{
    message::{Batch, Message},
    store::{self, Checkpoint, Store},
};

/// Bytes of a subject that a void keeps; a subject of the grammar is far shorter.
const SUBJECT_BYTES: usize = 256;

/// Why a batch could not be folded. Nothing of it is in the view then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FoldError {
    /// SQLite could not write.
    #[error("the view could not be written")]
    Unusable(#[from] rusqlite::Error),
    /// A task's state could not be read back or written.
    #[error("the state of task {task} in the view is not readable")]
    State {
        /// The task.
        task: TaskId,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The batch is of another stream than the view, or the stream lost what the view has folded:
    /// the view must be rebuilt.
    #[error("the view is not of the stream as it is now")]
    OtherStream,
    /// The batch begins after the view's end: it would leave a gap.
    #[error("the batch begins after sequence {after}, but the view has only reached {reached}")]
    Gap {
        /// Where the batch begins.
        after: u64,
        /// How far the view is.
        reached: u64,
    },
    /// Another rebuild began later and has dropped this one's tables.
    #[error("another rebuild took over")]
    Superseded,
    /// Another version of Sinew has taken the file over.
    #[error("the view's tables are of schema {found}, this version knows {known}")]
    OtherVersion {
        /// The schema of the file now.
        found: i64,
        /// The schema of this version.
        known: i64,
    },
    /// The work was ended together with the runtime, or panicked.
    #[error("the fold was cut off")]
    Stopped(#[source] tokio::task::JoinError),
}

impl FoldError {
    /// Whether another process held the file, so that trying again helps.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Unusable(source) => store::is_busy(source),
            Self::State { .. }
            | Self::OtherStream
            | Self::Gap { .. }
            | Self::Superseded
            | Self::OtherVersion { .. }
            | Self::Stopped(_) => false,
        }
    }
}

/// Why a message on the log's subjects changes no task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum VoidKind {
    /// An entry that breaks the law of the log.
    Unlawful,
    /// A transition of a later version.
    Unknown,
    /// Not readable as an entry.
    Unreadable,
    /// It contradicts its subject, or is of another org.
    Alien,
    /// It is not signed by who it says.
    Forged,
}

impl VoidKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Unlawful, Self::Unknown, Self::Unreadable, Self::Alien, Self::Forged];

    /// The kind as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unlawful => "unlawful",
            Self::Unknown => "unknown",
            Self::Unreadable => "unreadable",
            Self::Alien => "alien",
            Self::Forged => "forged",
        }
    }

    /// The kind of that word.
    pub(super) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// Which generation a batch goes into.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// The one that queries see, whichever that is by now.
    Live,
    /// One that a rebuild fills.
    Build(i64),
}

impl Store {
    /// Folds a part of the stream into the live view. What the view has already is passed over.
    /// Gives the checkpoint after it.
    ///
    /// # Errors
    /// See [`FoldError`].
    pub async fn fold_tasks(&self, batch: Batch) -> Result<Checkpoint, FoldError> {
        let checkpoint = self.fold_tasks_into(Target::Live, batch).await?;
        self.tell_reached(checkpoint.seq);
        Ok(checkpoint)
    }

    pub(super) async fn fold_tasks_into(
        &self,
        target: Target,
        batch: Batch,
    ) -> Result<Checkpoint, FoldError> {
        let layout = self.layout();
        self.write(move |act, subjects| fold(act, subjects, layout, target, &batch))
            .await
            .map_err(FoldError::Stopped)?
    }
}

fn fold(
    act: &Transaction<'_>,
    subjects: &Subjects,
    layout: &store::Layout,
    target: Target,
    batch: &Batch,
) -> Result<Checkpoint, FoldError> {
    let found = store::tables_version(act)?;
    if found != layout.version {
        return Err(FoldError::OtherVersion { found, known: layout.version });
    }
    let (generation, mut checkpoint) = match target {
        Target::Live => store::live(act)?,
        Target::Build(generation) => {
            let known = store::checkpoint(act, generation)?.ok_or(FoldError::Superseded)?;
            (generation, known)
        }
    };
    compare(&checkpoint, batch)?;
    let before = checkpoint.seq;
    (layout.fold)(act, subjects, generation, batch, before)?;
    if let Some(newest) = batch.messages.iter().rfind(|message| message.seq > before) {
        checkpoint.seq = newest.seq;
        checkpoint.stored_at = Some(newest.stored_at);
    }
    if batch.through > checkpoint.seq {
        checkpoint.seq = batch.through;
        checkpoint.stored_at = None;
    }
    checkpoint.stream = Some(batch.stream.clone());
    store::set_checkpoint(act, generation, &checkpoint)?;
    Ok(checkpoint)
}

/// Folds the entries of a batch into the tables of tasks.
pub(super) fn fold_entries(
    act: &Transaction<'_>,
    subjects: &Subjects,
    generation: i64,
    batch: &Batch,
    before: u64,
) -> Result<(), FoldError> {
    let mut fold = Fold { act, subjects, generation, touched: BTreeMap::new() };
    for message in batch.messages.iter().filter(|message| message.seq > before) {
        fold.take(message)?;
    }
    fold.finish()
}

/// Refuses a batch that does not continue what the view holds.
fn compare(checkpoint: &Checkpoint, batch: &Batch) -> Result<(), FoldError> {
    if checkpoint.stream.as_ref().is_some_and(|stream| *stream != batch.stream) {
        return Err(FoldError::OtherStream);
    }
    if batch.after > checkpoint.seq {
        return Err(FoldError::Gap { after: batch.after, reached: checkpoint.seq });
    }
    // A server that lost its newest writes gives their sequences to other messages.
    let same = batch.messages.iter().find(|message| message.seq == checkpoint.seq);
    let replaced = same.is_some_and(|message| {
        checkpoint.stored_at.is_some_and(|stored_at| stored_at != message.stored_at)
    });
    if replaced { Err(FoldError::OtherStream) } else { Ok(()) }
}

/// One batch on its way into the tables.
struct Fold<'a> {
    act: &'a Transaction<'a>,
    subjects: &'a Subjects,
    generation: i64,
    /// The tasks that the batch touches: each is read once and written once.
    touched: BTreeMap<TaskId, Folded>,
}

impl Fold<'_> {
    fn take(&mut self, message: &Message) -> Result<(), FoldError> {
        let entry = match Entry::decode(self.subjects, &message.subject, &message.payload) {
            Ok(entry) => entry,
            Err(fault) => return self.pass_over(message, &fault),
        };
        if &entry.org_id != self.subjects.org() {
            return self.keep_void(message, None, VoidKind::Alien, "it is of another org");
        }
        let id = entry.task_id.clone();
        let stored = Stored {
            seq: message.seq,
            expected: message.expected,
            token: message.token.clone(),
            time: Some(message.stored_at),
            entry,
        };
        let folded = self.touch(&id)?;
        if let Some(reason) = &message.origin.refused {
            folded.task.refuse(message.seq);
            return self.keep_void(message, Some(&id), VoidKind::Forged, reason);
        }
        match folded.task.apply(&id, &stored) {
            Ok(()) => {
                folded.show(message.seq, &stored.entry);
                if let (Some(row), Some(by)) = (&mut folded.row, &message.origin.delegator) {
                    row.delegated_by = Some(by.clone());
                }
                self.keep_entry(message, &stored.entry)
            }
            Err(void) => self.keep_void(message, Some(&id), VoidKind::Unlawful, &void.to_string()),
        }
    }

    /// A message that is no entry: the task whose subject it came on must know its sequence.
    fn pass_over(&mut self, message: &Message, fault: &DecodeError) -> Result<(), FoldError> {
        let kind = match fault {
            DecodeError::Unknown(_) => VoidKind::Unknown,
            DecodeError::Malformed(_) => VoidKind::Unreadable,
            // Whatever else keeps it from being an entry of its subject.
            DecodeError::Subject(_) | DecodeError::Alien(_) | _ => VoidKind::Alien,
        };
        let id = match self.subjects.parse(&message.subject) {
            Some(Address::Entry(org, id, _)) if &org == self.subjects.org() => Some(id),
            _ => None,
        };
        if let Some(id) = &id {
            self.touch(id)?.task.skip(message.seq);
        }
        let reason = fault.to_string();
        self.keep_void(message, id.as_ref(), kind, head(&reason, limits::VIEW_VOID_BYTES))
    }

    fn touch(&mut self, id: &TaskId) -> Result<&mut Folded, FoldError> {
        if !self.touched.contains_key(id) {
            let folded = Folded::load(self.act, self.generation, id)?
                .map_err(|source| FoldError::State { task: id.clone(), source })?;
            self.touched.insert(id.clone(), folded);
        }
        Ok(self.touched.entry(id.clone()).or_default())
    }

    fn keep_entry(&self, message: &Message, entry: &Entry) -> Result<(), FoldError> {
        let sql = format!(
            "INSERT INTO entries_{} (seq, task_id, transition, at, stored_at, by_role,
                by_instance, attempt, body, sender)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            self.generation
        );
        self.act.prepare_cached(&sql)?.execute(params![
            int(message.seq),
            entry.task_id.as_str(),
            entry.change.transition().word(),
            moment(entry.at),
            moment(message.stored_at),
            entry.by.role.as_str(),
            entry.by.instance.as_ref().map(sinew_model::InstanceId::as_str),
            attempt(&entry.change),
            String::from_utf8_lossy(&message.payload),
            message.origin.sender,
        ])?;
        Ok(())
    }

    fn keep_void(
        &self,
        message: &Message,
        id: Option<&TaskId>,
        kind: VoidKind,
        reason: &str,
    ) -> Result<(), FoldError> {
        let sql = format!(
            "INSERT INTO voids_{} (seq, task_id, subject, kind, reason, stored_at, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            self.generation
        );
        let kept = message.payload.len().min(limits::VIEW_VOID_BYTES);
        let body = message.payload.get(..kept).unwrap_or_default();
        self.act.prepare_cached(&sql)?.execute(params![
            int(message.seq),
            id.map(TaskId::as_str),
            head(&message.subject, SUBJECT_BYTES),
            kind.word(),
            reason,
            moment(message.stored_at),
            String::from_utf8_lossy(body),
        ])?;
        Ok(())
    }

    fn finish(self) -> Result<(), FoldError> {
        for (id, mut folded) in self.touched {
            folded.settle();
            folded
                .save(self.act, self.generation, &id)?
                .map_err(|source| FoldError::State { task: id, source })?;
        }
        Ok(())
    }
}

/// The attempt that a change is of.
const fn attempt(change: &Change) -> Option<u32> {
    match change {
        Change::Started(start) => Some(start.attempt),
        Change::Progress { attempt, .. }
        | Change::Effect { attempt, .. }
        | Change::Blocked { attempt, .. }
        | Change::Waiting { attempt, .. }
        | Change::Submitted { attempt, .. }
        | Change::Refused { attempt, .. }
        | Change::Released { attempt, .. }
        | Change::Completed { attempt, .. }
        | Change::Failed { attempt, .. } => Some(*attempt),
        Change::Created { .. }
        | Change::Enqueued { .. }
        | Change::Answered { .. }
        | Change::Resumed { .. }
        | Change::Escalated { .. }
        | Change::Revived {}
        | Change::Cancelled { .. }
        | Change::Dead { .. } => None,
    }
}
