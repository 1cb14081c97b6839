//! JetStream as Sinew needs it. This crate owns the NATS client and hides its traps; nothing
//! above it names `async_nats`, and nothing here decides what a task may do: that is `model`'s.
//!
//! Read it in this order: [`connect`] gives a [`Bus`], which is bound to one org; [`ensure`] makes
//! the streams that everything else needs; [`publish`] is the one way in: group commit, and the
//! guarded append to a task's log.

pub mod clock;
pub mod connect;
pub mod ensure;
pub mod publish;
pub mod request;

pub use connect::{Auth, Bus, Config, ConnectError};
pub use ensure::{EnsureError, Topology, ensure_consumer};
pub use publish::{
    Accepted, AppendError, CommitService, Outgoing, PublishError, PublishStats, ServeError,
};
pub use request::{ApiError, RequestError};
