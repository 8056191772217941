//! One event of a batch, as the engine sent it.

use rankwise_core::event::Tier;
use rankwise_core::hash::EngineHash;

use crate::error::Error;
use crate::msgpack::{Reader, Token};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Blocks were stored.
    Stored(Stored<'a>),
    /// Copies of blocks are gone.
    Removed {
        /// By the engine's names.
        blocks: Vec<EngineHash>,
        /// From where.
        tier: Tier,
        /// KV cache group, if told.
        group: Option<u32>,
    },
    /// The rank's cache is empty.
    Cleared,
    /// Of a type that is not known.
    Unknown,
}

/// `BlockStored`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored<'a> {
    /// The blocks' names, in order.
    pub blocks: Vec<EngineHash>,
    /// What the first continues; `None` at the start of a prompt.
    pub parent: Option<EngineHash>,
    /// What lies in them.
    pub content: Content,
    /// Tokens per block.
    pub block_size: u32,
    /// Where; absent means the device.
    pub tier: Option<Tier>,
    /// Number of the LoRA adapter.
    pub lora_id: Option<u64>,
    /// Name of the LoRA adapter.
    pub lora_name: Option<&'a str>,
    /// SGLang's key for the salt of the whole prompt; vLLM has it among the first block's extra keys.
    pub cache_salt: Option<&'a str>,
    /// Per block, what its hash mixes in besides the tokens.
    pub extra: Option<Vec<Vec<Extra<'a>>>>,
    /// KV cache group.
    pub group: Option<u32>,
    /// `kv_cache_spec_kind`.
    pub kind: Option<&'a str>,
}

/// The tokens of a stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Token ids.
    Tokens(Vec<u32>),
    /// Something else than token ids.
    Other,
}

impl Default for Content {
    fn default() -> Self {
        Self::Tokens(Vec::new())
    }
}

/// One of the untagged keys of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extra<'a> {
    /// A LoRA name or a cache salt.
    Text(&'a str),
    /// A multimodal item that touches the block.
    Item {
        /// Its identifier.
        identifier: &'a str,
        /// Its start, relative to the block's.
        offset: i64,
    },
    /// A digest of prompt embeddings.
    Digest(&'a [u8]),
    /// Not known.
    Other,
}

/// Order of the positional layout (0.20 and before), the type left out.
const STORED_ORDER: [&[u8]; 9] = [
    b"block_hashes",
    b"parent_block_hash",
    b"token_ids",
    b"block_size",
    b"lora_id",
    b"medium",
    b"lora_name",
    b"extra_keys",
    b"group_idx",
];
const REMOVED_ORDER: [&[u8]; 3] = [b"block_hashes", b"medium", b"group_idx"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stored,
    Removed,
    Cleared,
    Unknown,
}

/// Reads one event of either layout.
pub(super) fn read<'a>(reader: &mut Reader<'a>) -> Result<Event<'a>, Error> {
    let mut fields = Fields::default();
    let kind = match reader.token()? {
        Token::Map(pairs) => {
            let kind = kind_of_map(reader.clone(), pairs)?;
            for _ in 0..pairs {
                match (kind, reader.token()?) {
                    (Kind::Stored | Kind::Removed, Token::Text(name)) => fields.set(name, reader)?,
                    _ => reader.skip()?,
                }
            }
            kind
        }
        Token::Array(length @ 1..) => {
            let kind = kind_of(reader.token()?);
            let order: &[&[u8]] = match kind {
                Kind::Stored => &STORED_ORDER,
                Kind::Removed => &REMOVED_ORDER,
                Kind::Cleared | Kind::Unknown => &[],
            };
            let named = order.len().min(length - 1);
            for name in &order[..named] {
                fields.set(name, reader)?;
            }
            reader.skip_many(length - 1 - named)?;
            kind
        }
        _ => return Err(reader.expected("an event, as a map or an array")),
    };
    Ok(fields.into_event(kind))
}

