//! What keeps an org's tasks moving when no worker does. Each controller may run twice at once:
//! it decides by compare-and-set on the task.
//!
//! [`presence`] knows which instances show signs of life; [`orphan`] takes back what a dead one
//! held; [`schedule`] turns the firings of recurring tasks into tasks; [`wake`] moves tasks on when
//! what they wait for has ended; [`ends`] sees to what an end leaves to be done; [`parked`] hears
//! which messages the server has given up; [`bodies`] deletes large bodies that no task claims any
//! more; [`meeting`] moves meetings on; [`org`] is in every org that stirs; [`flood`] cuts off who
//! sends too fast; [`streams`] makes streams
//! again that somebody deleted; [`sweep`] finds tasks that nothing can move any more. [`scale`] says
//! how many instances each role is to have, [`health`] how this server fares, and [`standing`] is how
//! the parts of one process tell each other where they stand.

pub(crate) mod accepted;
pub(crate) mod astray;
pub(crate) mod lease;

pub mod bodies;
pub mod ends;
pub mod flood;
pub mod health;
pub mod meeting;
pub mod org;
pub mod orphan;
pub mod parked;
pub mod presence;
pub mod scale;
pub mod schedule;
pub mod standing;
pub mod streams;
pub mod sweep;
pub mod wake;
