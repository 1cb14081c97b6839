//! JetStream as Sinew needs it. This crate owns the NATS client and hides its traps; nothing
//! above it names `async_nats`, and nothing here decides what a task may do: that is `model`'s.
//!
//! Read it in this order: [`connect`] gives a [`Bus`], which is bound to one org; [`ensure`] makes
//! the streams that everything else needs; [`publish`] is the one way in: group commit, and the
//! guarded append to a task's log; [`consume`] takes work and [`delivery`] ends it; [`mod@read`]
//! reads what streams hold; [`object`] keeps what is too large for a message; [`sign`] signs what is
//! sent and verifies what is read; [`task`] puts all of it together for the log of one task, and
//! [`meeting`] for that of one meeting; [`lease`] says who of several controllers acts.

pub mod clock;
pub mod connect;
pub mod consume;
pub mod delivery;
pub mod ensure;
mod guarded;
pub mod lease;
pub mod meeting;
pub mod object;
pub mod presence;
pub mod publish;
pub mod read;
pub mod request;
mod rights;
pub mod sign;
pub mod task;

pub use connect::{Auth, Bus, Config, ConnectError, Tls};
pub use consume::{ConsumeError, Intake, Slot, Slots};
pub use delivery::{AckError, AckSubject, Delivery};
pub use ensure::{EnsureError, Topology, TopologyError, ensure_consumer};
pub use meeting::{MeetingError, MeetingLog};
pub use object::{CollectError, Object, ObjectError};
pub use presence::{Begins, Ends};
pub use publish::{
    Accepted, AppendError, CommitService, Outgoing, PublishError, PublishStats, ServeError,
};
pub use read::{Backlog, Hint, Hints, History, HistoryError, Logged, RawMessage, Scan, ScanError};
pub use request::{ApiError, RequestError};
pub use sign::{Identity, Received, Signing, VouchError, is_sealed};
pub use task::{Done, ExecuteError, TaskLog};
