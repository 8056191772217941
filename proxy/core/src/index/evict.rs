//! Keeping the index under its cap: the coldest leaves go first.
//!
//! A clock over the arena: a block that was stored or matched since the hand last passed gets a second chance. Only
//! blocks without continuation go, then their prefix backwards, so that what is left can still be matched. Blocks
//! that live bookings contain stay.

use super::arena::Place;
use super::{Held, Index, NodeId};

/// One part in so many is evicted at once, so that the hand's way is shared by many stores.
const BATCH: usize = 64;

impl Index {
    /// Evicts until the index is under its cap; returns how many names went. What is left over the cap afterwards is
    /// contained in live bookings.
    pub(crate) fn evict(&mut self) -> u32 {
        if !self.is_over(self.blocks_max) {
            return 0;
        }
        let goal = self.blocks_max - self.blocks_max / BATCH;
        let before = self.names;
        // Twice round: once to take the second chances away, once to evict.
        let mut steps = 2 * self.arena.positions() + 1;
        while steps > 0 && self.is_over(goal) {
            steps -= 1;
            self.hand = if self.hand == 0 { self.arena.positions() } else { self.hand } - 1;
            self.evict_from(self.hand, goal);
            if self.arena.is_empty() {
                break;
            }
        }
        let gone = before - self.names;
        self.evicted += gone as u64;
        u32::try_from(gone).unwrap_or(u32::MAX)
    }

    fn is_over(&self, goal: usize) -> bool {
        self.names > goal || self.arena.len() > goal + self.roots.len()
    }

    /// Evicts the block at a position if it is a cold leaf, and then its prefix as far as that is cold.
    fn evict_from(&mut self, position: usize, goal: usize) {
        let mut next = self.arena.get(position).map(|_| NodeId(position as u32));
        while let Some(node) = next.filter(|_| self.is_over(goal)) {
            let at = &self.arena[node];
            let Place::Child { parent, .. } = at.place else { return };
            // Inner blocks lose their second chance too: once their tail is gone they are as cold as it was.
            if at.take_touch() || at.children > 0 || !at.claims.is_empty() {
                return;
            }
            // The parent outlives the node only if somebody else needs it, so whether it does is looked up again.
            let parent_stays = {
                let above = &self.arena[parent];
                above.children > 1 || !above.held.is_empty() || !above.claims.is_empty()
            };
            self.drop_names(node);
            next = parent_stays.then_some(parent);
        }
    }

    /// Takes a block without continuation from all who hold it.
    fn drop_names(&mut self, node: NodeId) {
        let held = std::mem::take(&mut self.arena[node].held);
        self.entries -= held.len();
        for Held { slot, names } in held {
            self.names -= names.len();
            let Some(cache) = self.cache_mut(slot) else { continue };
            cache.truncated = true;
            cache.blocks -= 1;
            for name in names {
                cache.names.remove(&name);
            }
        }
        self.release(node);
    }
}
