//! Hashes of prefixes: what a block is called together with everything before it.

use std::fmt;
use std::iter::repeat_n;
use std::ops::Deref;
use std::sync::Arc;

use super::{BlockHash, Namespace};
use crate::ids::BlockSize;

/// Names a block together with all that precedes it and the namespace it lies in. Two prompts agree up to a block exactly if
/// they agree in its prefix hash (up to collisions of 64 bits), so one comparison stands for the whole prefix.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrefixHash(pub u64);

impl fmt::Debug for PrefixHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl PrefixHash {
    /// The empty prefix of a namespace, in blocks of a size.
    pub fn root(namespace: Namespace, block_size: BlockSize) -> Self {
        Self(fold(namespace.0 ^ 0x9e37_79b9_7f4a_7c15, u64::from(block_size.0) ^ 0xd1b5_4a32_d192_ed03))
    }

    /// This prefix and one more block. Both sides are keyed hashes, so nobody outside can aim at a collision.
    #[must_use]
    pub fn then(self, content: BlockHash) -> Self {
        Self(fold(self.0 ^ 0xa076_1d64_78bd_642f, content.0 ^ 0xe703_7ed1_a0b4_28db))
    }
}

/// Folded multiplication, the mixing step of wyhash.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The prefix hash of each whole block of a prompt, for one block size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain(Arc<[PrefixHash]>);

impl Chain {
    /// From the hashes of the blocks' contents, in order.
    pub fn new(
        namespace: Namespace,
        block_size: BlockSize,
        contents: impl IntoIterator<Item = BlockHash>,
    ) -> Self {
        let root = PrefixHash::root(namespace, block_size);
        let prefixes = contents.into_iter().scan(root, |prefix, content| {
            *prefix = prefix.then(content);
            Some(*prefix)
        });
        Self(prefixes.collect())
    }

    /// From prefix hashes that stand in several places, in order.
    pub fn joined(parts: &[&[PrefixHash]]) -> Self {
        // Joined in place: a list that becomes an `Arc` is copied once more.
        let length = parts.iter().map(|part| part.len()).sum();
        let mut all: Arc<[PrefixHash]> = repeat_n(PrefixHash(0), length).collect();
        if let Some(mut rest) = Arc::get_mut(&mut all) {
            for part in parts {
                let (here, after) = rest.split_at_mut(part.len());
                here.copy_from_slice(part);
                rest = after;
            }
        }
        Self(all)
    }
}

impl Deref for Chain {
    type Target = [PrefixHash];

    fn deref(&self) -> &[PrefixHash] {
        &self.0
    }
}