/// msgspec writes the type first; if somebody does not, it is looked for.
fn kind_of_map(mut reader: Reader<'_>, pairs: usize) -> Result<Kind, Error> {
    for _ in 0..pairs {
        if reader.token()? == Token::Text(b"type") {
            return Ok(kind_of(reader.token()?));
        }
        reader.skip()?;
    }
    Ok(Kind::Unknown)
}

fn kind_of(token: Token<'_>) -> Kind {
    match token {
        Token::Text(b"BlockStored") => Kind::Stored,
        Token::Text(b"BlockRemoved") => Kind::Removed,
        Token::Text(b"AllBlocksCleared") => Kind::Cleared,
        _ => Kind::Unknown,
    }
}

#[derive(Default)]
struct Fields<'a> {
    stored: Stored<'a>,
    remote: bool,
}

impl<'a> Fields<'a> {
    fn set(&mut self, name: &[u8], reader: &mut Reader<'a>) -> Result<(), Error> {
        let stored = &mut self.stored;
        match name {
            b"block_hashes" => stored.blocks = hashes(reader)?,
            b"parent_block_hash" => stored.parent = hash(reader, "parent_block_hash")?,
            b"token_ids" => stored.content = content(reader)?,
            b"block_size" => {
                stored.block_size =
                    number(reader, "block_size")?.map_or(0, |n| u32::try_from(n).unwrap_or(0));
            }
            b"lora_id" => stored.lora_id = number(reader, "lora_id")?,
            b"medium" => stored.tier = text(reader, "medium")?.map(tier),
            b"lora_name" => stored.lora_name = text(reader, "lora_name")?,
            b"cache_salt" => stored.cache_salt = text(reader, "cache_salt")?,
            b"extra_keys" => stored.extra = extra_keys(reader)?,
            b"group_idx" => {
                stored.group = number(reader, "group_idx")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
            }
            b"kv_cache_spec_kind" => stored.kind = text(reader, "kv_cache_spec_kind")?,
            b"locality" => self.remote = text(reader, "locality")? == Some("REMOTE"),
            _ => reader.skip()?,
        }
        Ok(())
    }

    fn into_event(self, kind: Kind) -> Event<'a> {
        let mut stored = self.stored;
        if self.remote {
            // Held for this rank by a store elsewhere, whatever that keeps it in.
            stored.tier = Some(Tier::Disk);
        }
        match kind {
            Kind::Stored => Event::Stored(stored),
            Kind::Removed => Event::Removed {
                blocks: stored.blocks,
                tier: stored.tier.unwrap_or(Tier::Device),
                group: stored.group,
            },
            Kind::Cleared => Event::Cleared,
            Kind::Unknown => Event::Unknown,
        }
    }
}

/// vLLM says GPU, CPU and STORAGE, its Mooncake store cpu, and SGLang CPU_PINNED, DISK and EXTERNAL,
/// in older versions CPU_TIER1 and CPU_TIER2.
fn tier(medium: &str) -> Tier {
    let is = |name: &str| medium.eq_ignore_ascii_case(name);
    if is("GPU") {
        Tier::Device
    } else if is("CPU") || is("CPU_PINNED") || is("CPU_TIER1") {
        Tier::Host
    } else {
        Tier::Disk
    }
}

fn hash_of(token: Token<'_>) -> Option<EngineHash> {
    match token {
        Token::Unsigned(value) => Some(EngineHash(value)),
        Token::Negative(value) => Some(EngineHash(value as u64)),
        Token::Bytes(bytes @ [_, ..]) => Some(EngineHash::from_bytes(bytes)),
        _ => None,
    }
}

