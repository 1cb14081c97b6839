//! The signatures that a reader has seen lately, to find a copy: bounded, and only as far back as a
//! copy could pass for timely.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    limits::{SIGNATURE_WINDOW, SIGNATURES_SEEN},
    time::Time,
};

/// The signatures of one stream that a reader took within the last [`SIGNATURE_WINDOW`].
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where each was first taken.
    places: BTreeMap<String, u64>,
    /// The same in the order in which they came, with the time at which they were stored.
    order: VecDeque<(Time, String)>,
    room: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with_room(SIGNATURES_SEEN)
    }
}

impl Seen {
    /// One that remembers at most `room` signatures.
    #[must_use]
    pub const fn with_room(room: usize) -> Self {
        Self { places: BTreeMap::new(), order: VecDeque::new(), room }
    }

    /// Notes the signature of the message at `seq`. Whether it is the first of it; one that is
    /// delivered again is no copy of itself.
    pub fn is_first(&mut self, proof: &str, seq: u64, stored: Time) -> bool {
        if let Some(known) = self.places.get(proof) {
            return *known == seq;
        }
        self.places.insert(proof.to_owned(), seq);
        self.order.push_back((stored, proof.to_owned()));
        // A copy may be stored by one window after it was signed, and that lies one window after
        // the time at which the first was stored.
        let horizon = stored.minus(SIGNATURE_WINDOW.saturating_mul(2));
        while let Some((oldest, _)) = self.order.front()
            && (self.order.len() > self.room || *oldest < horizon)
        {
            if let Some((_, proof)) = self.order.pop_front() {
                self.places.remove(&proof);
            }
        }
        true
    }

    /// How many it remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether it remembers none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
