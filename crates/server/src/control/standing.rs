//! What the parts of one process tell each other about how they stand, for its sample of health.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sinew_model::{health::Crashing, lease::LeaseName};

/// What one process leads, and which commands do not stay up in it. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Standing(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    leads: BTreeSet<LeaseName>,
    crashing: Vec<Crashing>,
}

impl Standing {
    pub(crate) fn leads(&self, name: LeaseName, leads: bool) {
        let mut told = self.locked();
        if leads {
            told.leads.insert(name);
        } else {
            told.leads.remove(&name);
        }
    }

    /// Takes note of the commands that do not stay up.
    pub(crate) fn crashing(&self, crashing: Vec<Crashing>) {
        self.locked().crashing = crashing;
    }

    /// What is led, and what does not stay up.
    #[must_use]
    pub fn told(&self) -> (Vec<String>, Vec<Crashing>) {
        let told = self.locked();
        let leads = told.leads.iter().map(|name| name.word().to_owned()).collect();
        (leads, told.crashing.clone())
    }

    fn locked(&self) -> MutexGuard<'_, Told> {
        // Each of its steps leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
