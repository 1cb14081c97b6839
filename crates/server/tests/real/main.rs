//! Shows against the real nats-server that what runs beside the agents does what it says.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends with a message"
)]

mod attack;
mod bodies;
mod engine;
mod flood;
mod forged;
#[cfg(feature = "keda")]
mod keda;
#[cfg(feature = "mcp")]
mod mcp;
mod meeting;
mod metrics;
mod org;
mod orphan;
mod room;
mod scale;
mod schedule;
mod secured;
mod streams;
mod sweep;
mod theft;
mod tls;
mod wake;
mod wire;
