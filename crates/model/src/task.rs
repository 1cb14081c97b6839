//! A task's life, as a pure state machine.
//!
//! ```text
//! created -> started(attempt) -> progress* -> completed | failed | cancelled | dead
//!               ^        |
//!               |        +-> released(attempt) -> enqueued(epoch)
//!               +-------------------------------------'
//! ```
//!
//! [`decide`] turns a command into the one entry that may be appended now, or refuses it;
//! [`Task::apply`] folds an entry that was stored. Whoever appends does it by compare-and-set over
//! the whole task, so what `decide` saw is what `apply` meets: an entry that breaks the law can
//! only come from an alien writer, and is void.

mod assignment;
mod command;
mod decide;
mod entry;
mod fold;
mod sweep;

pub use assignment::{Assignment, AssignmentError};
pub use command::{Command, Refusal};
pub use decide::decide;
pub use entry::{
    Actor, Change, DeadCause, DecodeError, Effect, EnqueueReason, Entry, ReleaseReason, Start,
    Transition,
};
pub use fold::{Attempt, End, Phase, Task, Void, fold};
pub use sweep::{Facts, Presence, sweep};
