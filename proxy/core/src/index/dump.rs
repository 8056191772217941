//! What one target holds, for people.

use super::cache::address;
use super::{Index, Slot};
use crate::event::{CacheGroup, Tier};
use crate::hash::{EngineHash, PrefixHash};

/// One block that a target holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CachedBlock {
    /// Cache group.
    pub group: CacheGroup,
    /// Tier.
    pub tier: Tier,
    /// The engine's name.
    pub engine: EngineHash,
    /// Ours: of the block with all that precedes it.
    pub prefix: PrefixHash,
    /// Blocks from the beginning of the prompt, this one included.
    pub depth: u32,
    /// Copies.
    pub copies: u32,
}

impl Index {
    /// What the target holds, at most `limit` blocks, in no order.
    pub(crate) fn dump(&self, slot: Slot, limit: usize) -> Vec<CachedBlock> {
        let lanes = self.cache(slot).into_iter().flat_map(|cache| &cache.lanes);
        let names = lanes.flat_map(|lane| lane.names.iter().map(move |(engine, word)| (lane, engine, word)));
        names
            .filter_map(|(lane, engine, word)| {
                let (id, offset) = self.resolve(address(word))?;
                let extent = &self.extents[id];
                Some(CachedBlock {
                    group: lane.group,
                    tier: lane.tier,
                    engine,
                    prefix: extent.blocks[usize::from(offset)],
                    depth: extent.blocks.depth + u32::from(offset) + 1,
                    copies: lane.copies(engine),
                })
            })
            .take(limit)
            .collect()
    }
}
