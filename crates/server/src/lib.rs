//! Controllers and faces: what runs beside the agents.
//!
//! Read it in this order: [`engine`] runs the nats-server of `sinew up`; [`context`] tells every
//! other command where it is.

pub mod context;
pub mod engine;

mod private;

pub use context::Context;
pub use engine::Engine;
