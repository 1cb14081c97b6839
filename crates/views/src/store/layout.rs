//! What tells one kind of view from another: its stream, its tables and its fold. Everything else
//! (the file, checkpoints, rebuilding, following, waiting) is the same for all of them.

use rusqlite::Transaction;
use sinew_bus::RawMessage;
use sinew_model::{Assignment, Role, Subjects};

use crate::{message::Batch, task::FoldError};

/// One kind of view.
#[derive(Debug)]
pub(crate) struct Layout {
    /// What SQLite keeps in the header of the file to say what it is, so that the file of one kind
    /// is never emptied as an old one of another.
    pub(crate) application: i64,
    /// The version of the tables: a file of an earlier one is emptied.
    pub(crate) version: i64,
    /// The tables, with `{g}` for the number of their generation.
    pub(crate) tables: &'static str,
    /// The names of the tables without the number.
    pub(crate) views: &'static [&'static str],
    /// The stream that is folded.
    pub(crate) stream: &'static str,
    /// Which of the stream's subjects are folded.
    pub(crate) filter: fn(&Subjects) -> String,
    /// Who a message says it is from; `None` where it says nothing that could be held against its
    /// signature.
    pub(crate) said: fn(&Subjects, &RawMessage) -> Option<Said>,
    /// Folds the messages of a batch whose sequence is above the given one into a generation.
    pub(crate) fold: fn(&Transaction<'_>, &Subjects, i64, &Batch, u64) -> Result<(), FoldError>,
}

/// What a message says of who sent it.
#[derive(Debug)]
pub(crate) struct Said {
    /// The role that sent it.
    pub(crate) by: Role,
    /// The assignment whose delegator is to be proven as well.
    pub(crate) assignment: Option<Box<Assignment>>,
}
