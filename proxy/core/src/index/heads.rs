//! Where extents begin: by the prefix that their first block ends.

use super::ExtentId;
use super::names::Names;
use crate::hash::{EngineHash, PrefixHash};

#[derive(Debug, Default)]
pub(super) struct Heads(Names);

impl Heads {
    pub(super) fn get(&self, prefix: PrefixHash) -> Option<ExtentId> {
        self.0.get(EngineHash(prefix.0)).and_then(ExtentId::from_word)
    }

    /// Adds one that is not there.
    pub(super) fn insert(&mut self, prefix: PrefixHash, extent: ExtentId) {
        self.0.get_or_insert(EngineHash(prefix.0), extent.to_word());
    }

    pub(super) fn remove(&mut self, prefix: PrefixHash) {
        self.0.remove_if(EngineHash(prefix.0), |_| true);
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}
