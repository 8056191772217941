//! Which versions of policies this process has met, and those that are still compiled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use crate::compile::Compiled;

/// Versions remembered per name; older ones get a new number if they come back.
const VERSIONS_MAX: usize = 64;

/// Which versions there are, and those that are still compiled.
#[derive(Default)]
pub(crate) struct Versions {
    names: BTreeMap<String, Named>,
    clock: u64,
}

#[derive(Default)]
struct Named {
    last_number: u32,
    last_used: u64,
    known: VecDeque<Known>,
}

struct Known {
    digest: String,
    number: u32,
    compiled: Weak<Compiled>,
}

impl Named {
    fn add(&mut self, digest: &str, number: u32) {
        if self.known.len() == VERSIONS_MAX {
            self.known.pop_front();
        }
        self.last_number = self.last_number.max(number);
        self.known.push_back(Known { digest: digest.to_owned(), number, compiled: Weak::new() });
    }
}

impl Versions {
    /// The version that these bytes are, and what they were compiled to if somebody still holds it. Over `names_max`
    /// names the one not used for longest is forgotten.
    pub(crate) fn meet(
        &mut self,
        name: &str,
        digest: &str,
        names_max: usize,
    ) -> (u32, Option<Arc<Compiled>>) {
        let named = self.named(name, names_max);
        if let Some(known) = named.known.iter().find(|known| known.digest == digest) {
            return (known.number, known.compiled.upgrade());
        }
        let number = named.last_number + 1;
        named.add(digest, number);
        (number, None)
    }

    /// Gives these bytes a number that they had before, unless they have one or it is another's.
    pub(crate) fn remember(&mut self, name: &str, digest: &str, number: u32, names_max: usize) {
        let named = self.named(name, names_max);
        if !named.known.iter().any(|known| known.digest == digest || known.number == number) {
            named.add(digest, number);
        }
    }

    fn named(&mut self, name: &str, names_max: usize) -> &mut Named {
        self.clock += 1;
        if !self.names.contains_key(name) && self.names.len() >= names_max.max(1) {
            let oldest =
                self.names.iter().min_by_key(|(_, named)| named.last_used).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.names.remove(&oldest);
            }
        }
        let named = self.names.entry(name.to_owned()).or_default();
        named.last_used = self.clock;
        named
    }

    /// Remembers what a version was compiled to.
    pub(crate) fn compiled(&mut self, compiled: &Arc<Compiled>) {
        let version = compiled.version();
        let Some(named) = self.names.get_mut(&version.name) else { return };
        if let Some(known) = named.known.iter_mut().find(|known| known.digest == version.digest) {
            known.compiled = Arc::downgrade(compiled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_bytes() {
        let mut versions = Versions::default();
        let mut number = |name: &str, digest: &str| versions.meet(name, digest, 2).0;
        assert_eq!([number("kv", "a"), number("kv", "b"), number("kv", "a")], [1, 2, 1]);
        assert_eq!(number("rr", "a"), 1);
        // A third name: the one not used for longest goes.
        assert_eq!(number("other", "a"), 1);
        assert_eq!(number("rr", "b"), 2);
        assert_eq!(number("kv", "b"), 1);
    }

    #[test]
    fn numbers_of_an_earlier_process_are_kept() {
        let mut versions = Versions::default();
        versions.remember("kv", "c", 3, 2);
        versions.remember("kv", "d", 3, 2);
        let mut number = |digest: &str| versions.meet("kv", digest, 2).0;
        assert_eq!([number("d"), number("c"), number("a")], [4, 3, 5]);
    }

    #[test]
    fn versions_of_a_name_are_bounded() {
        let mut versions = Versions::default();
        for i in 0..3 * VERSIONS_MAX {
            assert_eq!(versions.meet("kv", &i.to_string(), 2).0 as usize, i + 1);
        }
        assert_eq!(versions.names["kv"].known.len(), VERSIONS_MAX);
    }
}
