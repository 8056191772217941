//! What happened to a rank's KV cache, in one vocabulary for all engines.

use crate::hash::{BlockHash, EngineHash, Namespace};
use crate::ids::BlockSize;

/// Where a block's KV lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// The accelerator's own memory.
    Device,
    /// The host's memory.
    Host,
    /// Disk, or a store elsewhere.
    Disk,
}

impl Tier {
    /// Number of tiers.
    pub const COUNT: usize = 3;

    /// Fastest first.
    pub const ALL: [Self; Self::COUNT] = [Self::Device, Self::Host, Self::Disk];
}

/// A KV cache group of an engine (hybrid models have several); copies of a block are counted per group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheGroup(pub u32);

/// One stored block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBlock {
    /// The engine's name for it.
    pub engine: EngineHash,
    /// Our name for its content.
    pub content: BlockHash,
}

/// What a run of stored blocks continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nothing: the first block of a prompt in this namespace.
    Root(Namespace),
    /// The block that the engine calls so.
    Block(EngineHash),
}

/// One change of a rank's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheEvent {
    /// Consecutive blocks were stored.
    Stored {
        /// What the first of them continues.
        parent: Parent,
        /// In order of the prompt; each continues the one before.
        blocks: Vec<StoredBlock>,
        /// Tokens per block.
        block_size: BlockSize,
        /// Where.
        tier: Tier,
        /// Which cache group.
        group: CacheGroup,
    },
    /// One copy of each of these blocks is gone.
    Removed {
        /// By the engine's names.
        blocks: Vec<EngineHash>,
        /// From where.
        tier: Tier,
        /// Which cache group.
        group: CacheGroup,
    },
    /// The rank's cache is empty, on every tier.
    Cleared,
}
