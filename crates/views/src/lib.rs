//! The read side: projections of the streams into SQLite, and what may be asked of them.
//!
//! A view holds nothing of its own. It can be deleted at any time and is rebuilt from the stream;
//! the streams are the only truth. Nothing here writes to a stream, and nothing here decides what
//! a task may do: that is `model`'s.
//!
//! Read it in this order: [`store`] is the file and how several processes share it; [`message`] is
//! what is folded into it; [`task`] is the first projection, with its queries.

pub mod message;
pub mod store;
pub mod task;

pub use message::{Batch, Message, Origin};
pub use store::{Checkpoint, OpenError, QueryError, Store, WaitError};
pub use task::Projection;
