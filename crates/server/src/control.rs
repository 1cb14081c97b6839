//! What keeps an org's tasks moving when no worker does. Each controller may run twice at once:
//! it decides by compare-and-set on the task.
//!
//! [`presence`] knows which instances show signs of life; [`orphan`] takes back what a dead one
//! held; [`schedule`] turns the firings of recurring tasks into tasks; [`bodies`] deletes large
//! bodies that no task claims any more; [`streams`] makes streams again that somebody deleted; [`sweep`] finds tasks that nothing can move any more.

pub mod bodies;
pub mod orphan;
pub mod presence;
pub mod schedule;
pub mod streams;
pub mod sweep;
