//! Shows that every part of the testkit does to a real nats-server what it says.
#![expect(clippy::expect_used, reason = "a test ends with a message")]

mod client;
mod cluster;
mod power;
mod proxy;
mod python;
mod server;
