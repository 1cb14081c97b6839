//! Shows on real files and a real nats-server that the views are what the streams say.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test ends with a message")]

mod event;
mod follow;
mod kit;
mod query;
mod rebuild;
mod store;
mod waits;
