//! The laws of the model, held against whatever chance makes up.
#![expect(clippy::unwrap_used, reason = "a test ends with a message")]

mod audit;
mod lease;
mod meeting;
mod orphan;
mod roll;
mod scale;
mod schedule;
mod signature;
mod subject;
mod task;
