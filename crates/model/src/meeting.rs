//! A meeting: what it is called for, the entries of its log, the state that they add up to, and
//! what may be asked of it.
//!
//! ```text
//! opened -> (scheduled) -> waiting for quorum -> started -> item 1 -> item 2 -> … -> closed
//!              |                |                             |  said, passed, given, skipped
//!              '----------------'--> closed: no quorum        |  proposed -> voted* -> decided
//!                                                             '--> closed: time limit, silence
//! ```
//!
//! Who may write an entry, and when, is one function: `decide`. It is asked before an entry is
//! written and again when one is read, so an entry that it would not have allowed changes nothing,
//! whoever wrote it. No clock is asked: each entry says when it was written, and a meeting's time
//! never runs backwards.

mod command;
mod decide;
mod definition;
mod due;
mod entry;
mod minutes;
mod state;
mod turn;
mod vote;

pub use command::{Command, Refusal, Voice};
pub use definition::{ActionItem, Definition, DefinitionError, Item, Rule, TextError, Turns};
pub use entry::{Change, DecodeError, Entry, Reason, Stored};
pub use minutes::{ActionMinutes, Attendance, ItemMinutes, Minutes, VoteMinutes};
pub use state::{Action, ItemState, Meeting, Phase, Proposal, Seat, Speech, State, Void};
pub use vote::{Ballot, Outcome, Tally, Vote};
