//! Places for deliveries: what bounds the work that an instance takes.

use std::sync::Arc;

use tokio::sync::watch;

/// A number of places. Clones share them, and so may several intakes.
#[derive(Clone, Debug)]
pub struct Slots {
    total: usize,
    /// How many are free; intakes watch it, so that a place that gets free wakes them.
    free: Arc<watch::Sender<usize>>,
}

/// One place, taken until this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Slot {
    free: Arc<watch::Sender<usize>>,
}

impl Slots {
    /// So many places, all free.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self { total, free: Arc::new(watch::Sender::new(total)) }
    }

    /// How many there are.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// How many are free now.
    #[must_use]
    pub fn free(&self) -> usize {
        *self.free.borrow()
    }

    /// Takes one, if one is free.
    pub fn take(&self) -> Option<Slot> {
        let mut taken = false;
        self.free.send_if_modified(|free| {
            taken = *free > 0;
            *free = free.saturating_sub(1);
            // Nobody waits for fewer places.
            false
        });
        taken.then(|| Slot { free: Arc::clone(&self.free) })
    }

    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.free.subscribe()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.free.send_modify(|free| *free += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_once_and_free_again_after_its_drop() {
        let slots = Slots::new(2);
        let waiting = slots.watch();
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some());
        assert!(slots.take().is_none(), "there are only two");
        assert_eq!(slots.free(), 0);
        assert!(!waiting.has_changed().unwrap(), "taking wakes nobody");
        drop(first);
        assert_eq!(slots.free(), 1);
        assert!(waiting.has_changed().unwrap(), "a free place wakes the intake");
        drop(second);
        assert_eq!(slots.free(), 2);
    }
}
