//! Shows against a real nats-server that the bus does what it says.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends with a message")]

mod ensure;
mod publish;
