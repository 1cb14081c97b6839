//! What publishing has done, counted. Cheap enough to be always on.

use std::sync::atomic::{AtomicU64, Ordering};

/// What publishing has done on one connection so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishStats {
    /// Messages that were sent alone, repetitions included.
    pub singles: u64,
    /// Batches that were stored.
    pub batches: u64,
    /// Messages that were stored in those batches.
    pub batched: u64,
    /// Batches that were refused, and then divided.
    pub batches_refused: u64,
    /// Messages that were to be sent again, each time counted.
    pub repeated: u64,
    /// Messages that a committer of another process took.
    pub by_service: u64,
}

/// The same, while it is being counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) singles: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) batched: AtomicU64,
    pub(crate) batches_refused: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) by_service: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> PublishStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublishStats {
            singles: read(&self.singles),
            batches: read(&self.batches),
            batched: read(&self.batched),
            batches_refused: read(&self.batches_refused),
            repeated: read(&self.repeated),
            by_service: read(&self.by_service),
        }
    }
}

/// Counts one more. The counters order nothing else.
pub(crate) fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}
