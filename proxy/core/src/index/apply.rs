//! Events into the index: what was stored.

use super::addresses::Address;
use super::cache::Named;
use super::pieces::{Kind, Piece};
use super::place::Spot;
use super::{Applied, Index, Slot, Span};
use crate::event::{CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::{BlockHash, EngineHash, Namespace, PrefixHash};

/// How many names ahead memory is asked for: as long as it takes is as long as so many names take.
pub(super) const AHEAD: usize = 16;

/// Buffers that are kept.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Blocks of several events that follow each other.
    run: Vec<StoredBlock>,
    chain: Vec<PrefixHash>,
    /// Blocks that will continue the chain before long.
    to_come: usize,
    /// Up to where the chain is a prompt's: what is stored several blocks at once is, an answer comes block by block.
    prompt: usize,
    /// Offsets whose name had the block already.
    again: Vec<u16>,
    /// Blocks whose name went to another.
    left: Vec<Address>,
    /// Names of several events that are to go.
    pub(super) names: Vec<EngineHash>,
    /// Blocks to be uncovered.
    pub(super) runs: Vec<Span>,
}

impl Index {
    /// Applies pieces of events of one target. `arrived` is told of blocks that are new on its device tier where something was
    /// pending.
    pub(crate) fn apply(&mut self, slot: Slot, pieces: &[Piece<'_>], arrived: &mut Vec<Span>) -> Applied {
        let mut applied = Applied::default();
        if self.cache(slot).is_none() {
            applied.unknown_target = true;
            return applied;
        }
        self.changed(slot);
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut rest = pieces;
        while let Some(piece) = rest.first() {
            let taken = match *piece {
                Piece::Stored { .. } => self.store(slot, rest, &mut scratch, &mut applied, arrived),
                Piece::Removed { kind, .. } => self.remove_all(slot, rest, kind, &mut scratch, &mut applied),
            };
            rest = &rest[taken..];
        }
        self.scratch = scratch;
        applied.truncated = self.cache(slot).is_some_and(|cache| cache.truncated);
        applied
    }

    /// Stores the first piece, and those behind it that continue it: an answer comes block by block. Returns how many.
    fn store(
        &mut self,
        slot: Slot,
        pieces: &[Piece<'_>],
        scratch: &mut Scratch,
        applied: &mut Applied,
        arrived: &mut Vec<Span>,
    ) -> usize {
        let Some(&Piece::Stored { parent, blocks, block_size, kind, .. }) = pieces.first() else { return 1 };
        let Some(cache) = self.cache(slot) else { return 1 };
        if cache.block_size != block_size {
            applied.wrong_block_size = true;
            return 1;
        }
        let Some((spot, prefix)) = self.spot(slot, parent, kind) else {
            applied.unknown_parent = true;
            return 1;
        };
        let mut prefix = prefix.unwrap_or_else(|namespace| PrefixHash::root(namespace, block_size));
        let continued = pieces.iter().take_while(|piece| piece.blocks_to_come() > 0).count();
        let taken = pieces.len().min(continued + 1);
        let mut run = std::mem::take(&mut scratch.run);
        let blocks = if taken == 1 {
            blocks
        } else {
            run.clear();
            run.extend(pieces[..taken].iter().flat_map(stored));
            &run
        };
        self.expect(slot, blocks.iter().map(|block| block.engine), kind);
        scratch.to_come = pieces[taken - 1].blocks_to_come();
        let answer = pieces[..taken].iter().rev().take_while(|piece| stored(piece).len() == 1).count();
        scratch.prompt = blocks.len() - answer;
        scratch.chain.clear();
        scratch.chain.extend(blocks.iter().map(|block| {
            prefix = prefix.then(block.content);
            prefix
        }));
        self.store_chain(slot, spot, blocks, kind, scratch, applied, arrived);
        scratch.run = run;
        taken
    }

    /// Where what continues `parent` begins, and the prefix before it: a namespace's, at its beginning.
    fn spot(
        &self,
        slot: Slot,
        parent: Parent,
        (tier, group): Kind,
    ) -> Option<(Spot, Result<PrefixHash, Namespace>)> {
        match parent {
            Parent::Root(namespace) => Some((Spot::Root, Err(namespace))),
            Parent::Block(engine) => {
                let mut addresses = self.cache(slot)?.find(engine, group, tier);
                let (extent, offset) = addresses.find_map(|address| self.resolve(address))?;
                let prefix = self.extents[extent].blocks[usize::from(offset)];
                Some((Spot::After(extent, offset + 1), Ok(prefix)))
            }
        }
    }

    /// The target computed a prompt, as far as is known: each block is named by its own prefix.
    pub(crate) fn remember(&mut self, slot: Slot, chain: &[PrefixHash], arrived: &mut Vec<Span>) {
        let mut scratch = std::mem::take(&mut self.scratch);
        (scratch.to_come, scratch.prompt) = (0, chain.len());
        scratch.chain.clear();
        scratch.chain.extend_from_slice(chain);
        let blocks: Vec<_> = chain
            .iter()
            .map(|prefix| StoredBlock { engine: EngineHash(prefix.0), content: BlockHash(prefix.0) })
            .collect();
        let kind = (Tier::Device, CacheGroup::default());
        self.expect(slot, blocks.iter().map(|block| block.engine), kind);
        self.store_chain(slot, Spot::Root, &blocks, kind, &mut scratch, &mut Applied::default(), arrived);
        self.scratch = scratch;
    }

    /// What [`remember`](Self::remember) did once, undone.
    pub(crate) fn forget(&mut self, slot: Slot, chain: &[PrefixHash]) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut names = std::mem::take(&mut scratch.names);
        names.clear();
        names.extend(chain.iter().rev().map(|prefix| EngineHash(prefix.0)));
        let kind = (Tier::Device, CacheGroup::default());
        self.expect(slot, names.iter().copied(), kind);
        self.remove(slot, &names, kind, &mut scratch, &mut Applied::default());
        scratch.names = names;
        self.scratch = scratch;
    }

    /// Stores blocks whose prefixes stand in `scratch.chain`.
    #[expect(clippy::too_many_arguments, reason = "what is stored where, and what it did")]
    fn store_chain(
        &mut self,
        slot: Slot,
        mut spot: Spot,
        blocks: &[StoredBlock],
        kind: Kind,
        scratch: &mut Scratch,
        applied: &mut Applied,
        arrived: &mut Vec<Span>,
    ) {
        let mut rest = blocks;
        while !rest.is_empty() {
            let done = blocks.len() - rest.len();
            let Some(span) = self.place(spot, &scratch.chain[done..], scratch.to_come) else {
                // No address is left: as if it had been evicted at once.
                self.truncate(slot);
                break;
            };
            let count = usize::from(span.end - span.start);
            if (done + 1..=done + count).contains(&scratch.prompt) {
                self.extents.mark(span.extent, span.start + (scratch.prompt - done) as u16);
            }
            self.hold_span(slot, span, rest, kind, scratch, applied, arrived);
            spot = Spot::After(span.extent, span.end);
            rest = &rest[count..];
        }
        self.take_from_left(slot, kind, scratch);
    }

    /// Names are about to be looked for: memory is asked for where the first of them are.
    pub(super) fn expect(&self, slot: Slot, names: impl Iterator<Item = EngineHash>, (tier, group): Kind) {
        if let Some(lane) = self.cache(slot).and_then(|cache| cache.lane(group, tier)) {
            names.take(AHEAD).for_each(|name| lane.names.prefetch(name));
        }
    }

    /// The target holds the blocks of a span, by the first of these names; others follow before long.
    #[expect(clippy::too_many_arguments, reason = "as of `store_chain`")]
    pub(super) fn hold_span(
        &mut self,
        slot: Slot,
        span: Span,
        blocks: &[StoredBlock],
        kind: Kind,
        scratch: &mut Scratch,
        applied: &mut Applied,
        arrived: &mut Vec<Span>,
    ) {
        self.name(slot, span, blocks, kind, scratch, applied);
        self.cover(slot, kind.0, span, &scratch.again, arrived);
    }

    /// Blocks whose names went to others have one name less. Only once all is stored, so that nothing is cut off that is about to
    /// be held.
    pub(super) fn take_from_left(&mut self, slot: Slot, (tier, _): Kind, scratch: &mut Scratch) {
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

    /// Gives each block of a span one more copy under its name. Names behind those are asked for ahead.
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
        let count = usize::from(span.end - span.start);
        for (number, (block, offset)) in blocks.iter().zip(span.start..span.end).enumerate() {
            if let Some(later) = blocks.get(number + AHEAD) {
                lane.names.prefetch(later.engine);
            }
            match lane.name(block.engine, first + number as u32, copy) {
                Named::New => new += 1,
                Named::Again => scratch.again.push(offset),
                Named::Instead(address) => scratch.left.push(address),
            }
        }
        self.names += new;
        applied.duplicates += scratch.again.len() as u32;
        applied.stored += (count - scratch.again.len()) as u32;
    }

    /// The target holds a span, all of whose blocks were named; those at `again` it held before under the same name.
    fn cover(&mut self, slot: Slot, tier: Tier, span: Span, again: &[u16], arrived: &mut Vec<Span>) {
        let Span { extent: id, start, end } = span;
        let slots = self.caches.len();
        let mut extent = self.extents.live(id);
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
        let is_only_tier = tier == Tier::Device && !extent.has_slower();
        let before = if is_only_tier { held } else { extent.held_on_any(slot, start, end) };
        extent.lane_mut(tier).add(slot, start, end, slots);
        let new = u32::from(end - start) - before;
        if tier == Tier::Device && extent.pending().is_some_and(|pending| !pending.is_empty()) {
            arrived.push(span);
        }
        drop(extent);
        self.entries += new as usize;
        if let Some(cache) = self.cache_mut(slot) {
            cache.blocks += new;
        }
    }
}

fn stored<'a>(piece: &Piece<'a>) -> &'a [StoredBlock] {
    match piece {
        Piece::Stored { blocks, .. } => blocks,
        Piece::Removed { .. } => &[],
    }
}
