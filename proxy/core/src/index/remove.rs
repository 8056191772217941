//! Events into the index: what was removed.

use smallvec::SmallVec;

use super::apply::{AHEAD, Scratch};
use super::pieces::{Kind, Piece};
use super::{Applied, Coverage, Extent, Index, Slot, Span, resolve};
use crate::event::Tier;
use crate::hash::EngineHash;

impl Index {
    /// Takes away what the first piece names, and those behind it of the same kind. Returns how many pieces.
    pub(super) fn remove_all(
        &mut self,
        slot: Slot,
        pieces: &[Piece<'_>],
        kind: Kind,
        scratch: &mut Scratch,
        applied: &mut Applied,
    ) -> usize {
        let alike = pieces.iter().map_while(|piece| match piece {
            Piece::Removed { blocks, kind: here } if *here == kind => Some(*blocks),
            _ => None,
        });
        self.expect(slot, alike.clone().flatten().copied(), kind);
        // In one row, so that it is cheap to look ahead.
        let mut names = std::mem::take(&mut scratch.names);
        names.clear();
        alike.clone().for_each(|blocks| names.extend_from_slice(blocks));
        self.remove(slot, &names, kind, scratch, applied);
        scratch.names = names;
        alike.count()
    }

    /// Takes one copy of each block away. Blocks of one extent that follow each other, either way, are uncovered together:
    /// engines evict from the end.
    pub(super) fn remove(
        &mut self,
        slot: Slot,
        names: &[EngineHash],
        (tier, group): Kind,
        scratch: &mut Scratch,
        applied: &mut Applied,
    ) {
        let cache = self.caches.get_mut(slot as usize).and_then(Option::as_mut);
        let Some(lane) = cache.and_then(|cache| cache.lane_mut(group, tier)) else {
            applied.unknown_removals += names.len() as u32;
            return;
        };
        let runs = &mut scratch.runs;
        // The address before the last run, from which it can go on without looking anything up.
        let mut before = None;
        for (number, name) in names.iter().enumerate() {
            if let Some(later) = names.get(number + AHEAD) {
                lane.names.prefetch(*later);
            }
            let Some((address, last)) = lane.remove(*name) else {
                applied.unknown_removals += 1;
                continue;
            };
            if let Some(run) = runs.last_mut().filter(|run| last && run.start > 0 && before == Some(address))
            {
                run.start -= 1;
                before = Some(address - 1);
                self.names -= 1;
                applied.removed += 1;
                continue;
            }
            let Some((extent, offset)) = resolve(&self.addresses, &self.extents, address) else {
                // The block was evicted before.
                self.sweep.stale -= 1;
                if !last {
                    lane.forget(*name);
                }
                applied.unknown_removals += 1;
                continue;
            };
            applied.removed += 1;
            if !last {
                continue;
            }
            self.names -= 1;
            match runs.last_mut().filter(|run| run.extent == extent && offset == run.end) {
                Some(run) => run.end += 1,
                None => {
                    before = Some(address - 1);
                    runs.push(Span { extent, start: offset, end: offset + 1 });
                }
            }
        }
        for run in runs.drain(..) {
            self.uncover(slot, tier, run);
        }
    }

    /// One name of each block of a span is gone.
    pub(super) fn uncover(&mut self, slot: Slot, tier: Tier, span: Span) {
        if self.extra_names.is_empty() {
            return self.uncover_all(slot, tier, span);
        }
        let base = self.extents[span.extent].run.base;
        let mut from = span.start;
        for offset in span.start..span.end {
            let key = (base + u32::from(offset), slot, tier);
            let Some(more) = self.extra_names.get_mut(&key) else { continue };
            *more -= 1;
            if *more == 0 {
                self.extra_names.remove(&key);
            }
            self.uncover_all(slot, tier, Span { start: from, end: offset, ..span });
            from = offset + 1;
        }
        self.uncover_all(slot, tier, Span { start: from, ..span });
    }

    /// The last name of each block of a span is gone.
    fn uncover_all(&mut self, slot: Slot, tier: Tier, Span { extent: id, start, end }: Span) {
        if start >= end {
            return;
        }
        let mut extent = self.extents.live(id);
        extent.lane_mut(tier).remove(slot, start, end);
        let is_only_tier = tier == Tier::Device && !extent.has_slower();
        let held = if is_only_tier { 0 } else { extent.held_on_any(slot, start, end) };
        let gone = u32::from(end - start) - held;
        let is_end = end == extent.len();
        drop(extent);
        self.entries -= gone as usize;
        if let Some(cache) = self.cache_mut(slot) {
            cache.blocks -= gone;
        }
        if is_end {
            self.trim(id);
        }
    }
}

impl Extent {
    /// Whether anything is held on a slower tier.
    pub(super) fn has_slower(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| !rare.host.is_empty() || !rare.disk.is_empty())
    }

    /// Distinct blocks of `start..end` that a target holds on any tier.
    pub(super) fn held_on_any(&self, slot: Slot, start: u16, end: u16) -> u32 {
        let lanes: SmallVec<[&Coverage; Tier::COUNT]> =
            Tier::ALL.iter().filter_map(|tier| self.lane(*tier)).collect();
        (start..end).filter(|block| lanes.iter().any(|lane| lane.contains(slot, *block))).count() as u32
    }
}
