//! The laws of the model, held against whatever chance makes up.
#![expect(clippy::unwrap_used, reason = "a test ends with a message")]

mod orphan;
mod roll;
mod schedule;
mod subject;
mod task;
