//! The SDK against a real nats-server: tasks are delegated, worked on, and end, whatever happens
//! in between.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends with a message")]

mod kit;
mod life;
