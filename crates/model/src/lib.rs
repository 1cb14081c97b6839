//! The words and the laws of Sinew, and nothing that acts.
//!
//! This crate holds ids, subjects, envelopes, the entries of a task's log, and limits. It
//! refuses to know async code, a clock, random numbers or I/O: time and ids come in as arguments, so that every law can be tested in milliseconds and
//! checked against by programs in other languages.
//!
//! Read it in this order: [`id`] and [`subject`] name things; [`task`] is what
//! everything else serves; [`schedule`] is how it recurs; [`claim`] stands for what does not fit a
//! message; [`meeting`] is how agents decide together; [`mail`], [`event`], [`presence`], [`card`]
//! and [`control`] are the other envelopes; [`signature`] says whom they are from, and [`evidence`]
//! what is kept of those that are not; [`audit`] chains what is kept for later; [`grant`] says who may do what, and [`org`] when controllers
//! are where; [`team`] says who there may be, [`scale`] how many of each are needed, [`lease`] who of
//! several controllers says so, and [`health`] how they fare; [`stream`] is where all of it is
//! stored; [`limits`] bounds all of it;
//! [`schema`] tells it to other languages.

pub mod audit;
pub mod card;
pub mod claim;
pub mod control;
pub mod event;
pub mod evidence;
pub mod flood;
pub mod grant;
pub mod header;
pub mod health;
pub mod id;
pub mod incident;
pub mod lease;
pub mod limits;
pub mod mail;
pub mod meeting;
pub mod metric;
pub mod org;
pub mod presence;
pub mod retry;
pub mod scale;
pub mod schedule;
pub mod schema;
pub mod signature;
pub mod stream;
pub mod subject;
pub mod task;
pub mod team;
pub mod time;

pub use claim::Claim;
pub use id::{
    BroadcastId, IdError, InstanceId, MeetingId, OrgId, Role, Root, ScheduleName, TaskId,
};
pub use schedule::Schedule;
pub use subject::{Address, Band, Subject, Subjects};
pub use task::{Assignment, Entry, Transition};
pub use time::Time;
