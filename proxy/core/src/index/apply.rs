//! Events into the index: what was stored.

use super::addresses::Address;
use super::cache::{Lane, Named};
use super::place::Spot;
use super::{Applied, Index, Slot, Span};
use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::{BlockHash, EngineHash, PrefixHash};
use crate::ids::BlockSize;

/// Names that are warmed together before they are used.
pub(super) const WARM: usize = 16;

/// Buffers that are kept.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    chain: Vec<PrefixHash>,
    /// Offsets whose name had the block already.
    again: Vec<u16>,
    /// Blocks whose name went to another.
    left: Vec<Address>,
}

impl Index {
    /// Applies events of one target. `arrived` is told of blocks that are new on its device tier where something was
    /// pending.
    pub(crate) fn apply(&mut self, slot: Slot, events: &[CacheEvent], arrived: &mut Vec<Span>) -> Applied {
        let mut applied = Applied::default();
        if self.cache(slot).is_none() {
            applied.unknown_target = true;
            return applied;
        }
        let mut rest = events;
        while let Some(event) = rest.first() {
            let mut taken = 1;
            match event {
                CacheEvent::Stored { parent, blocks, block_size, tier, group } => {
                    let kind = (*tier, *group);
                    self.store(slot, *parent, blocks, *block_size, kind, &mut applied, arrived);
                }
                CacheEvent::Removed { tier, group, .. } => {
                    let kind = (*tier, *group);
                    taken = rest.iter().take_while(|event| is_removal(event, kind)).count();
                    let blocks = rest[..taken].iter().flat_map(removed).copied();
                    self.remove(slot, blocks, kind, &mut applied);
                }
                CacheEvent::Cleared => applied.removed += self.clear_cache(slot),
            }
            rest = &rest[taken..];
        }
        applied.truncated = self.cache(slot).is_some_and(|cache| cache.truncated);
        applied
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event, and what it did")]
    fn store(
        &mut self,
        slot: Slot,
        parent: Parent,
        blocks: &[StoredBlock],
        block_size: BlockSize,
        (tier, group): (Tier, CacheGroup),
        applied: &mut Applied,
        arrived: &mut Vec<Span>,
    ) {
        let Some(cache) = self.cache(slot) else { return };
        if cache.block_size != block_size {
            applied.wrong_block_size = true;
            return;
        }
        let (spot, root) = match parent {
            Parent::Root(namespace) => (Spot::Root, PrefixHash::root(namespace, block_size)),
            Parent::Block(engine) => {
                let found = cache.find(engine, group, tier).find_map(|address| self.resolve(address));
                let Some((extent, offset)) = found else {
                    applied.unknown_parent = true;
                    return;
                };
                (Spot::After(extent, offset + 1), self.extents[extent].chain[usize::from(offset)])
            }
        };
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.chain.clear();
        scratch.chain.extend(blocks.iter().scan(root, |prefix, block| {
            *prefix = prefix.then(block.content);
            Some(*prefix)
        }));
        self.store_chain(slot, spot, blocks, (tier, group), &mut scratch, applied, arrived);
        scratch.chain.shrink_to(4096);
        self.scratch = scratch;
    }

    /// The target computed a prompt, as far as is known: each block is named by its own prefix.
    pub(crate) fn remember(&mut self, slot: Slot, chain: &[PrefixHash], arrived: &mut Vec<Span>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.chain.clear();
        scratch.chain.extend_from_slice(chain);
        let blocks: Vec<_> = chain
            .iter()
            .map(|prefix| StoredBlock { engine: EngineHash(prefix.0), content: BlockHash(prefix.0) })
            .collect();
        let kind = (Tier::Device, CacheGroup::default());
        self.store_chain(slot, Spot::Root, &blocks, kind, &mut scratch, &mut Applied::default(), arrived);
        self.scratch = scratch;
    }

    /// What [`remember`](Self::remember) did once, undone.
    pub(crate) fn forget(&mut self, slot: Slot, chain: &[PrefixHash]) {
        let names = chain.iter().rev().map(|prefix| EngineHash(prefix.0));
        self.remove(slot, names, (Tier::Device, CacheGroup::default()), &mut Applied::default());
    }

    /// Stores blocks whose prefixes stand in `scratch.chain`.
    #[expect(clippy::too_many_arguments, reason = "as of `store`")]
    fn store_chain(
        &mut self,
        slot: Slot,
        mut spot: Spot,
        blocks: &[StoredBlock],
        (tier, group): (Tier, CacheGroup),
        scratch: &mut Scratch,
        applied: &mut Applied,
        arrived: &mut Vec<Span>,
    ) {
        let mut done = 0;
        while done < blocks.len() {
            let Some(span) = self.place(spot, &scratch.chain[done..]) else {
                // No address is left: as if it had been evicted at once.
                if let Some(cache) = self.cache_mut(slot) {
                    cache.truncated = true;
                }
                break;
            };
            let count = usize::from(span.end - span.start);
            self.name(slot, span, &blocks[done..done + count], (tier, group), scratch, applied);
            self.cover(slot, tier, span, &scratch.again, arrived);
            done += count;
            spot = Spot::After(span.extent, span.end);
        }
        // Only now, so that nothing is cut off that the event is about to hold.
        for address in scratch.left.drain(..) {
            match self.resolve(address) {
                Some((extent, offset)) => {
                    self.uncover(slot, tier, Span { extent, start: offset, end: offset + 1 });
                }
                None => {
                    self.names += 1;
                    self.sweep.stale -= 1;
                }
            }
        }
    }

    /// Gives each block of a span one more copy under its name.
    fn name(
        &mut self,
        slot: Slot,
        span: Span,
        blocks: &[StoredBlock],
        (tier, group): (Tier, CacheGroup),
        scratch: &mut Scratch,
        applied: &mut Applied,
    ) {
        scratch.again.clear();
        let first = self.extents[span.extent].run.base + u32::from(span.start);
        let Some(cache) = self.caches.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let copy = cache.count_copies;
        let lane = cache.lane_or_insert(group, tier);
        let mut new = 0;
        for (at, blocks) in (0..).step_by(WARM).zip(blocks.chunks(WARM)) {
            warm(lane, blocks.iter().map(|block| block.engine));
            for (block, offset) in blocks.iter().zip(at..) {
                match lane.name(block.engine, first + u32::from(offset), copy) {
                    Named::New => new += 1,
                    Named::Again => scratch.again.push(span.start + offset),
                    Named::Instead(address) => scratch.left.push(address),
                }
            }
        }
        self.names += new;
        applied.duplicates += scratch.again.len() as u32;
        applied.stored += (blocks.len() - scratch.again.len()) as u32;
    }

    /// The target holds a span, all of whose blocks were named; those at `again` it held before under the same name.
    fn cover(&mut self, slot: Slot, tier: Tier, span: Span, again: &[u16], arrived: &mut Vec<Span>) {
        let Span { extent: id, start, end } = span;
        let slots = self.caches.len();
        let extent = &mut self.extents[id];
        let held = extent.lane(tier).map_or(0, |lane| lane.count(slot, start, end));
        if held as usize > again.len() {
            // Held already, under another name.
            for offset in (start..end).filter(|offset| again.binary_search(offset).is_err()) {
                if extent.lane(tier).is_some_and(|lane| lane.contains(slot, offset)) {
                    let key = (extent.run.base + u32::from(offset), slot, tier);
                    *self.extra_names.entry(key).or_default() += 1;
                }
            }
        }
        if held == u32::from(end - start) {
            return;
        }
        let before = extent.held_on_any(slot, start, end);
        extent.lane_mut(tier).add(slot, start, end, slots);
        let new = u32::from(end - start) - before;
        if tier == Tier::Device && extent.pending().is_some_and(|pending| !pending.is_empty()) {
            arrived.push(span);
        }
        self.entries += new as usize;
        if let Some(cache) = self.cache_mut(slot) {
            cache.blocks += new;
        }
    }
}

fn is_removal(event: &CacheEvent, kind: (Tier, CacheGroup)) -> bool {
    matches!(event, CacheEvent::Removed { tier, group, .. } if (*tier, *group) == kind)
}

fn removed(event: &CacheEvent) -> &[EngineHash] {
    match event {
        CacheEvent::Removed { blocks, .. } => blocks,
        _ => &[],
    }
}

/// Brings the places of names into the cache, all at once.
pub(super) fn warm(lane: &Lane, names: impl Iterator<Item = EngineHash>) {
    // The sum is of no use but keeps the reads.
    std::hint::black_box(names.fold(0, |sum, name| sum ^ lane.names.warm(name)));
}
