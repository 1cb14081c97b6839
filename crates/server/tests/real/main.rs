//! Shows against the real nats-server that what runs beside the agents does what it says.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends with a message"
)]

mod bodies;
mod engine;
#[cfg(feature = "mcp")]
mod mcp;
mod orphan;
mod room;
mod schedule;
mod streams;
mod sweep;
mod wake;
mod wire;
