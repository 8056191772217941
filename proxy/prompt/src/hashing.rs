//! Token ids to what their blocks are found by.

use std::sync::Arc;

use rankwise_core::hash::{BlockHash, Chain, HashKey, Namespace, PrefixHash};
use rankwise_core::ids::BlockSize;
use smallvec::SmallVec;

use crate::ids::PromptIds;
use crate::media;

/// How a prompt is hashed.
#[derive(Clone, Copy, Debug)]
pub struct Hashing<'a> {
    /// Where its blocks live.
    pub namespace: Namespace,
    /// The sizes of blocks that are wanted.
    pub sizes: &'a [BlockSize],
}

/// The block hashes of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptHashes {
    /// Tokens in the prompt (in what is known of it, if `truncated`).
    pub tokens: u32,
    /// How many of them were not encoded, because an earlier prompt began in the same way.
    pub reused: u32,
    /// See [`PromptIds::truncated`].
    pub truncated: bool,
    /// Its first tokens, 1024 at most.
    pub head: Arc<[u32]>,
    /// Its whole blocks, for each size asked for.
    pub blocks: SmallVec<[(BlockSize, Chain); 1]>,
}

/// The most tokens at a prompt's beginning that are kept as they are.
pub(crate) const HEAD_TOKENS: usize = 1024;

/// The block hashes of `prompt`.
pub fn block_hashes(prompt: &PromptIds, key: &HashKey, hashing: Hashing<'_>) -> PromptHashes {
    let Hashing { namespace, sizes } = hashing;
    let chain = |size| {
        let chain = match prompt.media.is_empty() {
            true => Chain::new(namespace, size, contents(&prompt.ids, size, key)),
            false => Chain::new(namespace, size, contents_with_media(prompt, size, key)),
        };
        (size, chain)
    };
    PromptHashes {
        tokens: u32::try_from(prompt.ids.len()).unwrap_or(u32::MAX),
        reused: 0,
        truncated: prompt.truncated,
        head: prompt.ids[..prompt.ids.len().min(HEAD_TOKENS)].into(),
        blocks: sizes.iter().copied().map(chain).collect(),
    }
}

fn contents(ids: &[u32], size: BlockSize, key: &HashKey) -> impl Iterator<Item = BlockHash> {
    ids.chunks_exact(whole(size)).map(|block| key.block(block, &[]))
}

fn contents_with_media(
    prompt: &PromptIds,
    size: BlockSize,
    key: &HashKey,
) -> impl Iterator<Item = BlockHash> {
    let blocks = prompt.ids.chunks_exact(whole(size)).enumerate();
    blocks
        .map(move |(at, block)| key.block(block, &media::extra(&prompt.media, at * block.len(), block.len())))
}

/// Tokens per block, at least one.
pub(crate) fn whole(size: BlockSize) -> usize {
    size.0.max(1) as usize
}

/// The blocks that end within `ids`, each named with all before it. `open` ends with the tokens of the block that is not whole yet after
/// `before` tokens, whose whole blocks `prefix` names.
pub(crate) fn continue_chain(
    prefix: PrefixHash,
    (open, before): (&[u32], usize),
    ids: &[u32],
    size: BlockSize,
    key: &HashKey,
) -> Box<[PrefixHash]> {
    let whole = whole(size);
    let begun = before % whole;
    let (first, rest) = ids.split_at(ids.len().min((whole - begun) % whole));
    let joined = (begun > 0 && begun + first.len() == whole)
        .then(|| key.block(&[&open[open.len() - begun..], first].concat(), &[]));
    let mut prefix = prefix;
    let mut blocks = Vec::with_capacity((begun + ids.len()) / whole);
    blocks.extend(joined.into_iter().chain(contents(rest, size, key)).map(|content| {
        prefix = prefix.then(content);
        prefix
    }));
    blocks.into()
}
