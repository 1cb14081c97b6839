//! A task's life: what is delegated, the entries of its log, the state that they add up to, and
//! what may be asked of it.
//!
//! ```text
//! created -> started(attempt) -> progress* -> completed | failed | cancelled | dead
//!               ^        |                                                      |
//!               |        +-> released(attempt) -------------.                  |
//!               |        +-> blocked -> answered -----------|                  |
//!               |        +-> waiting -> resumed ------------|                  |
//!               |        +-> submitted -> refused ----------|                  |
//!               |                     '-> completed         |                  |
//!               +------------------------- enqueued(epoch) <+----- revived <---'
//! ```

mod assignment;
mod command;
mod decide;
mod entry;
mod phase;
mod question;
mod state;
pub mod sweep;
pub mod wait;
mod words;

pub use assignment::{Assignment, AssignmentError};
pub use command::{Command, Refusal};
pub use entry::{
    Actor, Change, DeadCause, DecodeError, Effect, EnqueueReason, Entry, EscalationReason,
    Question, ReleaseReason, Start, Transition, Verified,
};
pub use phase::{Answered, End, Phase, RefusedResult};
pub use question::QuestionError;
pub use state::{State, Stored, Task, Void};
