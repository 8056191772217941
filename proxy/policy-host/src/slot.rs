//! Which activation decides now.

use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::activation::Activation;

/// The policy in force for one lane of a pool, read by every thread for every decision without a lock. Empty means
/// that the built-in policy decides.
#[derive(Default)]
pub struct PolicySlot {
    cell: ArcSwapOption<Activation>,
}

/// What the slot held when it was read.
pub struct Current(Guard<Option<Arc<Activation>>>);

impl Current {
    /// The activation; `None`: the built-in policy.
    pub fn activation(&self) -> Option<&Arc<Activation>> {
        self.0.as_ref()
    }
}

impl PolicySlot {
    /// A slot that holds this.
    pub fn new(activation: Option<Arc<Activation>>) -> Self {
        let slot = Self::default();
        slot.set(activation);
        slot
    }

    /// From the return of this call on every [`PolicySlot::current`] gives `activation`.
    pub fn publish(&self, activation: Arc<Activation>) {
        self.set(Some(activation));
    }

    /// From the return of this call on the built-in policy decides.
    pub fn clear(&self) {
        self.set(None);
    }

    /// What decides now.
    pub fn current(&self) -> Current {
        Current(self.cell.load())
    }

    pub(crate) fn set(&self, activation: Option<Arc<Activation>>) {
        if let Some(activation) = &activation {
            activation.add_publication();
        }
        if let Some(old) = self.cell.swap(activation) {
            old.remove_publication();
        }
    }
}

impl Drop for PolicySlot {
    fn drop(&mut self) {
        self.set(None);
    }
}
