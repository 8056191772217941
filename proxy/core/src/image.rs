//! What one target holds, as it is kept beyond the process.
//!
//! Made and taken by [`RoutingState::image`](crate::state::RoutingState::image) and
//! [`restore`](crate::state::RoutingState::restore). Hashes in it mean something only together with the key they were made with.

mod bytes;

pub use bytes::ImageError;

use crate::event::{CacheGroup, Tier};
use crate::hash::{EngineHash, PrefixHash};
use crate::ids::BlockSize;

/// One target's blocks with their names, and the prefixes that they continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub(crate) block_size: BlockSize,
    /// Parents before what hangs off them.
    pub(crate) paths: Vec<Path>,
    pub(crate) runs: Vec<Run>,
    pub(crate) copies: Vec<Copies>,
}

/// Consecutive blocks of the trie, whoever holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// The path it hangs off, and how many of that one's blocks precede it: at least one.
    pub(crate) parent: Option<(u32, u16)>,
    /// Of each block, the hash of the prefix that it ends. At least one.
    pub(crate) chain: Vec<PrefixHash>,
}

/// Consecutive blocks of a path that the target holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) path: u32,
    /// The first block's place in the path.
    pub(crate) start: u16,
    pub(crate) tier: Tier,
    pub(crate) group: CacheGroup,
    /// One name a block. At least one.
    pub(crate) names: Vec<EngineHash>,
}

/// A name that was given to its block more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copies {
    pub(crate) tier: Tier,
    pub(crate) group: CacheGroup,
    pub(crate) name: EngineHash,
    /// Beyond the first.
    pub(crate) more: u32,
}

impl Image {
    /// Tokens per block.
    pub fn block_size(&self) -> BlockSize {
        self.block_size
    }

    /// Names in it: blocks, those that have several names counted for each.
    pub fn names(&self) -> usize {
        self.runs.iter().map(|run| run.names.len()).sum()
    }
}

#[cfg(test)]
mod tests;
