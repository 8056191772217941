//! Finding and making room for blocks in the trie, and cutting off what nobody needs.

use super::addresses::RUN_MAX;
use super::{Extent, ExtentId, Index, Span};
use crate::hash::PrefixHash;

/// A run of addresses is made so many times longer than what is known to come, and at least so long: an extent that grows in
/// place is one step of a lookup, one that has to be continued elsewhere is two.
const ROOM_FACTOR: u32 = 4;
const ROOM_MIN: u32 = 256;

/// Where the next block is to be: after so many blocks of an extent, or at the beginning of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Root,
    After(ExtentId, u16),
}

impl Index {
    /// Finds or makes the first blocks of `chain` behind `spot`, and tells where they are: at least one, as many as lie in
    /// one extent. Room is made for those `to_come` behind them, too. `None` if there is no address left.
    pub(super) fn place(&mut self, spot: Spot, chain: &[PrefixHash], to_come: usize) -> Option<Span> {
        let first = *chain.first()?;
        let mut is_continued = true;
        if let Spot::After(id, at) = spot {
            let extent = &self.extents[id];
            let matched = extent.matched(at, chain);
            if matched > 0 {
                extent.touch();
                return Some(Span { extent: id, start: at, end: at + matched });
            }
            is_continued = extent.has_child(at);
        }
        if let Some(id) = is_continued.then(|| self.heads.get(first)).flatten() {
            let extent = &self.extents[id];
            extent.touch();
            return Some(Span { extent: id, start: 0, end: extent.matched(0, chain) });
        }
        // The first block is new, so are those behind it: a block's prefix is always there.
        if let Spot::After(id, at) = spot {
            let mut extent = self.extents.live(id);
            let room = extent.run.room as usize - usize::from(extent.len());
            if at == extent.len() && room > 0 && !extent.sealed {
                let count = room.min(chain.len());
                extent.blocks.extend(&chain[..count], to_come.min(room - count));
                extent.touch();
                self.blocks += count;
                return Some(Span { extent: id, start: at, end: at + count as u16 });
            }
        }
        self.hang(spot, chain, to_come)
    }

    fn hang(&mut self, spot: Spot, chain: &[PrefixHash], to_come: usize) -> Option<Span> {
        let (parent, attach, depth, before) = match spot {
            Spot::Root => (None, 0, 0, 0),
            Spot::After(id, at) => {
                let extent = &self.extents[id];
                let full = if at == extent.len() { extent.run.room } else { 0 };
                (Some(id), at, extent.blocks.depth + u32::from(at), full)
            }
        };
        let known = (chain.len() + to_come).min(RUN_MAX as usize) as u32;
        let wanted = known.max(before) * ROOM_FACTOR;
        let run = self.addresses.take(wanted.max(ROOM_MIN), self.extents.next())?;
        let count = chain.len().min(run.room as usize);
        let mut extent = Extent::new(run, parent, attach, depth);
        extent.blocks.extend(&chain[..count], to_come.min(run.room as usize - count));
        let id = self.extents.insert(extent);
        self.heads.insert(chain[0], id);
        if let Some(parent) = parent {
            self.extents.live(parent).attach_child(attach);
        }
        self.blocks += count;
        Some(Span { extent: id, start: 0, end: count as u16 })
    }

    /// Cuts off the end of an extent and of those before it, as far as nobody needs it.
    pub(super) fn trim(&mut self, id: ExtentId) {
        let mut next = Some(id);
        while let Some(id) = next {
            let Some(mut extent) = self.extents.change(id) else { return };
            extent.drop_rare_if_empty();
            let (length, needed) = (extent.len(), extent.needed());
            if needed == length {
                return;
            }
            self.blocks -= usize::from(length - needed);
            if needed > 0 {
                extent.blocks.truncate(needed);
                return;
            }
            drop(extent);
            next = self.free(id);
        }
        self.forget_if_empty();
    }

    /// Frees an extent; returns what it hung off.
    fn free(&mut self, id: ExtentId) -> Option<ExtentId> {
        let extent = self.extents.remove(id)?;
        self.heads.remove(extent.blocks[0]);
        if extent.sealed {
            self.addresses.free_after_sweep(extent.run);
        } else {
            self.addresses.free(extent.run);
        }
        if let Some(parent) = extent.parent {
            self.extents.live(parent).detach_child(extent.attach);
        }
        extent.parent
    }

    /// Gives the memory of an empty index back.
    fn forget_if_empty(&mut self) {
        if self.extents.is_empty() {
            self.extents = Default::default();
            self.heads = Default::default();
            self.eviction.start_over();
            if !self.addresses.is_waiting() {
                self.addresses = Default::default();
            }
        }
    }
}
