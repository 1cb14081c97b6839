//! Controllers and faces: what runs beside the agents.
//!
//! Read it in this order: [`engine`] runs the nats-server of `sinew up`; [`context`] tells every
//! other command where it is; [`serve`](mod@serve) runs the controllers of an org, which are in
//! [`control`]; [`tls`] makes the certificates of an encrypted connection.

pub mod context;
pub mod control;
pub mod engine;
pub mod serve;
pub mod tls;

mod private;

pub use context::Context;
pub use engine::Engine;
pub use serve::{ServeError, Settings, serve};
