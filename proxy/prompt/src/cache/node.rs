//! The block hashes of a prompt's beginning, as what it adds to a shorter beginning.

use std::sync::Arc;

use rankwise_core::hash::{Chain, HashKey, PrefixHash};
use smallvec::SmallVec;

use super::charge::Charge;
use crate::hashing::{HEAD_TOKENS, Hashing, continue_chain, whole};

/// A beginning of a prompt. Holds only what it adds to its parent: conversations that branch share their stem, and a long one costs memory
/// in proportion to its length.
pub(crate) struct Node {
    parent: Option<Arc<Self>>,
    /// From the prompt's first.
    tokens: usize,
    /// Ancestors.
    depth: usize,
    /// For each block size.
    blocks: SmallVec<[Blocks; 1]>,
    /// The last tokens, as many as stand in no whole block of some size.
    tail: Box<[u32]>,
    /// The prompt's first tokens, shared with the parent once there are [`HEAD_TOKENS`].
    head: Arc<[u32]>,
    pub(super) charge: Charge,
}

struct Blocks {
    /// The whole blocks that the parent does not have.
    new: Box<[PrefixHash]>,
    /// The name of all whole blocks.
    all: PrefixHash,
}

impl Node {
    pub(super) fn extend(
        parent: Option<&Arc<Self>>,
        ids: &[u32],
        hashing: Hashing<'_>,
        key: &HashKey,
    ) -> Self {
        let before = parent.map_or(0, |parent| parent.tokens);
        let open = parent.map_or(&[][..], |parent| &parent.tail);
        let tokens = before + ids.len();
        let blocks = hashing.sizes.iter().enumerate().map(|(at, size)| {
            let all = match parent {
                Some(parent) => parent.blocks[at].all,
                None => PrefixHash::root(hashing.namespace, *size),
            };
            let new = continue_chain(all, (open, before), ids, *size, key);
            Blocks { all: new.last().copied().unwrap_or(all), new }
        });
        let blocks = blocks.collect();
        let kept = hashing.sizes.iter().map(|size| tokens % whole(*size)).max().unwrap_or(0);
        let tail = match kept.checked_sub(ids.len()) {
            None | Some(0) => ids[ids.len() - kept..].into(),
            Some(of_parent) => [&open[open.len() - of_parent..], ids].concat().into(),
        };
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        let head = match parent {
            Some(parent) if parent.head.len() == HEAD_TOKENS => Arc::clone(&parent.head),
            parent => {
                let known = parent.map_or(&[][..], |parent| &parent.head);
                known.iter().chain(ids).take(HEAD_TOKENS).copied().collect()
            }
        };
        Self { parent: parent.cloned(), tokens, depth, blocks, tail, head, charge: Charge::default() }
    }

    /// Tokens of the beginning.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The first tokens, [`HEAD_TOKENS`] at most.
    pub(crate) fn head(&self) -> Arc<[u32]> {
        Arc::clone(&self.head)
    }

    /// Nodes before it.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Memory besides what [`super::store`] adds for each entry.
    pub(super) fn bytes(&self) -> usize {
        let blocks: usize = self.blocks.iter().map(|blocks| size_of_val(&*blocks.new)).sum();
        let shared = self.parent.as_ref().is_some_and(|parent| Arc::ptr_eq(&parent.head, &self.head));
        let head = if shared { 0 } else { size_of_val(&*self.head) };
        size_of::<Self>() + blocks + size_of_val(&*self.tail) + head
    }

    /// All whole blocks of the beginning, for the block size at this place among those it was made for.
    pub(crate) fn chain(&self, size: usize) -> Chain {
        let mut parts = SmallVec::<[&[PrefixHash]; 64]>::new();
        let mut node = Some(self);
        while let Some(this) = node {
            parts.extend(this.blocks.get(size).map(|blocks| &*blocks.new));
            node = this.parent.as_deref();
        }
        parts.reverse();
        Chain::joined(&parts)
    }
}

impl Drop for Node {
    /// One after the other: dropping a long line of parents by itself would be as deep a recursion.
    fn drop(&mut self) {
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.parent.take();
        }
    }
}
