//! The read side: projections of the streams into SQLite, and what may be asked of them.
//!
//! A view holds nothing of its own. It can be deleted at any time and is rebuilt from the stream;
//! the streams are the only truth. Nothing here writes to a stream, and nothing here decides what
//! a task may do: that is `model`'s.
//!
//! Read it in this order: [`store`] is the file and how several processes share it; [`message`] is
//! what is folded into it; [`task`] is the first projection, with its queries; [`event`] is the
//! second, with a search over words.
//!
//! What a page or a screen asks about events, all of it plain structs that serialize:
//!
//! ```no_run
//! # async fn page(path: &std::path::Path, bus: &sinew_bus::Bus) -> Result<(), Box<dyn std::error::Error>> {
//! use sinew_views::event::{EventView, Search};
//!
//! let events = EventView::open(path, bus.subjects().clone()).await?;
//! // Once, or `follow(bus, shutdown)` for ever.
//! let seq = events.catch_up(bus).await?;
//! // Whoever wrote at a sequence sees its own write.
//! events.wait_until(seq, std::time::Duration::from_secs(5)).await?;
//! let found = events.search(Search { text: Some("file".to_owned()), ..Search::default() }).await?;
//! let older = found.last().map(|row| row.seq);
//! let page = events.search(Search { before: older, ..Search::default() }).await?;
//! let (roles, days) = (events.actors().await?, events.days(30).await?);
//! # Ok(()) }
//! ```

pub mod event;
pub mod message;
pub mod store;
pub mod task;

pub use event::EventView;
pub use message::{Batch, Message, Origin};
pub use store::{Checkpoint, OpenError, QueryError, Store, WaitError};
pub use task::Projection;
