//! The pages, one file each. A page is rendered from what the views and the SDK say at that moment;
//! what somebody else wrote is text and nothing else.

pub(super) mod agents;
pub(super) mod dead;
pub(super) mod delegate;
pub(super) mod events;
pub(super) mod meeting;
pub(super) mod meetings;
pub(super) mod orgs;
pub(super) mod overview;
pub(super) mod scaling;
pub(super) mod story;
pub(super) mod task;
pub(super) mod tasks;
