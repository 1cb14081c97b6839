//! The bus against the real nats-server: each trap that it hides has a test here.
#![expect(clippy::unwrap_used, reason = "a test ends with a message")]

mod consume;
mod delivery;
mod queue;
mod read;
