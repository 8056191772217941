//! Keeping the index under its cap: the coldest blocks go first.
//!
//! A clock over the extents: one that was stored to or matched since the hand last passed gets a second chance. A cold
//! one loses blocks from its end, never what another extent or a live booking continues, so that what is left can still
//! be matched.
//!
//! A block does not know its names, so they stay behind, stale, and are swept out bit by bit. Until a whole sweep is
//! through, no address that they may refer to is used again.

use super::{ExtentId, Index, Interval};
use crate::event::Tier;

/// One part in so many is evicted at once, so that the hand's way is shared by many stores.
const BATCH: usize = 64;

/// Names that an event sweeps while any are stale, and so many more for each that it evicted.
const SWEEP: usize = 256;
const SWEEP_FACTOR: usize = 64;

/// How far the sweep is.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    slot: usize,
    lane: usize,
    segment: usize,
    /// Names whose blocks are gone.
    pub(super) stale: usize,
}

impl Index {
    /// Evicts until the index is under its cap; returns how many names went. What is left over the cap afterwards is
    /// contained in live bookings.
    pub(crate) fn evict(&mut self) -> u32 {
        let gone = if self.is_over(self.blocks_max) { self.evict_some() } else { 0 };
        self.sweep(SWEEP + SWEEP_FACTOR * gone);
        u32::try_from(gone).unwrap_or(u32::MAX)
    }

    fn evict_some(&mut self) -> usize {
        let goal = self.blocks_max - self.blocks_max / BATCH;
        let before = self.names;
        // Twice round: once to take the second chances away, once to evict.
        let mut steps = 2 * self.extents.positions() + 1;
        while steps > 0 && self.is_over(goal) {
            steps -= 1;
            self.hand = if self.hand == 0 { self.extents.positions() } else { self.hand } - 1;
            self.evict_from(self.hand, goal);
            if self.extents.is_empty() {
                break;
            }
        }
        let gone = before - self.names;
        self.evicted += gone as u64;
        gone
    }

    fn is_over(&self, goal: usize) -> bool {
        self.names > goal || self.blocks > goal
    }

    /// Evicts the end of the extent at a position if it is cold, and then of what it hung off as far as that is cold.
    fn evict_from(&mut self, position: usize, goal: usize) {
        let mut next = self.extents.at(position);
        while let Some(id) = next.filter(|_| self.is_over(goal)) {
            let Some(extent) = self.extents.get(id) else { return };
            // Inner ones lose their second chance too: once their tail is gone they are as cold as it was.
            if extent.take_touch() {
                return;
            }
            let kept = extent.attached_end().max(extent.claimed_end());
            let over = self.names.max(self.blocks) - goal;
            let keep = extent.len().saturating_sub(u16::try_from(over).unwrap_or(u16::MAX)).max(kept);
            if keep == extent.len() {
                return;
            }
            next = extent.parent.filter(|_| keep == 0);
            self.cut(id, keep);
        }
    }

    /// Takes the end of an extent from all who hold it.
    fn cut(&mut self, id: ExtentId, keep: u16) {
        let extent = &mut self.extents[id];
        extent.sealed = true;
        let mut gone = Vec::new();
        for tier in Tier::ALL {
            let lane = extent.lane(tier).into_iter().flat_map(|lane| lane.intervals());
            for interval in lane.filter(|interval| interval.end > keep) {
                let start = interval.start.max(keep);
                // What a faster tier holds too is one block all the same.
                let faster = (start..interval.end).filter(|block| {
                    Tier::ALL.iter().take_while(|known| **known < tier).any(|known| {
                        extent.lane(*known).is_some_and(|lane| lane.contains(interval.slot, *block))
                    })
                });
                let again = if tier == Tier::Device { 0 } else { faster.count() as u32 };
                gone.push((tier, Interval { start, ..interval }, again));
            }
        }
        for tier in Tier::ALL {
            if tier == Tier::Device || extent.rare.is_some() {
                extent.lane_mut(tier).truncate(keep, |_| {});
            }
        }
        let base = extent.run.base;
        for (tier, Interval { slot, start, end }, again) in gone {
            let blocks = u32::from(end - start);
            let mut names = blocks as usize;
            if !self.extra_names.is_empty() {
                let extra = (start..end)
                    .filter_map(|at| self.extra_names.remove(&(base + u32::from(at), slot, tier)));
                names += extra.map(|extra| extra as usize).sum::<usize>();
            }
            self.names -= names;
            self.sweep.stale += names;
            self.entries -= (blocks - again) as usize;
            if let Some(cache) = self.cache_mut(slot) {
                cache.blocks -= blocks - again;
                cache.truncated = true;
            }
        }
        self.trim(id);
    }

    /// Looks at so many names, or a few more, and takes the stale ones out.
    fn sweep(&mut self, names: usize) {
        let mut left = names;
        while left > 0 && (self.sweep.stale > 0 || self.addresses.is_waiting()) {
            left -= 1;
            let Self { caches, addresses, extents, sweep, .. } = self;
            let Some(cache) = caches.get_mut(sweep.slot) else {
                addresses.swept();
                (sweep.slot, sweep.lane, sweep.segment) = (0, 0, 0);
                continue;
            };
            let Some(lane) = cache.as_mut().and_then(|cache| cache.lanes.get_mut(sweep.lane)) else {
                (sweep.slot, sweep.lane, sweep.segment) = (sweep.slot + 1, 0, 0);
                continue;
            };
            let is_stale = |address| {
                let extent = addresses.owner(address).and_then(|id| extents.get(id));
                extent.is_none_or(|extent| address - extent.run.base >= u32::from(extent.len()))
            };
            match lane.sweep(sweep.segment, is_stale) {
                Some((looked_at, gone)) => {
                    sweep.segment += 1;
                    sweep.stale -= gone;
                    left = left.saturating_sub(looked_at);
                }
                None => (sweep.lane, sweep.segment) = (sweep.lane + 1, 0),
            }
        }
    }
}
