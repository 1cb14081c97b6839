//! Controllers and faces: what runs beside the agents.
//!
//! Read it in this order: [`engine`] runs the nats-server of `sinew up`; [`context`] tells every
//! other command where it is; [`serve`](mod@serve) runs the controllers of an org, which are in
//! [`control`]; `mcp` is the face that LLM hosts speak to.

pub mod context;
pub mod control;
pub mod engine;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod serve;

mod private;

pub use context::Context;
pub use engine::Engine;
pub use serve::{ServeError, Settings, serve};
