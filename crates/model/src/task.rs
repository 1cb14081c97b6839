//! A task's life: what is delegated, and the entries of its log.
//!
//! ```text
//! created -> started(attempt) -> progress* -> completed | failed | cancelled | dead
//!               ^        |
//!               |        +-> released(attempt) -> enqueued(epoch)
//!               +-------------------------------------'
//! ```

mod assignment;
mod command;
mod entry;

pub use assignment::{Assignment, AssignmentError};
pub use command::{Command, Refusal};
pub use entry::{
    Actor, Change, DeadCause, DecodeError, Effect, EnqueueReason, Entry, ReleaseReason, Start,
    Transition,
};
