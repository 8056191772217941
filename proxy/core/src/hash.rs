//! Keyed hashes of KV blocks.
//!
//! A block's content is named by a hash of its own tokens; the block itself, content and prefix, by a hash over those
//! ([`PrefixHash`]).
//! The key is secret per process, so that a client cannot craft prompts that collide with another tenant's blocks.

mod prefix;

use std::fmt;

pub use prefix::{Chain, PrefixHash};
use twox_hash::xxhash3_128::{RawHasher, SecretBuffer};
use twox_hash::{XxHash3_64, XxHash3_128};
use zerocopy::IntoBytes;

use crate::ids::BlockSize;

/// The keyed hash of one block's tokens (and of what else tells it apart, such as an image's digest).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub u64);

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The root under which prefixes are comparable: model, LoRA adapter and cache salt. Equal tokens under different
/// namespaces are different blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(pub u64);

/// A block's name in the engine's own words: opaque, meaningful only within one rank and cache group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineHash(pub u64);

impl EngineHash {
    /// From the bytes that some engines send: their last eight, big endian, which for vLLM is also the integer form
    /// (its wire integer is the digest modulo 2^64).
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut last = [0; 8];
        let taken = bytes.len().min(8);
        last[8 - taken..].copy_from_slice(&bytes[bytes.len() - taken..]);
        Self(u64::from_be_bytes(last))
    }
}

const SECRET_BYTES: usize = 192;
const LONG_ENOUGH: &str = "XXH3 takes keys of 136 bytes and more";

/// The secret key of this process's block hashes and namespaces.
#[derive(Clone)]
pub struct HashKey([u8; SECRET_BYTES]);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl HashKey {
    /// A key derived from 32 bytes of the caller's randomness.
    pub fn new(random: [u8; 32]) -> Self {
        let mut secret = [0; SECRET_BYTES];
        for (i, chunk) in secret.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&XxHash3_64::oneshot_with_seed(i as u64, &random).to_le_bytes());
        }
        Self(secret)
    }

    /// The hash of one block of tokens.
    ///
    /// `extra` is what the engine mixes in besides the tokens (multimodal digests and offsets); empty for text.
    pub fn block(&self, tokens: &[u32], extra: &[u8]) -> BlockHash {
        if extra.is_empty() {
            return BlockHash(self.bytes(tokens.as_bytes()));
        }
        BlockHash(self.bytes(&[tokens.as_bytes(), extra].concat()))
    }

    /// The hashes of the whole blocks of `tokens`; a last partial block has none.
    pub fn blocks(&self, tokens: &[u32], block_size: BlockSize) -> Vec<BlockHash> {
        tokens.chunks_exact(block_size.0.max(1) as usize).map(|block| self.block(block, &[])).collect()
    }

    /// The namespace of a model, with the LoRA adapter and cache salt that keep its blocks apart, if any.
    pub fn namespace(&self, model: &str, lora: Option<&str>, salt: Option<&str>) -> Namespace {
        let mut bytes = Vec::with_capacity(64);
        for part in [Some(model), lora, salt] {
            // Length and presence first, so that no two triples give the same bytes.
            let length = part.map_or(u64::MAX, |text| text.len() as u64);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        Namespace(self.bytes(&bytes))
    }

    /// A keyed hash of any bytes, for tables whose keys come from outside.
    pub fn bytes(&self, bytes: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_secret(&self.0, bytes).expect(LONG_ENOUGH)
    }

    /// [`HashKey::bytes`] wide enough to stand for what it hashes: without the key, no two inputs can be found that share one.
    pub fn bytes_wide(&self, bytes: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_secret(&self.0, bytes).expect(LONG_ENOUGH)
    }

    /// For bytes that come one after the other. What it gives is not [`HashKey::bytes_wide`] of them: up to 240 bytes the key plays no part,
    /// so it tells whether bytes are whole, not who wrote them.
    pub fn hasher(&self) -> KeyedHasher {
        KeyedHasher(Box::new(RawHasher::new(SecretBuffer::new(0, self.0).expect(LONG_ENOUGH))))
    }
}

/// What [`HashKey::block`] mixes in for a block besides its tokens; empty for plain text.
///
/// Per multimodal item that touches the block, in order: `m`, the identifier's length (u64, little endian), the
/// identifier, the item's start relative to the block's (i64, little endian). Then, for prompt embeddings, `e`, the
/// digest's length (u64, little endian), the digest. LoRA name and cache salt are no part of it: they are in the
/// namespace.
pub fn block_extra(items: &[(&str, i64)], prompt_embeds: Option<&[u8]>) -> Vec<u8> {
    let mut extra = Vec::new();
    for (identifier, offset) in items {
        extra.push(b'm');
        extra.extend_from_slice(&(identifier.len() as u64).to_le_bytes());
        extra.extend_from_slice(identifier.as_bytes());
        extra.extend_from_slice(&offset.to_le_bytes());
    }
    if let Some(digest) = prompt_embeds {
        extra.push(b'e');
        extra.extend_from_slice(&(digest.len() as u64).to_le_bytes());
        extra.extend_from_slice(digest);
    }
    extra
}

/// Hashes bytes as they come.
pub struct KeyedHasher(Box<RawHasher<[u8; SECRET_BYTES]>>);

impl KeyedHasher {
    /// So many more.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// The hash of all so far.
    pub fn wide(&self) -> u128 {
        self.0.finish_128()
    }
}

#[cfg(test)]
mod tests;
