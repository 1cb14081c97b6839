//! JetStream as Sinew needs it. This crate owns the NATS client and hides its traps; nothing
//! above it names `async_nats`, and nothing here decides what a task may do: that is `model`'s.
//!
//! Read it in this order: [`connect`] gives a [`Bus`], which is bound to one org; [`consume`] takes
//! work, [`delivery`] ends it, [`read`] reads what is stored.

pub mod clock;
pub mod connect;
pub mod consume;
pub mod delivery;
pub mod read;
pub mod request;

pub use connect::{Auth, Bus, Config, ConnectError};
pub use consume::{ConsumeError, Intake, Slot, Slots};
pub use delivery::{AckError, AckSubject, Delivery};
pub use read::{History, HistoryError, RawMessage, Scan, ScanError};
pub use request::{ApiError, RequestError};
