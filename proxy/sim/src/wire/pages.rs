//! The events of engines that hold every page once: SGLang's radix tree, TensorRT-LLM's blocks.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::event_wire::{BatchStyle, Writer};
use crate::model::chain::ChainHash;
use crate::model::pool::{CacheChange, Tier};

/// What such an engine tells of its cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PageEvent {
    /// Consecutive pages are held now.
    Stored {
        tier: Tier,
        parent: Option<ChainHash>,
        pages: Vec<ChainHash>,
        tokens: Vec<u32>,
        salt: Option<Arc<str>>,
    },
    /// These pages are gone.
    Removed { tier: Tier, pages: Vec<ChainHash> },
    /// Nothing is held.
    Cleared,
}

/// Who tells of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageKeys {
    /// SGLang, whose hashes are signed.
    Sglang,
    /// TensorRT-LLM's shim.
    Shim,
    /// Dynamo's mocker, which has cache groups, and names a medium for the host's memory alone.
    Dynamo,
}

impl PageKeys {
    /// The word for where a page lies, if there is one.
    fn medium(self, tier: Tier) -> Option<&'static str> {
        match (self, tier) {
            (Self::Sglang | Self::Shim, Tier::Device) => Some("GPU"),
            (Self::Dynamo, Tier::Device) => None,
            (Self::Sglang, Tier::Host) => Some("CPU_PINNED"),
            (Self::Shim | Self::Dynamo, Tier::Host) => Some("CPU"),
        }
    }
}

/// How many copies the model has, in each tier, of what the engine has once there.
#[derive(Debug, Default)]
pub(super) struct Pages(FxHashMap<(Tier, ChainHash), u32>);

impl Pages {
    /// What these changes are to a cache without copies.
    pub(super) fn take(&mut self, changes: &[CacheChange]) -> Vec<PageEvent> {
        let mut events = Vec::new();
        for change in changes {
            match change {
                CacheChange::Stored { tier, parent, blocks, tokens, salt } => {
                    self.stored(*tier, *parent, blocks, tokens, salt.as_ref(), &mut events);
                }
                CacheChange::Removed { tier, block } => self.removed(*tier, *block, &mut events),
                CacheChange::Cleared => {
                    self.0.clear();
                    events.push(PageEvent::Cleared);
                }
            }
        }
        events
    }

    /// A run of new pages is one event; one that is there already ends it.
    fn stored(
        &mut self,
        tier: Tier,
        parent: Option<ChainHash>,
        blocks: &[ChainHash],
        tokens: &[u32],
        salt: Option<&Arc<str>>,
        events: &mut Vec<PageEvent>,
    ) {
        let size = tokens.len() / blocks.len().max(1);
        let mut before = parent;
        let mut extends = false;
        for (page, content) in blocks.iter().zip(tokens.chunks(size.max(1))) {
            let copies = self.0.entry((tier, *page)).or_default();
            *copies += 1;
            let new = *copies == 1;
            match events.last_mut() {
                Some(PageEvent::Stored { pages, tokens, .. }) if new && extends => {
                    pages.push(*page);
                    tokens.extend_from_slice(content);
                }
                _ if new => events.push(PageEvent::Stored {
                    tier,
                    parent: before,
                    pages: vec![*page],
                    tokens: content.to_vec(),
                    salt: salt.cloned(),
                }),
                _ => {}
            }
            extends = new;
            before = Some(*page);
        }
    }

    fn removed(&mut self, tier: Tier, page: ChainHash, events: &mut Vec<PageEvent>) {
        let Some(copies) = self.0.get_mut(&(tier, page)) else { return };
        *copies -= 1;
        if *copies > 0 {
            return;
        }
        self.0.remove(&(tier, page));
        match events.last_mut() {
            Some(PageEvent::Removed { tier: from, pages }) if *from == tier => pages.push(page),
            _ => events.push(PageEvent::Removed { tier, pages: vec![page] }),
        }
    }
}

/// The batch `[ts, events, rank]`, key for key as it is written: what is salted says so.
pub(super) fn encode(
    events: &[PageEvent],
    rank: u32,
    unix_seconds: f64,
    style: &BatchStyle,
    keys: PageKeys,
) -> Bytes {
    let mut out = Writer(Vec::with_capacity(256));
    out.array(3);
    out.float(unix_seconds);
    out.array(events.len());
    for event in events {
        write(&mut out, event, style, keys);
    }
    out.number(rank.into());
    out.0.into()
}

fn write(out: &mut Writer, event: &PageEvent, style: &BatchStyle, keys: PageKeys) {
    let name = |out: &mut Writer, page: ChainHash| match style.wire_hash(page) {
        hash if keys == PageKeys::Sglang => out.signed(hash as i64),
        hash => out.number(hash),
    };
    match event {
        PageEvent::Stored { tier, parent, pages, tokens, salt } => {
            // Dynamo's has a group where the others' have a LoRA id.
            let medium = keys.medium(*tier);
            out.map(6 + u32::from(medium.is_some()) + u32::from(salt.is_some()));
            out.entry("type").text("BlockStored");
            out.entry("block_hashes").array(pages.len());
            pages.iter().for_each(|page| name(out, *page));
            out.entry("parent_block_hash");
            match parent {
                Some(parent) => name(out, *parent),
                None => out.nil(),
            }
            out.entry("token_ids").numbers(tokens);
            out.entry("block_size").number(style.block_size.into());
            if keys == PageKeys::Dynamo {
                out.entry("group_idx").number(0);
            } else {
                out.entry("lora_id").nil();
            }
            if let Some(medium) = medium {
                out.entry("medium").text(medium);
            }
            if let Some(salt) = salt {
                out.entry("cache_salt").text(salt);
            }
        }
        PageEvent::Removed { tier, pages } => {
            let (medium, has_group) = (keys.medium(*tier), keys == PageKeys::Dynamo);
            out.map(2 + u32::from(medium.is_some()) + u32::from(has_group));
            out.entry("type").text("BlockRemoved");
            out.entry("block_hashes").array(pages.len());
            pages.iter().for_each(|page| name(out, *page));
            if has_group {
                out.entry("group_idx").number(0);
            }
            if let Some(medium) = medium {
                out.entry("medium").text(medium);
            }
        }
        PageEvent::Cleared => {
            out.map(1);
            out.entry("type").text("AllBlocksCleared");
        }
    }
}

#[cfg(test)]
mod tests;
