//! One walk down a prompt's blocks for all targets at once.

use super::Overlap;
use crate::event::Tier;
use crate::hash::PrefixHash;
use crate::index::{Coverage, Extent, Index, Slot};

const NONE: u32 = u32::MAX;

/// How much of a prompt each target has, in its own blocks. Made once per thread and filled again and again.
///
/// Most targets hold leading blocks in device memory and nothing else: for them a walk is one pass over a row of
/// numbers. The few that hold blocks on slower tiers, or wait for some, are followed one by one.
#[derive(Debug, Default)]
pub struct Overlaps {
    /// By slot: leading blocks in device memory.
    device: Vec<u32>,
    /// By slot: leading blocks that live bookings there contain.
    active: Vec<u32>,
    /// By slot: position in `further`.
    further_of: Vec<u32>,
    /// Those that have more than that.
    further: Vec<Further>,
    /// Where the targets of the walk under way begin in `further`.
    walk: usize,
}

#[derive(Clone, Copy, Debug)]
struct Further {
    slot: Slot,
    overlap: Overlap,
    ignore_pending: bool,
}

impl Further {
    fn reach(&self) -> u32 {
        self.overlap.held() + self.overlap.pending
    }

    /// Follows the target through the first `matched` blocks of an extent that begins at `base`.
    fn follow(&mut self, extent: &Extent, base: u32, matched: u16) {
        let lane = |tier, at| extent.lane(tier).and_then(|lane| lane.run_end(self.slot, at));
        let pending = |at| match extent.pending() {
            Some(pending) if !self.ignore_pending => pending.run_end(self.slot, at),
            _ => None,
        };
        let overlap = &mut self.overlap;
        let mut at = (overlap.held() + overlap.pending - base) as u16;
        while at < matched {
            let (end, tier) = if let Some(end) = lane(Tier::Device, at) {
                (end, Some(Tier::Device))
            } else if let Some(end) = lane(Tier::Host, at) {
                (end, Some(Tier::Host))
            } else if lane(Tier::Disk, at).is_some() {
                // A block at a time: a faster tier may hold the next.
                (at + 1, Some(Tier::Disk))
            } else if let Some(end) = pending(at) {
                (end, None)
            } else {
                return;
            };
            let end = end.min(matched);
            let count = match tier {
                _ if overlap.pending > 0 => &mut overlap.pending,
                None => &mut overlap.pending,
                Some(Tier::Device) if overlap.host + overlap.disk == 0 => &mut overlap.device,
                Some(Tier::Device | Tier::Host) => &mut overlap.host,
                Some(Tier::Disk) => &mut overlap.disk,
            };
            *count += u32::from(end - at);
            at = end;
        }
    }
}

impl Overlaps {
    /// Leading blocks in device memory by target, in the order in which the targets were added. A target that is gone has
    /// left its place to the next that was added.
    pub fn device(&self) -> &[u32] {
        &self.device
    }

    pub(crate) fn of(&self, slot: Slot) -> Overlap {
        let at = self.further_of.get(slot as usize).copied().unwrap_or(NONE);
        let device = self.device.get(slot as usize).copied().unwrap_or(0);
        self.further
            .get(at as usize)
            .map_or_else(|| Overlap { device, ..Overlap::default() }, |further| further.overlap)
    }

    /// Leading blocks that live bookings of the target contain.
    pub(crate) fn active(&self, slot: Slot) -> u32 {
        self.active.get(slot as usize).copied().unwrap_or(0)
    }

    /// Begins anew.
    pub(crate) fn reset(&mut self, slots: usize) {
        for known in self.further.drain(..) {
            self.further_of[known.slot as usize] = NONE;
        }
        self.device.clear();
        self.device.resize(slots, 0);
        self.active.clear();
        self.further_of.resize(slots, NONE);
    }

    /// Walks down one chain. Chains of several block sizes may follow each other: no target is in two of them.
    pub(crate) fn descend(
        &mut self,
        index: &Index,
        chain: &[PrefixHash],
        ignore_pending: &dyn Fn(Slot) -> bool,
    ) {
        self.walk = self.further.len();
        let mut base = 0;
        let mut next = chain.first().and_then(|prefix| index.head(*prefix));
        while let Some(entered) = next {
            let (extent, (matched, goes_on)) = (entered.1, index.follow(entered, &chain[base..]));
            if !self.pass(extent, base as u32, matched, ignore_pending) {
                return;
            }
            extent.touch();
            base += usize::from(matched);
            next = goes_on;
        }
    }

    /// Passes the first blocks of an extent; true if anybody reaches their end.
    fn pass(
        &mut self,
        extent: &Extent,
        base: u32,
        matched: u16,
        ignore_pending: &dyn Fn(Slot) -> bool,
    ) -> bool {
        let end = base + u32::from(matched);
        let mut reach = self.pass_device(extent.device(), base, matched);
        if self.further.len() > self.walk || extent.has_further() {
            reach = reach.max(self.pass_further(extent, base, matched, ignore_pending));
            for interval in extent.active().into_iter().flat_map(Coverage::intervals) {
                if self.active.is_empty() {
                    self.active.resize(self.device.len(), 0);
                }
                let active = &mut self.active[interval.slot as usize];
                *active = base + u32::from(interval.end.min(matched));
                reach = reach.max(*active);
            }
        }
        reach == end
    }

    fn pass_device(&mut self, coverage: &Coverage, base: u32, matched: u16) -> u32 {
        let mut reach = u32::from(pass_row(&mut self.device, coverage.row(), base, matched));
        for interval in coverage.sparse() {
            let device = &mut self.device[interval.slot as usize];
            if interval.start == 0 && *device == base {
                let further = u32::from(interval.end.min(matched));
                *device += further;
                reach = reach.max(further);
            }
        }
        base + reach
    }

    fn pass_further(
        &mut self,
        extent: &Extent,
        base: u32,
        matched: u16,
        ignore_pending: &dyn Fn(Slot) -> bool,
    ) -> u32 {
        let mut reach = 0;
        for known in self.further[self.walk..].iter_mut().filter(|known| known.reach() == base) {
            known.follow(extent, base, matched);
            reach = reach.max(known.reach());
        }
        let end = base + u32::from(matched);
        for interval in extent.further().flat_map(Coverage::intervals) {
            let at = interval.slot as usize;
            let device = self.device[at];
            if self.further_of[at] != NONE || !(base..end).contains(&device) {
                continue;
            }
            let overlap = Overlap { device, ..Overlap::default() };
            let ignore_pending = ignore_pending(interval.slot);
            let mut new = Further { slot: interval.slot, overlap, ignore_pending };
            new.follow(extent, base, matched);
            if new.reach() > device {
                reach = reach.max(new.reach());
                self.further_of[at] = self.further.len() as u32;
                self.further.push(new);
            }
        }
        reach
    }
}

/// Passes the first blocks of an extent that many targets hold; how many of them somebody has who had all before. Most of a look-up
/// where targets are many: by itself, and with no number wider than it has to be, so that the compiler takes several at once.
#[inline(never)]
fn pass_row(device: &mut [u32], row: &[u16], base: u32, matched: u16) -> u16 {
    let mut reach = 0;
    for (device, covered) in device.iter_mut().zip(row) {
        let here = if *device == base { u16::MAX } else { 0 };
        let further = (*covered).min(matched) & here;
        *device += u32::from(further);
        reach = reach.max(further);
    }
    reach
}
