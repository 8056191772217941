//! From the engine's events to the index's: which of them can be indexed, and under which names.

use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::hash::{BlockHash, HashKey, Namespace, block_extra};
use rankwise_core::ids::BlockSize;

use super::event::{Content, Event, Extra, Stored};

/// What a rank's events are translated with.
#[derive(Clone, Debug)]
pub struct Translation {
    /// The process's key, the same that prompts are hashed with.
    pub key: HashKey,
    /// The base model's name, the same that prompts of all its aliases and adapters are hashed under.
    pub model: String,
    /// Tokens per block of this rank.
    pub block_size: BlockSize,
}

/// Why an event was not indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum SkipReason {
    /// Its tokens are not those of its blocks exactly: some blocks of the range are masked or partial.
    Length = 0,
    /// Its block size is not the rank's.
    BlockSize = 1,
    /// Its KV cache group is not the lowest one of full attention.
    Group = 2,
    /// It has a LoRA adapter whose name is not told.
    LoraName = 3,
    /// Its extra keys cannot be understood.
    ExtraKeys = 4,
    /// It holds something else than token ids.
    Tokens = 5,
    /// Its type is not known.
    Type = 6,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Length,
        Self::BlockSize,
        Self::Group,
        Self::LoraName,
        Self::ExtraKeys,
        Self::Tokens,
        Self::Type,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::BlockSize => "block_size",
            Self::Group => "group",
            Self::LoraName => "lora_name",
            Self::ExtraKeys => "extra_keys",
            Self::Tokens => "tokens",
            Self::Type => "type",
        }
    }
}

/// How many events were not indexed, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped([u64; SkipReason::ALL.len()]);

impl Skipped {
    /// Events skipped for this reason.
    pub fn count(&self, reason: SkipReason) -> u64 {
        self.0[reason as usize]
    }

    /// All events skipped.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(crate) fn add(&mut self, reason: SkipReason) {
        self.0[reason as usize] += 1;
    }
}

/// Translates one rank's events.
#[derive(Clone, Debug)]
pub struct Translator {
    translation: Translation,
    plain: Namespace,
    group: Option<u32>,
    skipped: Skipped,
}

impl Translator {
    /// A translator that has seen nothing.
    pub fn new(translation: Translation) -> Self {
        let plain = translation.key.namespace(&translation.model, None, None);
        Self { translation, plain, group: None, skipped: Skipped::default() }
    }

    /// The process's key.
    pub(crate) fn key(&self) -> &HashKey {
        &self.translation.key
    }

    /// Tokens per block.
    #[cfg(test)]
    pub(crate) fn block_size(&self) -> BlockSize {
        self.translation.block_size
    }

    /// The cache group that is indexed, if one has shown.
    pub(crate) fn group(&self) -> Option<u32> {
        self.group
    }

    /// Goes on with that group.
    pub(crate) fn set_group(&mut self, group: Option<u32>) {
        self.group = group;
    }

