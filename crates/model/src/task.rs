//! A task's life: what is delegated, the entries of its log, the state that they add up to, and
//! what may be asked of it.
//!
//! ```text
//! created -> started(attempt) -> progress* -> completed | failed | cancelled | dead
//!               ^        |
//!               |        +-> released(attempt) -> enqueued(epoch)
//!               +-------------------------------------'
//! ```

mod assignment;
mod command;
mod decide;
mod entry;
mod state;
pub mod sweep;

pub use assignment::{Assignment, AssignmentError};
pub use command::{Command, Refusal};
pub use entry::{
    Actor, Change, DeadCause, DecodeError, Effect, EnqueueReason, Entry, ReleaseReason, Start,
    Transition,
};
pub use state::{End, Phase, State, Stored, Task, Void};
