//! Controllers and faces: what runs beside the agents.
//!
//! Read it in this order: [`account`] keeps the orgs and their keys; [`engine`] runs the nats-server of `sinew up`; [`context`] tells every
//! other command where it is; [`serve`](mod@serve) runs the controllers of an org, which are in
//! [`control`].

pub mod account;
pub mod context;
pub mod control;
pub mod engine;
pub mod serve;

mod private;

pub use context::Context;
pub use engine::Engine;
pub use serve::{ServeError, Settings, serve};