    /// What was skipped so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Appends what `events` mean to the index.
    ///
    /// Returns whether a lower full-attention group has turned up than the one indexed so far: what was translated
    /// before is then of the wrong group, and the rank is to be cleared and read again.
    pub fn translate(&mut self, events: &[Event<'_>], out: &mut Vec<CacheEvent>) -> bool {
        let before = self.group;
        for event in events {
            match self.one(event) {
                Ok(Some(event)) => out.push(event),
                Ok(None) => {}
                Err(reason) => self.skipped.add(reason),
            }
        }
        before.is_some() && before != self.group
    }

    fn one(&mut self, event: &Event<'_>) -> Result<Option<CacheEvent>, SkipReason> {
        match event {
            Event::Stored(stored) => self.stored(stored),
            Event::Removed { blocks, tier, group } => {
                let group = self.indexed(*group)?;
                let event = CacheEvent::Removed { blocks: blocks.clone(), tier: *tier, group };
                Ok((!blocks.is_empty()).then_some(event))
            }
            Event::Cleared => Ok(Some(CacheEvent::Cleared)),
            Event::Unknown => Err(SkipReason::Type),
        }
    }

    fn stored(&mut self, stored: &Stored<'_>) -> Result<Option<CacheEvent>, SkipReason> {
        let tier = stored.tier.unwrap_or(Tier::Device);
        if stored.kind.is_some_and(|kind| kind != "full_attention") {
            return Err(SkipReason::Group);
        }
        if tier == Tier::Device {
            let group = stored.group.unwrap_or(0);
            self.group = Some(self.group.map_or(group, |lowest| lowest.min(group)));
        }
        let group = self.indexed(stored.group)?;
        let block_size = self.translation.block_size;
        if stored.block_size != block_size.0 || block_size.0 == 0 {
            return Err(SkipReason::BlockSize);
        }
        let Content::Tokens(tokens) = &stored.content else { return Err(SkipReason::Tokens) };
        if stored.blocks.len().checked_mul(block_size.0 as usize) != Some(tokens.len()) {
            return Err(SkipReason::Length);
        }
        if stored.lora_id.is_some_and(|id| id != 0) && stored.lora_name.is_none() {
            return Err(SkipReason::LoraName);
        }
        let extra = stored.extra.as_deref().unwrap_or_default();
        if !extra.is_empty() && extra.len() != stored.blocks.len() {
            return Err(SkipReason::ExtraKeys);
        }
        if stored.blocks.is_empty() {
            return Ok(None);
        }
        let contents = tokens.chunks_exact(block_size.0 as usize).enumerate().map(|(at, tokens)| {
            let keys = extra.get(at).map_or(&[][..], Vec::as_slice);
            self.content(tokens, keys, stored.lora_name)
        });
        let mut salt = stored.cache_salt;
        let mut blocks = Vec::with_capacity(stored.blocks.len());
        for (at, (engine, content)) in stored.blocks.iter().zip(contents).enumerate() {
            let (content, block_salt) = content?;
            if at == 0 {
                salt = block_salt.or(salt);
            } else if block_salt.is_some() {
                return Err(SkipReason::ExtraKeys);
            }
            blocks.push(StoredBlock { engine: *engine, content });
        }
        let parent = match stored.parent {
            Some(parent) => Parent::Block(parent),
            None => Parent::Root(self.namespace(stored.lora_name, salt)),
        };
        Ok(Some(CacheEvent::Stored { parent, blocks, block_size, tier, group }))
    }

    /// The group under which copies are counted, if it is the one that is indexed. Tiers below the device may leave the
    /// group out.
    fn indexed(&self, group: Option<u32>) -> Result<CacheGroup, SkipReason> {
        let indexed = self.group.unwrap_or(0);
        if group.unwrap_or(indexed) == indexed { Ok(CacheGroup(indexed)) } else { Err(SkipReason::Group) }
    }

    fn namespace(&self, lora: Option<&str>, salt: Option<&str>) -> Namespace {
        if lora.is_none() && salt.is_none() {
            return self.plain;
        }
        self.translation.key.namespace(&self.translation.model, lora, salt)
    }

    /// The block's name and its cache salt. The keys are untagged but ordered: LoRA name, multimodal items, cache salt,
    /// digest of prompt embeddings.
    fn content<'a>(
        &self,
        tokens: &[u32],
        keys: &[Extra<'a>],
        lora: Option<&str>,
    ) -> Result<(BlockHash, Option<&'a str>), SkipReason> {
        let mut keys = keys;
        if let ([Extra::Text(first), rest @ ..], Some(lora)) = (keys, lora)
            && *first == lora
        {
            keys = rest;
        }
        let mut items = Vec::new();
        let (mut salt, mut digest) = (None, None);
        for key in keys {
            match key {
                Extra::Item { identifier, offset } if salt.is_none() && digest.is_none() => {
                    items.push((*identifier, *offset));
                }
                Extra::Text(text) if salt.is_none() && digest.is_none() => salt = Some(*text),
                Extra::Digest(bytes) if digest.is_none() => digest = Some(*bytes),
                _ => return Err(SkipReason::ExtraKeys),
            }
        }
        let extra = block_extra(&items, digest);
        Ok((self.translation.key.block(tokens, &extra), salt))
    }
}
