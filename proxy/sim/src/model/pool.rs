//! One rank's KV blocks: which are in use, which hold a prefix, which is evicted next.
//!
//! The order of reuse is vLLM's (`v1/core/block_pool.py`, and as its events were recorded): a finished sequence returns its blocks
//! last block first to the end of the free list, those without content to its front; a block keeps its content until it is handed out again; a hit takes it out of the list.
//! Two sequences that compute the same content at the same time leave two copies, and each is stored and removed for itself.
//! The last copy of a content that leaves the device goes to the host, if there is such a tier, and comes back on a hit, which costs no time.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::chain::ChainHash;
use super::content::Content;
use super::free_list::{BlockId, FreeList};
use super::host::{HostSpec, HostTier, Put};

/// Where a rank holds a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// The accelerator's memory.
    Device,
    /// The host's.
    Host,
}

/// What happened to a rank's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheChange {
    /// Consecutive blocks of one sequence hold their content now.
    Stored {
        /// Of which tier.
        tier: Tier,
        /// The block before the first of them.
        parent: Option<ChainHash>,
        /// In order.
        blocks: Vec<ChainHash>,
        /// Their tokens, one block after the other.
        tokens: Vec<u32>,
        /// The salt of the sequence, if the first of them is a first block.
        salt: Option<Arc<str>>,
    },
    /// One copy of this block is gone.
    Removed {
        /// From here.
        tier: Tier,
        /// Its name.
        block: ChainHash,
    },
    /// The cache is empty.
    Cleared,
}

/// A content that a rank's cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachedBlock {
    /// Its name.
    pub hash: ChainHash,
    /// The block before it, which may be gone.
    pub parent: Option<ChainHash>,
    /// Its own tokens.
    pub tokens: Vec<u32>,
    /// The salt, if it is a first block of a salted prompt.
    pub salt: Option<Arc<str>>,
    /// Blocks of the device that hold it.
    pub copies: u32,
    /// Whether the host holds it.
    pub in_host: bool,
}

impl CachedBlock {
    /// The tiers that hold it, the fastest first.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> {
        let device = (self.copies > 0).then_some(Tier::Device);
        device.into_iter().chain(self.in_host.then_some(Tier::Host))
    }
}

#[derive(Clone, Debug, Default)]
struct Block {
    users: u32,
    content: Option<ChainHash>,
}

#[derive(Debug)]
struct OnDevice {
    /// In the order in which they were stored; the first is the one that hits use.
    copies: Vec<BlockId>,
    content: Content,
}

/// A block of a prompt that the cache holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hit {
    Device(BlockId),
    /// It takes a block of the device to come back to.
    Host(ChainHash),
}

/// The blocks of one rank.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: FreeList,
    contents: FxHashMap<ChainHash, OnDevice>,
    host: HostTier,
    changes: Vec<CacheChange>,
}

impl BlockPool {
    /// `usable` empty blocks on the device, the engine's total without its null block, and an empty host.
    pub fn new(usable: u32, host: HostSpec) -> Self {
        Self {
            blocks: vec![Block::default(); usable as usize],
            free: FreeList::full(usable),
            contents: FxHashMap::default(),
            host: HostTier::new(host),
            changes: Vec::new(),
        }
    }

