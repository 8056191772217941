//! One rank's KV blocks: which are in use, which hold a prefix, which is evicted next.
//!
//! The order of reuse is vLLM's (`v1/core/block_pool.py`, and as its events were recorded): a finished sequence returns its blocks
//! last block first to the end of the free list, those without content to its front; a block keeps its content until it is handed out again; a hit takes it out of the list.
//! Two sequences that compute the same content at the same time leave two copies, and each is stored and removed for itself.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::chain::ChainHash;
use super::free_list::{BlockId, FreeList};

/// What happened to a rank's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheChange {
    /// Consecutive blocks of one sequence hold their content now.
    Stored {
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
    Removed(ChainHash),
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
    /// Blocks that hold it.
    pub copies: u32,
}

#[derive(Clone, Debug, Default)]
struct Block {
    users: u32,
    content: Option<ChainHash>,
}

#[derive(Debug)]
struct Content {
    /// In the order in which they were stored; the first is the one that hits use.
    copies: Vec<BlockId>,
    parent: Option<ChainHash>,
    tokens: Arc<[u32]>,
    salt: Option<Arc<str>>,
}

/// The blocks of one rank.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    free: FreeList,
    contents: FxHashMap<ChainHash, Content>,
    changes: Vec<CacheChange>,
}

impl BlockPool {
    /// `usable` empty blocks: the engine's total without its null block.
    pub fn new(usable: u32) -> Self {
        Self {
            blocks: vec![Block::default(); usable as usize],
            free: FreeList::full(usable),
            contents: FxHashMap::default(),
            changes: Vec::new(),
        }
    }

    /// Usable blocks.
    pub fn capacity(&self) -> u32 {
        self.blocks.len() as u32
    }

    /// Blocks that no sequence holds.
    pub fn free(&self) -> u32 {
        self.free.len()
    }

    /// Blocks that hold a content, used or not.
    pub fn cached(&self) -> usize {
        self.contents.values().map(|content| content.copies.len()).sum()
    }

    /// Leading blocks of `chain` that the cache holds.
    pub(super) fn hits(&self, chain: &[ChainHash]) -> Vec<BlockId> {
        chain
            .iter()
            .map_while(|hash| self.contents.get(hash).and_then(|content| content.copies.first().copied()))
            .collect()
    }

    /// How many of these are free now and would be taken by using them.
    pub(super) fn unused(&self, blocks: &[BlockId]) -> u32 {
        blocks.iter().filter(|&&block| self.blocks[block as usize].users == 0).count() as u32
    }

    /// Uses cached blocks.
    pub(super) fn touch(&mut self, blocks: &[BlockId]) {
        for &block in blocks {
            self.free.remove(block);
            self.blocks[block as usize].users += 1;
        }
    }

    /// Hands out a free block, whose content is gone with that.
    pub(super) fn take(&mut self) -> Option<BlockId> {
        let id = self.free.pop_front()?;
        let block = &mut self.blocks[id as usize];
        block.users = 1;
        if let Some(hash) = block.content.take() {
            if let Some(content) = self.contents.get_mut(&hash) {
                content.copies.retain(|&copy| copy != id);
                if content.copies.is_empty() {
                    self.contents.remove(&hash);
                }
            }
            self.changes.push(CacheChange::Removed(hash));
        }
        Some(id)
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
                .or_insert_with(|| Content { copies: Vec::new(), parent, tokens: tokens.into(), salt })
                .copies
                .push(id);
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
            parent: run.parent,
            blocks: run.hashes.to_vec(),
            tokens: run.tokens.to_vec(),
            salt: run.parent.is_none().then(|| run.salt.cloned()).flatten(),
        });
    }

    /// Forgets every content. False, and nothing happens, while any block is in use, as in vLLM.
    pub fn clear(&mut self) -> bool {
        if self.free() != self.capacity() {
            return false;
        }
        for block in &mut self.blocks {
            block.content = None;
        }
        self.contents.clear();
        self.changes.push(CacheChange::Cleared);
        true
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<CacheChange> {
        std::mem::take(&mut self.changes)
    }

    /// All contents, sorted by name.
    pub fn cache(&self) -> Vec<CachedBlock> {
        let mut cache: Vec<_> = self
            .contents
            .iter()
            .map(|(&hash, content)| CachedBlock {
                hash,
                parent: content.parent,
                tokens: content.tokens.to_vec(),
                salt: content.salt.clone(),
                copies: content.copies.len() as u32,
            })
            .collect();
        cache.sort_unstable_by_key(|block| block.hash);
        cache
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
