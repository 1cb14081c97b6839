//! The SDK of Sinew. [`Client`] delegates tasks and follows them; [`Runtime`] hosts an agent: it
//! takes the tasks of a role, keeps their leases, and brings each to its end; [`Desk`] does the same
//! for who works on tasks without being a function of this process; [`Meeting`] is how roles decide
//! together. All act on one org
//! and reach NATS through `sinew-bus` alone.
//!
//! An agent is a function from a task to a result:
//!
//! ```no_run
//! use sinew_agent::{Bus, Config, Context, Failure, Runtime, Settings};
//!
//! async fn count(task: Context) -> Result<serde_json::Value, Failure> {
//!     let words = task.input().as_str().unwrap_or_default().split_whitespace().count();
//!     task.progress("counted", Some(100));
//!     Ok(words.into())
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let bus = Bus::connect(Config::new("nats://127.0.0.1:4222", "acme".parse()?)).await?;
//! let runtime = Runtime::new(bus, Settings::new("cto".parse()?));
//! runtime.run(count, sinew_agent::CancellationToken::new()).await?;
//! # Ok(())
//! # }
//! ```

mod admit;
pub mod advance;
pub mod ask;
pub mod body;
pub mod cancel;
pub mod client;
pub mod context;
pub mod control;
pub mod delegation;
pub mod enqueue;
pub mod event;
pub mod follow;
pub mod handler;
pub mod inbox;
mod lookout;
pub mod meeting;
pub mod program;
pub mod reclaim;
pub mod registry;
pub mod report;
mod room;
pub mod runtime;
pub mod schedule;

pub use advance::{AdvanceError, advance};
pub use ask::Ask;
pub use body::BodyError;
pub use cancel::{Cancelled, CancelledTask};
pub use client::{Client, DelegateError, Delegated, FinishError, new_id};
pub use context::Context;
pub use control::ControlError;
pub use delegation::Delegation;
pub use event::{Emission, EmitError};
pub use follow::{Follow, FollowError, Outcome};
pub use handler::{Failure, Handler};
pub use inbox::{
    Message, SendError, Sent,
    read::{Inbox, InboxError, Letter, Reader, Received, Unread},
};
pub use meeting::{MeetError, Meeting};
pub use program::Program;
pub use registry::{Query, RegistryError};
pub use runtime::{
    Runtime, RuntimeError, Settings, Tally,
    desk::{Desk, Hand, TakeError},
};
pub use schedule::Schedules;
pub use sinew_bus::{Auth, Bus, Config, ConnectError};
pub use sinew_model as model;
pub use tokio_util::sync::CancellationToken;