    /// Usable blocks of the device.
    pub fn capacity(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Those that no sequence holds.
    pub fn free(&self) -> u32 {
        self.free.len()
    }

    /// Those that hold a content, used or not.
    pub fn cached(&self) -> usize {
        self.contents.values().map(|content| content.copies.len()).sum()
    }

    /// Leading blocks of `chain` that the cache holds.
    pub(super) fn hits(&self, chain: &[ChainHash]) -> Vec<Hit> {
        let hit = |&hash: &ChainHash| match self.contents.get(&hash).and_then(|found| found.copies.first()) {
            Some(&block) => Some(Hit::Device(block)),
            None => self.host.holds(hash).then_some(Hit::Host(hash)),
        };
        chain.iter().map_while(hit).collect()
    }

    /// How many free blocks are taken by using these.
    pub(super) fn taken_by(&self, hits: &[Hit]) -> u32 {
        let takes = |hit: &&Hit| match hit {
            Hit::Device(block) => self.blocks[*block as usize].users == 0,
            Hit::Host(_) => true,
        };
        hits.iter().filter(takes).count() as u32
    }

    /// Uses cached blocks, for which there is room: those of the device, to which the others come back.
    pub(super) fn use_hits(&mut self, hits: &[Hit]) -> Vec<BlockId> {
        for hit in hits {
            if let &Hit::Device(block) = hit {
                self.free.remove(block);
                self.blocks[block as usize].users += 1;
            }
        }
        // In hand before room is made for them, which may push them out of where they lie; the first ones of a prompt last, as they
        // are to go last.
        let mut coming = Vec::new();
        for hit in hits.iter().rev() {
            if let &Hit::Host(hash) = hit {
                coming.extend(self.host.touch(hash).map(|content| (hash, content.clone())));
            }
        }
        let mut blocks = Vec::with_capacity(hits.len());
        for hit in hits {
            blocks.push(match hit {
                Hit::Device(block) => *block,
                Hit::Host(_) => match (self.take(), coming.pop()) {
                    (Some(block), Some((hash, content))) => self.bring_back(block, hash, content),
                    _ => break,
                },
            });
        }
        blocks
    }

    fn bring_back(&mut self, block: BlockId, hash: ChainHash, content: Content) -> BlockId {
        self.blocks[block as usize].content = Some(hash);
        self.changes.push(content.stored(Tier::Device, hash));
        self.contents.insert(hash, OnDevice { copies: vec![block], content });
        self.leave_host(hash);
        block
    }

    /// Hands out a free block, whose content is gone from the device with that.
    pub(super) fn take(&mut self) -> Option<BlockId> {
        let id = self.free.pop_front()?;
        let block = &mut self.blocks[id as usize];
        block.users = 1;
        if let Some(hash) = block.content.take() {
            if let Some(found) = self.contents.get_mut(&hash) {
                found.copies.retain(|&copy| copy != id);
                if found.copies.is_empty()
                    && let Some(last) = self.contents.remove(&hash)
                {
                    self.offload(hash, &last.content);
                }
            }
            self.changes.push(CacheChange::Removed { tier: Tier::Device, block: hash });
        }
        Some(id)
    }

    fn offload(&mut self, hash: ChainHash, content: &Content) {
        let Put { is_new, evicted } = self.host.put(hash, content);
        self.changes.extend(evicted.map(|block| CacheChange::Removed { tier: Tier::Host, block }));
        self.changes.extend(is_new.then(|| content.stored(Tier::Host, hash)));
    }

    /// What is on the device now leaves the host, where a block lies in one tier at a time.
    fn leave_host(&mut self, hash: ChainHash) {
        if self.host.moves() && self.host.remove(hash) {
            self.changes.push(CacheChange::Removed { tier: Tier::Host, block: hash });
        }
    }

    /// A sequence lets go of its blocks, given in order of the prompt.
    pub(super) fn release(&mut self, blocks: &[BlockId]) {
        for &id in blocks.iter().rev() {
            let block = &mut self.blocks[id as usize];
            block.users = block.users.saturating_sub(1);
            match (block.users, block.content) {
                (0, Some(_)) => self.free.push_back(id),
                // Nothing is lost with it, so it goes first.
                (0, None) => self.free.push_front(id),
                _ => {}
            }
        }
    }

    /// Names the content of full blocks that follow each other: `blocks[i]` holds `tokens[i * size..]`.
    pub(super) fn store(&mut self, run: &StoredRun<'_>) {
        let Some(size) = run.tokens.len().checked_div(run.hashes.len()) else { return };
        let mut parent = run.parent;
        for ((&id, &hash), tokens) in run.blocks.iter().zip(run.hashes).zip(run.tokens.chunks_exact(size)) {
            let salt = parent.is_none().then(|| run.salt.cloned()).flatten();
            self.blocks[id as usize].content = Some(hash);
            self.contents
                .entry(hash)
                .or_insert_with(|| OnDevice {
                    copies: Vec::new(),
                    content: Content { parent, tokens: tokens.into(), salt },
                })
                .copies
                .push(id);
            self.leave_host(hash);
            parent = Some(hash);
        }
        self.report(run);
    }

    /// Says that these blocks are stored without storing them: for a request that wants hits reported.
    pub(super) fn report(&mut self, run: &StoredRun<'_>) {
        if run.hashes.is_empty() {
            return;
        }
        self.changes.push(CacheChange::Stored {
            tier: Tier::Device,
            parent: run.parent,
            blocks: run.hashes.to_vec(),
            tokens: run.tokens.to_vec(),
            salt: run.parent.is_none().then(|| run.salt.cloned()).flatten(),
        });
    }

    /// Forgets every content of every tier. False, and nothing happens, while any block is in use, as in vLLM.
    pub fn clear(&mut self) -> bool {
        if self.free() != self.capacity() {
            return false;
        }
        for block in &mut self.blocks {
            block.content = None;
        }
        self.contents.clear();
        self.host.clear();
        self.changes.push(CacheChange::Cleared);
        true
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<CacheChange> {
        std::mem::take(&mut self.changes)
    }

    /// All contents, sorted by name.
    pub fn cache(&self) -> Vec<CachedBlock> {
        let on_device = self.contents.iter().map(|(&hash, found)| {
            found.content.cached(hash, found.copies.len() as u32, self.host.holds(hash))
        });
        let offloaded = self.host.contents().filter(|(hash, _)| !self.contents.contains_key(hash));
        let mut cache: Vec<_> =
            on_device.chain(offloaded.map(|(hash, content)| content.cached(hash, 0, true))).collect();
        cache.sort_unstable_by_key(|block| block.hash);
        cache
    }
}

impl Content {
    /// This block alone.
    fn stored(&self, tier: Tier, hash: ChainHash) -> CacheChange {
        let Self { parent, tokens, salt } = self;
        let (parent, salt) = (*parent, salt.clone());
        CacheChange::Stored { tier, parent, blocks: vec![hash], tokens: tokens.to_vec(), salt }
    }

    fn cached(&self, hash: ChainHash, copies: u32, in_host: bool) -> CachedBlock {
        let Self { parent, tokens, salt } = self;
        CachedBlock { hash, parent: *parent, tokens: tokens.to_vec(), salt: salt.clone(), copies, in_host }
    }
}

/// Full blocks of one sequence that follow each other.
pub(super) struct StoredRun<'a> {
    pub(super) parent: Option<ChainHash>,
    pub(super) blocks: &'a [BlockId],
    pub(super) hashes: &'a [ChainHash],
    pub(super) tokens: &'a [u32],
    pub(super) salt: Option<&'a Arc<str>>,
}
