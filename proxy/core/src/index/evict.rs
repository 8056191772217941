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

/// One part in so many is evicted in one go, so that the hand's way is shared by many stores.
const BATCH: usize = 64;

/// Extents that the hand passes in one step, and names that are evicted in one, about.
const PASSED: usize = 64;
const EVICTED: usize = 128;

/// Names that are swept in one step while any are stale.
const SWEPT: usize = 64;

/// Names that are swept in all for each that was evicted.
const SWEEP_FACTOR: usize = 64;

/// How far the eviction is.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// Where the hand is.
    hand: usize,
    /// Extents that it still may pass; 0 while nothing is to be evicted.
    left: usize,
    /// Names evicted so far.
    pub(super) evicted: u64,
}

impl Eviction {
    /// There are no extents any more.
    pub(super) fn start_over(&mut self) {
        (self.hand, self.left) = (0, 0);
    }
}

/// How far the sweep is.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    slot: usize,
    lane: usize,
    segment: usize,
    /// Names whose blocks are gone.
    pub(super) stale: usize,
    /// Names that are still to be looked at because of those.
    owed: usize,
}

impl Index {
    /// Whether [`evict`](Self::evict) would do anything.
    pub(crate) fn wants_eviction(&self) -> bool {
        self.is_over(self.blocks_max) || self.sweep.stale > 0 || self.addresses.is_waiting()
    }

    /// Takes one step towards being under the cap; returns how many names went, and whether there is another step. What is
    /// left over the cap after the last is contained in live bookings.
    pub(crate) fn evict(&mut self) -> (u32, bool) {
        if self.eviction.left == 0 && self.is_over(self.blocks_max) {
            // Twice round: once to take the second chances away, once to evict.
            self.eviction.left = 2 * self.extents.positions() + 1;
        }
        let gone = if self.eviction.left > 0 { self.evict_some() } else { 0 };
        self.sweep.owed += SWEEP_FACTOR * gone;
        let swept = self.sweep(SWEPT);
        self.sweep.owed = if swept == 0 { 0 } else { self.sweep.owed.saturating_sub(swept) };
        (u32::try_from(gone).unwrap_or(u32::MAX), self.eviction.left > 0 || self.sweep.owed > 0)
    }

    fn evict_some(&mut self) -> usize {
        let goal = self.blocks_max - self.blocks_max / BATCH;
        let before = self.names + self.blocks;
        let names = self.names;
        for _ in 0..PASSED {
            let evicted = before - (self.names + self.blocks);
            if self.eviction.left == 0 || !self.is_over(goal) || evicted >= EVICTED {
                break;
            }
            self.eviction.left -= 1;
            let from = if self.eviction.hand == 0 { self.extents.positions() } else { self.eviction.hand };
            self.eviction.hand = from.saturating_sub(1);
            self.evict_from(self.eviction.hand, goal);
        }
        if !self.is_over(goal) || self.extents.is_empty() {
            self.eviction.left = 0;
        }
        let gone = names - self.names;
        self.eviction.evicted += gone as u64;
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
        let mut extent = self.extents.live(id);
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
        drop(extent);
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

    /// Looks at so many names, or a few more, and takes the stale ones out. Returns at how many.
    fn sweep(&mut self, names: usize) -> usize {
        let mut left = names as isize;
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
                    left -= looked_at as isize;
                }
                None => (sweep.lane, sweep.segment) = (sweep.lane + 1, 0),
            }
        }
        names.saturating_add_signed(-left)
    }
}
