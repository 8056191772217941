//! Forgetting all that a target holds.

use super::cache::{Lane, address};
use super::{Index, Slot};
use crate::event::Tier;

impl Index {
    /// Forgets everything that the target holds; returns how many names that were. Takes time by what it held.
    pub(crate) fn clear_cache(&mut self, slot: Slot) -> u32 {
        let Some(cache) = self.cache_mut(slot) else { return 0 };
        cache.truncated = false;
        let blocks = std::mem::take(&mut cache.blocks);
        let lanes = std::mem::take(&mut cache.lanes);
        self.entries -= blocks as usize;
        self.extra_names.retain(|(_, known, _), _| *known != slot);
        self.clears = self.clears.wrapping_add(1).max(1);
        let before = self.names;
        let mut extents = Vec::new();
        for (_, word) in lanes.iter().flat_map(|lane: &Lane| lane.names.iter()) {
            let Some((id, _)) = self.resolve(address(word)) else {
                self.sweep.stale -= 1;
                continue;
            };
            self.names -= 1;
            let mark = &mut self.extents[id].mark;
            if std::mem::replace(mark, self.clears) != self.clears {
                extents.push(id);
            }
        }
        drop(lanes);
        for id in &extents {
            let extent = &mut self.extents[*id];
            extent.device.remove_slot(slot);
            for tier in [Tier::Host, Tier::Disk] {
                if extent.rare.is_some() {
                    extent.lane_mut(tier).remove_slot(slot);
                }
            }
        }
        for id in extents {
            self.trim(id);
        }
        (before - self.names) as u32
    }

    pub(crate) fn remove_cache(&mut self, slot: Slot) {
        self.clear_cache(slot);
        if let Some(cache) = self.caches.get_mut(slot as usize) {
            *cache = None;
        }
    }
}
