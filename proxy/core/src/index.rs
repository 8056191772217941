//! The KV index: which target holds which prefix on which tier, exact against the engines' events, and which live
//! bookings contain it.
//!
//! A trie of blocks in an arena. A node is one block after one prefix in one namespace; it knows the targets that
//! hold it and the bookings that contain it. Nodes that nobody holds, contains or continues are freed, so a block
//! removed from the middle stays as a hole until its tail is gone or it is stored again.

mod apply;
mod arena;
mod cache;
mod evict;

use rustc_hash::FxHashMap;

pub(crate) use arena::{Claim, Held, NodeId};
pub use cache::{Applied, CachedBlock, IndexStats};

use crate::hash::{BlockHash, Namespace};
use crate::ids::BlockSize;
use arena::{Arena, Place};
use cache::Cache;

/// A target's dense number inside the state; reused after the target is gone and nothing refers to it.
pub(crate) type Slot = u32;

/// Where a prompt's blocks begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RootKey {
    pub(crate) namespace: Namespace,
    pub(crate) block_size: BlockSize,
}

#[derive(Debug)]
pub(crate) struct Index {
    arena: Arena,
    /// Every child by (parent, content).
    children: FxHashMap<(NodeId, BlockHash), NodeId>,
    roots: FxHashMap<RootKey, NodeId>,
    caches: Vec<Option<Cache>>,
    /// Names over all caches.
    names: usize,
    /// Held entries over all nodes: (block, target) pairs.
    entries: usize,
    /// Where the eviction goes on.
    hand: usize,
    evicted: u64,
    blocks_max: usize,
}

impl Index {
    pub(crate) fn new(blocks_max: usize) -> Self {
        Self {
            arena: Arena::default(),
            children: FxHashMap::default(),
            roots: FxHashMap::default(),
            caches: Vec::new(),
            names: 0,
            entries: 0,
            hand: 0,
            evicted: 0,
            blocks_max,
        }
    }

    /// The root of a namespace, if anything is in it.
    pub(crate) fn root(&self, key: RootKey) -> Option<NodeId> {
        self.roots.get(&key).copied()
    }

    /// The block `content` behind `parent`.
    pub(crate) fn child(&self, parent: NodeId, content: BlockHash) -> Option<NodeId> {
        self.children.get(&(parent, content)).copied()
    }

    pub(crate) fn root_or_insert(&mut self, key: RootKey) -> NodeId {
        let arena = &mut self.arena;
        *self.roots.entry(key).or_insert_with(|| arena.insert(Place::Root(key), 0))
    }

    pub(crate) fn child_or_insert(&mut self, parent: NodeId, content: BlockHash) -> NodeId {
        let arena = &mut self.arena;
        *self.children.entry((parent, content)).or_insert_with(|| {
            let depth = arena[parent].depth + 1;
            arena[parent].children += 1;
            arena.insert(Place::Child { parent, content }, depth)
        })
    }

    /// Frees the node and what is above it, as far as nobody needs them.
    pub(crate) fn release(&mut self, mut node: NodeId) {
        while self.arena[node].is_unused() {
            match self.arena.remove(node) {
                Place::Root(key) => {
                    self.roots.remove(&key);
                    break;
                }
                Place::Child { parent, content } => {
                    self.children.remove(&(parent, content));
                    self.arena[parent].children -= 1;
                    node = parent;
                }
            }
        }
        if self.arena.is_empty() {
            self.arena = Arena::default();
            self.children = FxHashMap::default();
            self.roots = FxHashMap::default();
            self.hand = 0;
        }
    }

    /// Who holds the block.
    pub(crate) fn held(&self, node: NodeId) -> &[Held] {
        &self.arena[node].held
    }

    /// Which bookings contain the block, by target.
    pub(crate) fn claims(&self, node: NodeId) -> &[Claim] {
        &self.arena[node].claims
    }

    /// Notes that the block was of use, so that it is not the next to be evicted.
    pub(crate) fn touch(&self, node: NodeId) {
        self.arena[node].touch();
    }

    pub(crate) fn held_by(&self, node: NodeId, slot: Slot) -> Option<&Held> {
        let held = &self.arena[node].held;
        held.binary_search_by_key(&slot, |held| held.slot).ok().map(|at| &held[at])
    }

    pub(crate) fn claim(&self, node: NodeId, slot: Slot) -> Option<&Claim> {
        let claims = &self.arena[node].claims;
        claims.binary_search_by_key(&slot, |claim| claim.slot).ok().map(|at| &claims[at])
    }

    /// Changes what a target's bookings claim of a block, and forgets the claim when it is empty. The caller calls
    /// [`release`](Self::release) once it is through with the node.
    pub(crate) fn with_claim<R>(
        &mut self,
        node: NodeId,
        slot: Slot,
        change: impl FnOnce(&mut Claim) -> R,
    ) -> R {
        let claims = &mut self.arena[node].claims;
        let at = match claims.binary_search_by_key(&slot, |claim| claim.slot) {
            Ok(at) => at,
            Err(at) => {
                claims.insert(at, Claim::new(slot));
                at
            }
        };
        let result = change(&mut claims[at]);
        if claims[at].is_empty() {
            claims.remove(at);
            if claims.is_empty() {
                *claims = Vec::new();
            }
        }
        result
    }

    /// How many blocks from the root the node is.
    pub(crate) fn depth(&self, node: NodeId) -> u32 {
        self.arena[node].depth
    }
}
