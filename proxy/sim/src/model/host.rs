//! The tier behind a rank's device: what the device evicts is kept in the host's memory, for as long as there is room.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::chain::ChainHash;
use super::content::Content;

/// The tier behind a rank's device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostSpec {
    /// Its blocks; 0: there is none.
    pub blocks: u32,
    /// Whether a block lies in one tier at a time, as in TensorRT-LLM. Else the host keeps what comes back to the device, as
    /// vLLM's and SGLang's do.
    pub moves: bool,
}

/// The blocks in the host's memory, the least recently used one to go first.
#[derive(Debug)]
pub(super) struct HostTier {
    spec: HostSpec,
    held: FxHashMap<ChainHash, Held>,
    /// By last use.
    order: BTreeMap<u64, ChainHash>,
    uses: u64,
}

#[derive(Debug)]
struct Held {
    content: Content,
    used: u64,
}

/// What became of a block that the device evicts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Put {
    /// It is held here now, and was not before.
    pub(super) is_new: bool,
    /// Whose place it took.
    pub(super) evicted: Option<ChainHash>,
}

impl HostTier {
    pub(super) fn new(spec: HostSpec) -> Self {
        Self { spec, held: FxHashMap::default(), order: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn moves(&self) -> bool {
        self.spec.moves
    }

    pub(super) fn holds(&self, block: ChainHash) -> bool {
        self.held.contains_key(&block)
    }

    /// Uses a block that may be here.
    pub(super) fn touch(&mut self, block: ChainHash) -> Option<&Content> {
        let held = self.held.get_mut(&block)?;
        self.order.remove(&held.used);
        self.uses += 1;
        held.used = self.uses;
        self.order.insert(held.used, block);
        Some(&held.content)
    }

    /// Takes what the device evicts.
    pub(super) fn put(&mut self, block: ChainHash, content: &Content) -> Put {
        if self.spec.blocks == 0 || self.touch(block).is_some() {
            return Put::default();
        }
        let is_full = self.held.len() >= self.spec.blocks as usize;
        let evicted = is_full.then(|| self.order.pop_first()).flatten().map(|(_, oldest)| oldest);
        if let Some(oldest) = evicted {
            self.held.remove(&oldest);
        }
        self.uses += 1;
        self.held.insert(block, Held { content: content.clone(), used: self.uses });
        self.order.insert(self.uses, block);
        Put { is_new: true, evicted }
    }

    /// Lets go of a block; false if it is not here.
    pub(super) fn remove(&mut self, block: ChainHash) -> bool {
        let Some(held) = self.held.remove(&block) else { return false };
        self.order.remove(&held.used);
        true
    }

    pub(super) fn clear(&mut self) {
        self.held.clear();
        self.order.clear();
    }

    /// What is here, in no order.
    pub(super) fn contents(&self) -> impl Iterator<Item = (ChainHash, &Content)> {
        self.held.iter().map(|(&block, held)| (block, &held.content))
    }
}
