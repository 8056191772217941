//! Targets whose engines tell no events: what they hold is learned from what was sent there.
//!
//! A prompt that an engine has answered is taken to be cached there until some time has passed, or until what came after it
//! needs the room. Each remembered prompt counts as one copy of each of its blocks, so a block goes with the last prompt that
//! contains it, and what is used often stays.

use super::inner::Inner;
use super::learned::Learned;
use crate::hash::Chain;
use crate::ids::{Millis, TargetId};
use crate::index::Slot;

impl Inner {
    /// From now on the target's cache is learned. What it held is forgotten.
    pub(super) fn learn_from_bookings(&mut self, id: TargetId) {
        let Some(slot) = self.slot(id) else { return };
        let capacity = self.capacity(slot);
        let blocks_max = if capacity == 0 { self.config.learned_blocks_max } else { capacity };
        self.index.clear_cache(slot);
        self.learned.insert(slot, Learned::new(blocks_max));
    }

    pub(super) fn is_learned(&self, slot: Slot) -> bool {
        self.learned.contains_key(&slot)
    }

    /// The target has computed a prompt: what was pending of it is cached.
    pub(super) fn remember(&mut self, slot: Slot, chain: Chain, now: Millis) {
        if chain.is_empty() || !self.is_learned(slot) {
            return;
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.index.remember(slot, &chain, &mut arrived);
        for span in arrived.drain(..) {
            self.confirm(slot, span, now);
        }
        self.arrived = arrived;
        let Some(learned) = self.learned.get_mut(&slot) else { return };
        learned.add(chain, now);
        while self.learned.get(&slot).is_some_and(|learned| learned.is_over(self.index.cached_blocks(slot))) {
            self.forget_oldest(slot);
        }
        while self.index.evict().1 {}
    }

    fn forget_oldest(&mut self, slot: Slot) {
        let Some(learned) = self.learned.get_mut(&slot) else { return };
        if let Some(chain) = learned.take_oldest() {
            self.index.forget(slot, &chain);
        }
    }

    /// The oldest prompt of some target whose time is over.
    fn outdated(&self, now: Millis) -> Option<Slot> {
        let is_over =
            |learned: &Learned| learned.oldest().is_some_and(|at| now.since(at) > self.config.learned_ttl_ms);
        self.learned.iter().find(|(_, learned)| is_over(learned)).map(|(slot, _)| *slot)
    }

    pub(super) fn is_outdated(&self, now: Millis) -> bool {
        self.outdated(now).is_some()
    }

    /// Forgets what was sent too long ago.
    pub(super) fn forget_outdated(&mut self, now: Millis) {
        while let Some(slot) = self.outdated(now) {
            self.forget_oldest(slot);
        }
    }

    /// The target's cache was cleared: no prompt is remembered.
    pub(super) fn unlearn(&mut self, slot: Slot) {
        if let Some(learned) = self.learned.get_mut(&slot) {
            learned.clear();
        }
    }
}
