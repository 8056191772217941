//! KV events of a bare server: the JSON of its draining endpoint in, what happened to which rank's cache out.

use rankwise_core::event::Tier;
use rankwise_core::hash::EngineHash;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, Visitor};

use crate::error::Error;

/// Asked with POST and an empty body. Each event is told once, to one caller.
pub const PATH: &str = "/kv_cache_events";

/// One event of one rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counted per rank from 0, without gaps.
    pub id: u64,
    /// The rank that it is of. Told only under attention DP.
    pub rank: Option<u32>,
    /// Which of the rank's caches.
    pub cache: CacheKey,
    /// What happened.
    pub change: Change,
}

/// Which of a rank's caches: a model with attention windows has one for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheKey {
    /// Tokens of its attention window; 0 where none is told.
    pub window: u32,
    /// Its group of layers.
    pub group: u32,
}

impl CacheKey {
    /// Whether this one is to be indexed rather than the other: a larger window holds longer prefixes.
    pub fn is_better_than(self, other: Self) -> bool {
        (self.window, other.group) > (other.window, self.group)
    }
}

/// What happened to a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was made, empty.
    Created {
        /// Blocks that it has on the device, if told.
        blocks: Option<u32>,
    },
    /// Blocks were stored, each continuing the one before.
    Stored {
        /// What the first continues; `None` at the start of a prompt.
        parent: Option<EngineHash>,
        /// In order of the prompt.
        blocks: Vec<Block>,
    },
    /// Blocks are gone.
    Removed(Vec<EngineHash>),
    /// A block lies somewhere else now, or its priority changed.
    Updated {
        /// Which.
        block: EngineHash,
        /// Where it lies now, if that changed.
        tier: Option<Tier>,
    },
    /// It is empty.
    Cleared,
    /// Of a type that is not known.
    Unknown,
}

/// A stored block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The engine's name for it.
    pub name: EngineHash,
    /// Its token ids. `None`: something else than token ids of the base model lies in it.
    pub tokens: Option<Vec<u32>>,
    /// The cache salt of its prompt, where the version tells.
    pub salt: Option<String>,
    /// Where it lies.
    pub tier: Tier,
}

/// Reads one answer.
///
/// # Errors
/// If it is not JSON of this shape. Nothing of an answer that cannot be read whole is returned.
pub fn decode(body: &[u8]) -> Result<Vec<Event>, Error> {
    let events: Vec<RawEvent> =
        serde_json::from_slice(body).map_err(|source| Error::Json { path: PATH, source })?;
    Ok(events.into_iter().map(Event::from).collect())
}

#[derive(Deserialize)]
struct RawEvent {
    event_id: u64,
    data: RawData,
    window_size: Option<u32>,
    attention_dp_rank: Option<u32>,
    layer_group_id: Option<u32>,
}

/// The fields of all types of event in one: what a type lacks is absent.
#[derive(Deserialize)]
struct RawData {
    #[serde(rename = "type")]
    kind: String,
    num_blocks_per_cache_level: Option<Vec<u32>>,
    parent_hash: Option<Name>,
    blocks: Option<Vec<RawBlock>>,
    block_hashes: Option<Vec<Name>>,
    block_hash: Option<Name>,
    cache_level: Option<Difference>,
}

#[derive(Deserialize)]
struct Difference {
    new_value: u32,
}

#[derive(Deserialize)]
struct RawBlock {
    block_hash: Name,
    tokens: Vec<RawToken>,
    cache_level: Option<u32>,
    cache_salt: Option<serde_json::Value>,
    mm_keys: Option<Vec<IgnoredAny>>,
    lora_id: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawToken {
    token_id: i64,
    token_extra_id: Option<u64>,
}

/// A block's name: a number of up to 64 bits, read as it is, or a digest in hexadecimal digits.
#[derive(Clone, Copy)]
struct Name(EngineHash);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a block hash: a whole number or hexadecimal digits")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Name, E> {
        Ok(Name(EngineHash(number)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Name, E> {
        Ok(Name(EngineHash(number as u64)))
    }

    /// The last 64 bits, as of every digest.
    fn visit_str<E: de::Error>(self, digits: &str) -> Result<Name, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(digits), &self);
        if digits.is_empty() || digits.len() > 128 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let last = &digits[digits.len().saturating_sub(16)..];
        u64::from_str_radix(last, 16).map(|number| Name(EngineHash(number))).map_err(|_| wrong())
    }
}

impl From<RawEvent> for Event {
    fn from(raw: RawEvent) -> Self {
        let cache = CacheKey {
            window: raw.window_size.unwrap_or_default(),
            group: raw.layer_group_id.unwrap_or_default(),
        };
        Self { id: raw.event_id, rank: raw.attention_dp_rank, cache, change: raw.data.into() }
    }
}

impl From<RawData> for Change {
    fn from(data: RawData) -> Self {
        match (data.kind.as_str(), data.block_hash) {
            ("created", _) => {
                let levels = data.num_blocks_per_cache_level;
                Self::Created { blocks: levels.and_then(|levels| levels.first().copied()) }
            }
            ("stored", _) => Self::Stored {
                parent: data.parent_hash.map(|name| name.0),
                blocks: data.blocks.unwrap_or_default().into_iter().map(Block::from).collect(),
            },
            ("removed", _) => {
                Self::Removed(data.block_hashes.unwrap_or_default().iter().map(|name| name.0).collect())
            }
            ("updated", Some(block)) => {
                Self::Updated { block: block.0, tier: data.cache_level.map(|level| tier(level.new_value)) }
            }
            ("all_cleared", _) => Self::Cleared,
            _ => Self::Unknown,
        }
    }
}

impl From<RawBlock> for Block {
    fn from(raw: RawBlock) -> Self {
        let is_none = |value: &serde_json::Value| value.is_null() || value == 0;
        let is_base =
            raw.lora_id.as_ref().is_none_or(is_none) && raw.mm_keys.is_none_or(|keys| keys.is_empty());
        let token = |token: &RawToken| {
            u32::try_from(token.token_id).ok().filter(|_| token.token_extra_id.unwrap_or_default() == 0)
        };
        let tokens: Option<Vec<u32>> = raw.tokens.iter().map(token).collect();
        let salt = raw.cache_salt.filter(|salt| !salt.is_null()).map(|salt| match salt {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        });
        Self {
            name: raw.block_hash.0,
            tokens: tokens.filter(|_| is_base),
            salt,
            tier: tier(raw.cache_level.unwrap_or_default()),
        }
    }
}

/// The engine's cache levels: the device, the host, and what may come behind.
fn tier(level: u32) -> Tier {
    match level {
        0 => Tier::Device,
        1 => Tier::Host,
        _ => Tier::Disk,
    }
}

#[cfg(test)]
mod tests;
