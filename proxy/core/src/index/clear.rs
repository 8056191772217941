//! Forgetting all that a target holds, in steps between which readers get a turn.

use super::cache::{Lane, address};
use super::{ExtentId, Index, Slot};
use crate::event::Tier;

/// Extents that are changed in one step.
const EXTENTS_AT_ONCE: usize = 16;

/// What is still to be done. Nothing else may change the index before it is.
#[derive(Debug)]
pub(crate) struct Clearing {
    slot: Slot,
    /// Those where the target may hold something.
    extents: Vec<ExtentId>,
    /// Names.
    names: usize,
    /// Names whose blocks were evicted.
    stale: usize,
}

impl Index {
    /// Finds what it takes to clear a target's cache. Takes time by what it holds.
    pub(crate) fn clearing(&self, slot: Slot) -> Clearing {
        let lanes = self.cache(slot).into_iter().flat_map(|cache| &cache.lanes);
        let mut addresses: Vec<_> =
            lanes.flat_map(|lane| lane.names.iter()).map(|(_, word)| address(word)).collect();
        // In order, so that each extent is looked at once.
        addresses.sort_unstable();
        let mut clearing = Clearing { slot, extents: Vec::new(), names: 0, stale: 0 };
        let mut rest = &addresses[..];
        while let Some(&first) = rest.first() {
            let found = self.resolve(first).map(|(id, offset)| (id, first - u32::from(offset)));
            let Some((id, base)) = found else {
                clearing.stale += 1;
                rest = &rest[1..];
                continue;
            };
            let end = base + u32::from(self.extents[id].len());
            let count = rest.partition_point(|address| *address < end);
            clearing.extents.push(id);
            clearing.names += count;
            rest = &rest[count..];
        }
        clearing
    }

    /// Takes one step; whether there is another. Readers see fewer and fewer blocks.
    pub(crate) fn clear_on(&mut self, clearing: &mut Clearing) -> bool {
        let left = clearing.extents.len().saturating_sub(EXTENTS_AT_ONCE);
        for id in clearing.extents.split_off(left) {
            if let Some(mut extent) = self.extents.change(id) {
                extent.device.remove_slot(clearing.slot);
                if extent.rare.is_some() {
                    extent.lane_mut(Tier::Host).remove_slot(clearing.slot);
                    extent.lane_mut(Tier::Disk).remove_slot(clearing.slot);
                }
            }
            self.trim(id);
        }
        left > 0
    }

    /// The last step, which forgets the names. What it returns is only to be dropped, at leisure.
    pub(crate) fn clear_names(&mut self, clearing: &Clearing) -> Forgotten {
        self.changed(clearing.slot);
        let Some(cache) = self.cache_mut(clearing.slot) else { return Forgotten::default() };
        cache.truncated = false;
        let blocks = std::mem::take(&mut cache.blocks);
        let lanes = std::mem::take(&mut cache.lanes);
        self.entries -= blocks as usize;
        self.names -= clearing.names;
        self.sweep.stale -= clearing.stale;
        self.extra_names.retain(|(_, known, _), _| *known != clearing.slot);
        Forgotten { names: clearing.names as u32, _lanes: lanes }
    }

    /// Forgets everything that the target holds, at once.
    pub(crate) fn clear_cache(&mut self, slot: Slot) -> Forgotten {
        let mut clearing = self.clearing(slot);
        while self.clear_on(&mut clearing) {}
        self.clear_names(&clearing)
    }

    /// Forgets a target that was cleared.
    pub(crate) fn remove_cache(&mut self, slot: Slot) -> Forgotten {
        let forgotten = self.clear_cache(slot);
        if let Some(cache) = self.caches.get_mut(slot as usize) {
            *cache = None;
        }
        forgotten
    }
}

/// What a target held.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// Names.
    pub(crate) names: u32,
    _lanes: Vec<Lane>,
}
