//! The KV index: which target holds which prefix on which tier, exact against the engines' events, and which live
//! bookings contain it.
//!
//! A trie of *extents*: runs of consecutive blocks, found by the hash of the prefix that their first block ends. A
//! block's place (extent, offset) never changes: where prompts part, another extent hangs off, and nothing is split.
//! Per extent, a *coverage* says which blocks each target holds in device memory, and further ones the same for slower tiers,
//! pending and active blocks. A block removed from the middle is a hole between two intervals, so it can go and come back
//! and its tail be extended meanwhile. Blocks that nobody holds, contains or continues are cut off.
//!
//! Engines' own hashes are opaque names, by target, cache group and tier, that lead to a block's *address*: a number of 31 bits.
//! Names are what costs memory, so they are kept small (`names`), and what is rare is kept beside them: further copies, and
//! further names of one block.

mod addresses;
mod apply;
mod blocks;
mod cache;
mod claims;
mod clear;
mod coverage;
mod dump;
mod evict;
mod extent;
mod heads;
mod image;
mod names;
mod pieces;
mod place;
mod prefetch;
mod remove;

use rustc_hash::FxHashMap;

use addresses::{Address, Addresses};
use cache::Cache;
pub use cache::{Applied, IndexStats};
pub(crate) use claims::{Known, Segment};
pub(crate) use coverage::{Coverage, Interval};
pub use dump::CachedBlock;
use extent::Extents;
pub(crate) use extent::{Extent, ExtentId};
use heads::Heads;
pub(crate) use image::{Drawing, Spans};
pub(crate) use pieces::{BLOCKS_AT_ONCE, Piece, Step, Steps};

use crate::event::Tier;
use crate::hash::PrefixHash;

/// A target's dense number inside the state; reused after the target is gone and nothing refers to it.
pub(crate) type Slot = u32;

/// Blocks of one extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) extent: ExtentId,
    pub(crate) start: u16,
    pub(crate) end: u16,
}

#[derive(Debug)]
pub(crate) struct Index {
    extents: Extents,
    heads: Heads,
    addresses: Addresses,
    caches: Vec<Option<Cache>>,
    /// Names beyond the first that one target has for one block on one tier.
    extra_names: FxHashMap<(Address, Slot, Tier), u32>,
    /// Distinct blocks, those that are only claimed and holes included.
    blocks: usize,
    /// Names over all caches.
    names: usize,
    /// (block, target) pairs.
    entries: usize,
    eviction: evict::Eviction,
    sweep: evict::Sweep,
    blocks_max: usize,
    /// Changes of what a target holds, so far.
    changes: u64,
    scratch: apply::Scratch,
}

impl Index {
    pub(crate) fn new(blocks_max: usize) -> Self {
        Self {
            extents: Extents::default(),
            heads: Heads::default(),
            addresses: Addresses::default(),
            caches: Vec::new(),
            extra_names: FxHashMap::default(),
            blocks: 0,
            names: 0,
            entries: 0,
            eviction: evict::Eviction::default(),
            sweep: evict::Sweep::default(),
            blocks_max,
            changes: 0,
            scratch: apply::Scratch::default(),
        }
    }

    /// The extent whose first block ends the prefix.
    pub(crate) fn head(&self, prefix: PrefixHash) -> Option<(ExtentId, &Extent)> {
        self.heads.get(prefix).map(|id| (id, &self.extents[id]))
    }

    /// How many blocks of an extent the prompt that enters it has, and the extent with which it goes on.
    pub(crate) fn follow(
        &self,
        (id, extent): (ExtentId, &Extent),
        prompt: &[PrefixHash],
    ) -> (u16, Option<(ExtentId, &Extent)>) {
        // Needed in any case, after what is waited for here.
        extent.device.prefetch();
        // One that hangs off it and begins as the prompt goes on there tells that all before is the same, and spares the
        // look at the blocks themselves. Looking for it at several places would cost more than that.
        let hangs = |at: u16| {
            let next = self.head(*prompt.get(usize::from(at))?)?;
            next.1.hangs_off(id, at).then_some((at, Some(next)))
        };
        extent.attached_once().and_then(hangs).unwrap_or_else(|| {
            let matched = extent.matched(0, prompt);
            let first = prompt.get(usize::from(matched)).filter(|_| extent.has_child(matched));
            (matched, first.and_then(|first| self.head(*first)))
        })
    }

    /// Slots that were ever in use: what a table by slot must have room for.
    pub(crate) fn slots(&self) -> usize {
        self.caches.len()
    }

    fn cache(&self, slot: Slot) -> Option<&Cache> {
        self.caches.get(slot as usize).and_then(Option::as_ref)
    }

    fn cache_mut(&mut self, slot: Slot) -> Option<&mut Cache> {
        self.caches.get_mut(slot as usize).and_then(Option::as_mut)
    }

    /// Where an address is; `None` if its block was evicted.
    fn resolve(&self, address: Address) -> Option<(ExtentId, u16)> {
        resolve(&self.addresses, &self.extents, address)
    }

    /// Distinct blocks that the target holds on any tier.
    pub(crate) fn cached_blocks(&self, slot: Slot) -> u32 {
        self.cache(slot).map_or(0, |cache| cache.blocks)
    }

    pub(crate) fn stats(&self) -> IndexStats {
        // hashbrown keeps one control byte per bucket and fills 7 of 8.
        let map = |capacity: usize, entry: usize| capacity * 8 / 7 * (entry + 1);
        let bytes = self.extents.bytes()
            + self.heads.bytes()
            + self.addresses.bytes()
            + map(self.extra_names.capacity(), size_of::<((Address, Slot, Tier), u32)>())
            + self.caches.iter().flatten().map(Cache::bytes).sum::<usize>();
        IndexStats {
            blocks: self.blocks,
            entries: self.entries,
            names: self.names,
            evicted: self.eviction.evicted,
            bytes,
        }
    }

    /// Whether the bytes that were counted along the way are those that are there.
    #[cfg(test)]
    pub(crate) fn bytes_are_right(&self) -> bool {
        self.extents.bytes() == self.extents.bytes_counted()
    }
}

/// See [`Index::resolve`].
fn resolve(addresses: &Addresses, extents: &Extents, address: Address) -> Option<(ExtentId, u16)> {
    let id = addresses.owner(address)?;
    let extent = extents.get(id)?;
    let offset = address - extent.run.base;
    (offset < u32::from(extent.len())).then_some((id, offset as u16))
}
