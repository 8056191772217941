//! What a template prints behind the messages, by the settings that it depends on.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// More settings than these are in use at once where each client brings tools of its own; then all are found out again.
const ENDINGS_MAX: usize = 1024;

/// A longer one repeats what a client gave the template, and is not kept.
const BYTES_MAX: usize = 1024;

/// Found once for each name, for all threads.
#[derive(Default)]
pub(super) struct Endings {
    known: Mutex<FxHashMap<u128, Arc<str>>>,
}

impl Endings {
    pub(super) fn get(&self, name: u128) -> Option<Arc<str>> {
        self.known.lock().get(&name).cloned()
    }

    pub(super) fn put(&self, name: u128, ending: String) -> Arc<str> {
        let ending: Arc<str> = ending.into();
        if ending.len() > BYTES_MAX {
            return ending;
        }
        let mut known = self.known.lock();
        if known.len() >= ENDINGS_MAX {
            known.clear();
        }
        known.insert(name, Arc::clone(&ending));
        ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn their_number_is_bounded() {
        let endings = Endings::default();
        for name in 0..3000 {
            endings.put(name, name.to_string());
            assert_eq!(endings.get(name).as_deref(), Some(name.to_string().as_str()));
            assert!(endings.known.lock().len() <= ENDINGS_MAX);
        }
    }

    #[test]
    fn long_ones_are_not_kept() {
        let endings = Endings::default();
        for (name, bytes) in [(1, BYTES_MAX), (2, BYTES_MAX + 1)] {
            assert_eq!(endings.put(name, "a".repeat(bytes)).len(), bytes);
        }
        assert!(endings.get(1).is_some() && endings.get(2).is_none());
    }
}
