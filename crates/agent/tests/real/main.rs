//! The SDK against a real nats-server: tasks are delegated, worked on, and end, whatever happens
//! in between.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with a message"
)]

mod bodies;
mod cluster;
mod control;
mod desk;
mod duplicates;
mod effects;
mod epochs;
mod flow;
mod holder;
mod inbox;
mod input;
mod kit;
mod leases;
mod life;
mod meeting;
mod paging;
mod parked;
mod python;
mod registry;
mod restart;
mod share;
mod signed;
mod start;
