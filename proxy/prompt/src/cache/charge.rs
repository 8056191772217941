//! What an entry takes of the memory that all may take together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// An entry's share of the memory in use, given back when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Charge(Option<(usize, Arc<AtomicUsize>)>);

impl Charge {
    /// Adds `bytes` to what is in use.
    pub(super) fn of(bytes: usize, in_use: &Arc<AtomicUsize>) -> Self {
        in_use.fetch_add(bytes, Relaxed);
        Self(Some((bytes, Arc::clone(in_use))))
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some((bytes, in_use)) = &self.0 {
            in_use.fetch_sub(*bytes, Relaxed);
        }
    }
}
