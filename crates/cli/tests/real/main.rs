//! The real `sinew` against the real nats-server, as a person runs it: each test has a folder and a
//! backbone of its own.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests: what fails here must end the test"
)]

mod agent;
mod browser;
mod demo;
mod deploy;
mod events;
mod help;
mod inbox;
mod kit;
mod mcp;
mod meeting;
mod org;
mod orphan;
mod parked;
mod plant;
mod registry;
mod scale;
mod schedule;
mod secure;
mod task;
mod up;
