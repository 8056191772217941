//! The block hashes of a prompt's beginning, as what it adds to a shorter beginning.

use std::sync::Arc;

use rankwise_core::hash::{BlockHash, HashKey};
use rankwise_core::ids::BlockSize;
use smallvec::SmallVec;

use super::Charge;

/// A beginning of a prompt. Holds only what it adds to its parent: conversations that branch share their stem, and a long one costs memory
/// in proportion to its length.
pub(crate) struct Node {
    parent: Option<Arc<Self>>,
    /// From the prompt's first.
    tokens: usize,
    /// Ancestors.
    depth: usize,
    /// For each block size the hashes of the whole blocks that the parent does not have.
    blocks: SmallVec<[Box<[BlockHash]>; 1]>,
    /// The last tokens, as many as stand in no whole block of some size.
    tail: Box<[u32]>,
    /// The prompt's first tokens, shared with the parent once there are [`HEAD_TOKENS`].
    head: Arc<[u32]>,
    pub(super) charge: Charge,
}

/// The most tokens at a prompt's beginning that are kept as they are.
pub(crate) const HEAD_TOKENS: usize = 1024;

impl Node {
    pub(super) fn extend(
        parent: Option<&Arc<Self>>,
        ids: &[u32],
        sizes: &[BlockSize],
        key: &HashKey,
    ) -> Self {
        let before = parent.map_or(0, |parent| parent.tokens);
        let open = parent.map_or(&[][..], |parent| &parent.tail);
        let tokens = before + ids.len();
        let blocks = sizes.iter().map(|size| new_blocks(open, before, ids, *size, key)).collect();
        let kept = sizes.iter().map(|size| tokens % whole(*size)).max().unwrap_or(0);
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
        let blocks: usize = self.blocks.iter().map(|blocks| size_of_val(&**blocks)).sum();
        size_of::<Self>() + blocks + size_of_val(&*self.tail) + size_of_val(&*self.head)
    }

    /// All block hashes of the beginning, for the block size at this place among those it was made for.
    pub(crate) fn gather(&self, size: usize) -> Vec<BlockHash> {
        let mut parts = SmallVec::<[&[BlockHash]; 64]>::new();
        let mut node = Some(self);
        while let Some(this) = node {
            parts.extend(this.blocks.get(size).map(|blocks| &**blocks));
            node = this.parent.as_deref();
        }
        let mut all = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().rev().for_each(|part| all.extend_from_slice(part));
        all
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

fn whole(size: BlockSize) -> usize {
    size.0.max(1) as usize
}

/// The hashes of the blocks that end within `ids`. `open` ends with the tokens of the block that is not whole yet after `before` tokens.
fn new_blocks(open: &[u32], before: usize, ids: &[u32], size: BlockSize, key: &HashKey) -> Box<[BlockHash]> {
    let whole = whole(size);
    let begun = before % whole;
    let (first, rest) = ids.split_at(ids.len().min((whole - begun) % whole));
    let mut blocks = Vec::with_capacity((begun + ids.len()) / whole);
    if begun + first.len() == whole {
        blocks.push(key.block(&[&open[open.len() - begun..], first].concat(), &[]));
    }
    blocks.extend(rest.chunks_exact(whole).map(|block| key.block(block, &[])));
    blocks.into()
}
