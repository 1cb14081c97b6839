//! Tasks: the projection of `TASK_LOG`, and what may be asked of it.
//!
//! ```text
//! TASK_LOG -> follow -> fold (model::task::Task, row) -> tasks, waits, entries, voids -> query
//! ```
//!
//! A rebuilt view equals the live one, as long as the stream still holds what the live one has
//! folded. The entries of a task that has ended may be purged from the stream: such a task is in
//! the live view until that is rebuilt, and absent afterwards. Tasks that have not ended are never
//! purged, so a rebuild has all of them, unchanged.

mod accepted;
mod build;
mod fold;
mod follow;
mod query;
mod row;
mod source;
mod tables;
mod waits;

use sinew_bus::RawMessage;
use sinew_model::{Entry, Subjects, stream::TASK_LOG, task::Change};

use crate::store::{Layout, Said};

pub use build::{Build, BuildError, Why};
pub use fold::{FoldError, VoidKind};
pub use follow::{FollowError, Projection};
pub use query::{
    Candidates, Count, EntryRow, Filter, Life, PHASES, Page, Round, Tree, Unended, VoidRow,
};
pub use row::TaskRow;
pub use waits::News;

/// What the view of tasks is made of.
pub(crate) static LAYOUT: Layout = Layout {
    // `Sinw`.
    application: 0x5369_6e77,
    version: tables::VERSION,
    tables: tables::TABLES,
    views: &tables::VIEWS,
    stream: TASK_LOG,
    filter: |subjects| subjects.logs().to_string(),
    said,
    fold: fold::fold_entries,
};

fn said(subjects: &Subjects, raw: &RawMessage) -> Option<Said> {
    let entry = Entry::decode(subjects, &raw.subject, &raw.payload).ok()?;
    let created = |change| {
        if let Change::Created { assignment, .. } = change { Some(assignment) } else { None }
    };
    let assignment = created(entry.change);
    Some(Said { by: entry.by.role, assignment })
}
