//! Controllers and faces: what runs beside the agents.
//!
//! Read it in this order: [`account`] keeps the orgs and their keys; [`engine`] runs the nats-server of `sinew up`; [`context`] tells every
//! other command where it is; [`serve`](mod@serve) runs the controllers of an org, which are in
//! [`control`]. [`team`] reads who there may be, [`actuate`] starts and stops them on this machine,
//! and [`face`] is what others look at, `mcp` that of LLM
//! hosts, `keda` that of KEDA; [`tls`] makes the certificates of an
//! encrypted connection.

pub mod account;
pub mod actuate;
pub mod context;
pub mod control;
pub mod engine;
pub mod face;
#[cfg(feature = "keda")]
pub mod keda;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod serve;
pub mod team;
pub mod tls;
#[cfg(any(feature = "mcp", feature = "dashboard"))]
pub mod token;

mod private;
#[cfg(any(feature = "mcp", feature = "dashboard"))]
mod told;

pub use context::Context;
pub use engine::Engine;
pub use serve::{ServeError, Settings, serve};
