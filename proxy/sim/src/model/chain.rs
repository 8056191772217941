//! Names of block contents: each depends on the whole prefix before it.

use std::hash::Hasher;

use twox_hash::XxHash3_64;

/// The content of a block together with all that comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainHash(pub u64);

/// The hash of a block that continues `parent`. A salt belongs to the first block only, as in vLLM.
pub fn chain(parent: Option<ChainHash>, tokens: &[u32], salt: Option<&str>) -> ChainHash {
    let mut hasher = XxHash3_64::new();
    hasher.write(&[u8::from(parent.is_some())]);
    hasher.write(&parent.map_or(0, |hash| hash.0).to_le_bytes());
    for token in tokens {
        hasher.write(&token.to_le_bytes());
    }
    if let (None, Some(salt)) = (parent, salt) {
        hasher.write(salt.as_bytes());
    }
    ChainHash(hasher.finish())
}
