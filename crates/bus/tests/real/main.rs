//! Shows against a real nats-server that the bus does what it says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends with a message")]

mod connect;
mod consume;
mod delivery;
mod ensure;
mod publish;
mod queue;
mod read;
mod sign;
