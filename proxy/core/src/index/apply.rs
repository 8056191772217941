//! Events into the index.

use super::arena::Name;
use super::cache::Copies;
use super::{Applied, Index, NodeId, RootKey, Slot};
use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::EngineHash;
use crate::ids::BlockSize;

impl Index {
    /// Applies one event. `arrived` is told of every block that is new on the target's device tier.
    pub(crate) fn apply(&mut self, slot: Slot, event: &CacheEvent, arrived: &mut Vec<NodeId>) -> Applied {
        let mut applied = match event {
            CacheEvent::Stored { parent, blocks, block_size, tier, group } => {
                self.store(slot, *parent, blocks, *block_size, (*tier, *group), arrived)
            }
            CacheEvent::Removed { blocks, tier, group } => self.remove(slot, blocks, *tier, *group),
            CacheEvent::Cleared => {
                let removed = self.cache(slot).map_or(0, |cache| cache.names.len());
                self.clear_cache(slot);
                Applied { removed: u32::try_from(removed).unwrap_or(u32::MAX), ..Applied::default() }
            }
        };
        match self.cache(slot) {
            Some(cache) => applied.truncated = cache.truncated,
            None => applied.unknown_target = true,
        }
        applied
    }

    fn store(
        &mut self,
        slot: Slot,
        parent: Parent,
        blocks: &[StoredBlock],
        block_size: BlockSize,
        (tier, group): (Tier, CacheGroup),
        arrived: &mut Vec<NodeId>,
    ) -> Applied {
        let mut applied = Applied::default();
        let Some(cache) = self.cache(slot) else { return applied };
        if cache.block_size != block_size {
            applied.wrong_block_size = true;
            return applied;
        }
        let mut node = match parent {
            Parent::Block(engine) => match cache.find(engine, group, tier) {
                Some(node) => node,
                None => {
                    applied.unknown_parent = true;
                    return applied;
                }
            },
            Parent::Root(_) if blocks.is_empty() => return applied,
            Parent::Root(namespace) => self.root_or_insert(RootKey { namespace, block_size }),
        };
        for block in blocks {
            node = self.child_or_insert(node, block.content);
            self.touch(node);
            let name = Name { engine: block.engine, group, tier };
            match self.name(slot, name, node) {
                Named::Again => applied.duplicates += 1,
                Named::New { first } => {
                    applied.stored += 1;
                    if first && tier == Tier::Device {
                        arrived.push(node);
                    }
                }
            }
        }
        applied
    }

    /// Gives the block one more copy under a name.
    fn name(&mut self, slot: Slot, name: Name, node: NodeId) -> Named {
        let Some(cache) = self.cache_mut(slot) else { return Named::Again };
        let copy = u32::from(cache.count_copies);
        let before = cache.names.get_mut(&name);
        if let Some(copies) = before.filter(|copies| copies.node == node) {
            copies.count += copy;
            return Named::Again;
        }
        let before = cache.names.insert(name, Copies { node, count: 1 });
        let first = self.hold(node, slot, name);
        match before {
            // The engine gave the name to another content: what it named before is gone.
            Some(old) => self.unhold(old.node, slot, name),
            None => self.names += 1,
        }
        Named::New { first }
    }

    fn remove(&mut self, slot: Slot, blocks: &[EngineHash], tier: Tier, group: CacheGroup) -> Applied {
        let mut applied = Applied::default();
        for engine in blocks {
            let Some(cache) = self.cache_mut(slot) else { return applied };
            let name = Name { engine: *engine, group, tier };
            match cache.names.get_mut(&name) {
                None => applied.unknown_removals += 1,
                Some(copies) if copies.count > 1 => {
                    copies.count -= 1;
                    applied.removed += 1;
                }
                Some(copies) => {
                    let node = copies.node;
                    cache.names.remove(&name);
                    self.names -= 1;
                    self.unhold(node, slot, name);
                    applied.removed += 1;
                }
            }
        }
        applied
    }
}

enum Named {
    /// One copy more under the same name.
    Again,
    /// A new name; `first` if the target did not hold the block on that tier.
    New { first: bool },
}
