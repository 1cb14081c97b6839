//! What keeps an org's tasks moving when no worker does. Each controller may run twice at once:
//! it decides by compare-and-set on the task.
//!
//! [`bodies`] deletes large bodies that no task claims any more; [`presence`] knows which instances show signs of life; [`sweep`] finds tasks that nothing can
//! move any more.

pub mod bodies;
pub mod presence;
pub mod sweep;