fn hash(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<EngineHash>, Error> {
    match reader.token()? {
        Token::Nil => Ok(None),
        token => hash_of(token).map(Some).ok_or_else(|| reader.expected(what)),
    }
}

fn hashes(reader: &mut Reader<'_>) -> Result<Vec<EngineHash>, Error> {
    let length = reader.array("block_hashes")?;
    let mut hashes = Vec::with_capacity(length);
    for _ in 0..length {
        let token = reader.token()?;
        hashes.push(hash_of(token).ok_or_else(|| reader.expected("a block hash"))?);
    }
    Ok(hashes)
}

/// Token ids, or SGLang's pairs of each and its successor (EAGLE), which are read as their first ids: a page of pairs then
/// differs from the page of ids that prompts are hashed by only in the token behind its last.
fn content(reader: &mut Reader<'_>) -> Result<Content, Error> {
    let length = reader.array("token_ids")?;
    let mut tokens = Vec::with_capacity(length);
    let mut successor = None;
    let mut usable = true;
    for _ in 0..length {
        match reader.token()? {
            Token::Unsigned(value) => match u32::try_from(value) {
                Ok(token) if successor.is_none() => tokens.push(token),
                _ => usable = false,
            },
            Token::Array(2) => match pair(reader)? {
                Some((first, second))
                    if successor.unwrap_or(first) == first && successor.is_some() != tokens.is_empty() =>
                {
                    tokens.push(first);
                    successor = Some(second);
                }
                _ => usable = false,
            },
            Token::Array(inside) => {
                usable = false;
                reader.skip_many(inside)?;
            }
            Token::Negative(_) | Token::Nil => usable = false,
            _ => return Err(reader.expected("a token id")),
        }
    }
    Ok(if usable { Content::Tokens(tokens) } else { Content::Other })
}

fn pair(reader: &mut Reader<'_>) -> Result<Option<(u32, u32)>, Error> {
    let mut id = || {
        // What is no id may have something in it.
        let mut inside = reader.clone();
        reader.skip()?;
        Ok(match inside.token()? {
            Token::Unsigned(value) => u32::try_from(value).ok(),
            _ => None,
        })
    };
    let (first, second) = (id()?, id()?);
    Ok(first.zip(second))
}

fn number(reader: &mut Reader<'_>, what: &'static str) -> Result<Option<u64>, Error> {
    match reader.token()? {
        Token::Nil => Ok(None),
        Token::Unsigned(value) => Ok(Some(value)),
        _ => Err(reader.expected(what)),
    }
}

fn text<'a>(reader: &mut Reader<'a>, what: &'static str) -> Result<Option<&'a str>, Error> {
    match reader.token()? {
        Token::Nil => Ok(None),
        Token::Text(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| reader.expected(what)),
        _ => Err(reader.expected(what)),
    }
}

fn extra_keys<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<Vec<Extra<'a>>>>, Error> {
    let length = match reader.token()? {
        Token::Nil => return Ok(None),
        Token::Array(length) => length,
        _ => return Err(reader.expected("extra_keys")),
    };
    // Three words for a one-byte nil, so no more at once than prompts have blocks.
    let mut blocks = Vec::with_capacity(length.min(4096));
    for _ in 0..length {
        blocks.push(match reader.token()? {
            Token::Nil => Vec::new(),
            Token::Array(keys) => (0..keys).map(|_| extra(reader)).collect::<Result<_, _>>()?,
            _ => return Err(reader.expected("a block's extra keys")),
        });
    }
    Ok(Some(blocks))
}

fn extra<'a>(reader: &mut Reader<'a>) -> Result<Extra<'a>, Error> {
    Ok(match reader.token()? {
        Token::Text(bytes) => std::str::from_utf8(bytes).map_or(Extra::Other, Extra::Text),
        Token::Bytes(bytes) => Extra::Digest(bytes),
        Token::Array(2) => {
            let mut inside = reader.clone();
            reader.skip_many(2)?;
            match (inside.token()?, inside.token()) {
                (Token::Text(name), Ok(Token::Unsigned(offset))) => item(name, i64::try_from(offset).ok()),
                (Token::Text(name), Ok(Token::Negative(offset))) => item(name, Some(offset)),
                _ => Extra::Other,
            }
        }
        Token::Array(length) => {
            reader.skip_many(length)?;
            Extra::Other
        }
        Token::Map(pairs) => {
            reader.skip_many(pairs * 2)?;
            Extra::Other
        }
        _ => Extra::Other,
    })
}

fn item(name: &[u8], offset: Option<i64>) -> Extra<'_> {
    match (std::str::from_utf8(name), offset) {
        (Ok(identifier), Some(offset)) => Extra::Item { identifier, offset },
        _ => Extra::Other,
    }
}
