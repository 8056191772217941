//! One target's names for the blocks it holds.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::arena::{Name, Place};
use super::{Held, Index, NodeId, Slot};
use crate::event::{CacheGroup, Tier};
use crate::hash::{BlockHash, EngineHash};
use crate::ids::BlockSize;

/// What an event did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Blocks that the target did not hold on that tier under that name before.
    pub stored: u32,
    /// Further copies of blocks that it held already.
    pub duplicates: u32,
    /// Copies gone.
    pub removed: u32,
    /// Removals of names that the index does not know. Not an error by itself.
    pub unknown_removals: u32,
    /// The parent is not known, so nothing was applied: the caller should resync.
    pub unknown_parent: bool,
    /// The event's block size is not the target's, so nothing was applied.
    pub wrong_block_size: bool,
    /// The target is gone, so nothing was applied.
    pub unknown_target: bool,
    /// Pending blocks that this event confirmed.
    pub confirmed: u32,
    /// Names, of any target, that were evicted to stay under the cap.
    pub evicted: u32,
    /// The cap has cost this target blocks since it was last cleared, so unknown parents and removals are no sign of
    /// loss and a resync would not help.
    pub truncated: bool,
}

/// One block that a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CachedBlock {
    /// Cache group.
    pub group: CacheGroup,
    /// Tier.
    pub tier: Tier,
    /// The engine's name.
    pub engine: EngineHash,
    /// Our name.
    pub content: BlockHash,
    /// Blocks from the beginning of the prompt, this one included.
    pub depth: u32,
    /// Copies.
    pub copies: u32,
}

/// Size of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Distinct blocks, those that are only pending and holes included.
    pub blocks: usize,
    /// (block, target) pairs.
    pub entries: usize,
    /// Names: (target, cache group, tier, engine hash).
    pub names: usize,
    /// Names evicted so far to stay under the cap.
    pub evicted: u64,
    /// Memory, approximately.
    pub bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Copies {
    pub(super) node: NodeId,
    pub(super) count: u32,
}

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) names: FxHashMap<Name, Copies>,
    pub(super) block_size: BlockSize,
    /// Distinct blocks.
    pub(super) blocks: u32,
    pub(super) truncated: bool,
    /// Whether a block that is stored again has one more copy.
    pub(super) count_copies: bool,
}

impl Cache {
    /// The block of that name: on the tier that was asked for if possible, else on the fastest.
    pub(super) fn find(&self, engine: EngineHash, group: CacheGroup, tier: Tier) -> Option<NodeId> {
        std::iter::once(tier)
            .chain(Tier::ALL)
            .find_map(|tier| self.names.get(&Name { engine, group, tier }))
            .map(|copies| copies.node)
    }
}

impl Index {
    pub(crate) fn add_cache(&mut self, slot: Slot, block_size: BlockSize) {
        let position = slot as usize;
        if self.caches.len() <= position {
            self.caches.resize_with(position + 1, || None);
        }
        let names = FxHashMap::default();
        self.caches[position] =
            Some(Cache { names, block_size, blocks: 0, truncated: false, count_copies: true });
    }

    /// Forgets everything that the target holds.
    pub(crate) fn clear_cache(&mut self, slot: Slot) {
        let Some(cache) = self.cache_mut(slot) else { return };
        cache.truncated = false;
        let names = std::mem::take(&mut cache.names);
        self.names -= names.len();
        for (name, copies) in names {
            self.unhold(copies.node, slot, name);
        }
        // What the clear freed is given back, with room for as much as is left.
        if self.children.capacity() > 4 * self.children.len() {
            self.children.shrink_to(2 * self.children.len());
        }
    }

    /// See [`RoutingState::count_copies`](crate::state::RoutingState::count_copies).
    pub(crate) fn count_copies(&mut self, slot: Slot, on: bool) {
        if let Some(cache) = self.cache_mut(slot) {
            cache.count_copies = on;
        }
    }

    pub(crate) fn remove_cache(&mut self, slot: Slot) {
        self.clear_cache(slot);
        if let Some(cache) = self.caches.get_mut(slot as usize) {
            *cache = None;
        }
    }

    pub(super) fn cache(&self, slot: Slot) -> Option<&Cache> {
        self.caches.get(slot as usize).and_then(Option::as_ref)
    }

    pub(super) fn cache_mut(&mut self, slot: Slot) -> Option<&mut Cache> {
        self.caches.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// Distinct blocks that the target holds on any tier.
    pub(crate) fn cached_blocks(&self, slot: Slot) -> u32 {
        self.cache(slot).map_or(0, |cache| cache.blocks)
    }

    /// Notes one more name of the block; true if the target did not hold it on that tier before.
    pub(super) fn hold(&mut self, node: NodeId, slot: Slot, name: Name) -> bool {
        let held = &mut self.arena[node].held;
        match held.binary_search_by_key(&slot, |held| held.slot) {
            Ok(at) => {
                let first = !held[at].on(name.tier);
                held[at].names.push(name);
                first
            }
            Err(at) => {
                held.insert(at, Held { slot, names: SmallVec::from_iter([name]) });
                self.entries += 1;
                if let Some(cache) = self.cache_mut(slot) {
                    cache.blocks += 1;
                }
                true
            }
        }
    }

    /// Takes one name of the block away, and frees the node if nobody needs it any more.
    pub(super) fn unhold(&mut self, node: NodeId, slot: Slot, name: Name) {
        let held = &mut self.arena[node].held;
        let Ok(at) = held.binary_search_by_key(&slot, |held| held.slot) else { return };
        held[at].names.retain(|known| *known != name);
        if held[at].names.is_empty() {
            held.remove(at);
            if held.is_empty() {
                *held = Vec::new();
            }
            self.entries -= 1;
            if let Some(cache) = self.cache_mut(slot) {
                cache.blocks -= 1;
            }
        }
        self.release(node);
    }

    /// What the target holds, at most `limit` blocks, in no order.
    pub(crate) fn dump(&self, slot: Slot, limit: usize) -> Vec<CachedBlock> {
        let names = self.cache(slot).into_iter().flat_map(|cache| &cache.names);
        names
            .take(limit)
            .map(|(name, copies)| {
                let node = &self.arena[copies.node];
                let content = match node.place {
                    Place::Child { content, .. } => content,
                    Place::Root(_) => BlockHash(0),
                };
                CachedBlock {
                    group: name.group,
                    tier: name.tier,
                    engine: name.engine,
                    content,
                    depth: node.depth,
                    copies: copies.count,
                }
            })
            .collect()
    }

    pub(crate) fn stats(&self) -> IndexStats {
        // hashbrown keeps one control byte per bucket and fills 7 of 8.
        let map = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let child = size_of::<((NodeId, BlockHash), NodeId)>();
        let name = size_of::<(Name, Copies)>();
        let names: usize = self.caches.iter().flatten().map(|cache| map(cache.names.capacity(), name)).sum();
        let bytes = self.arena.bytes()
            + map(self.children.capacity(), child)
            + names
            + self.entries * size_of::<Held>();
        IndexStats {
            blocks: self.arena.len() - self.roots.len(),
            entries: self.entries,
            names: self.names,
            evicted: self.evicted,
            bytes,
        }
    }
}
