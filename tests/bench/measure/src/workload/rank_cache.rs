//! One rank's cache of segments, evicted by least recent use.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Segment;

#[derive(Debug, Default)]
pub(super) struct RankCache {
    held: FxHashMap<Segment, Held>,
    /// Uses in order of time; one that is not its segment's last is void.
    uses: VecDeque<(u64, Segment)>,
    clock: u64,
    blocks: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    used_at: u64,
    blocks: u32,
}

impl RankCache {
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// How many of the segment's first `count` blocks are not there.
    pub(super) fn missing(&self, segment: Segment, count: u32) -> u32 {
        count.saturating_sub(self.held.get(&segment).map_or(0, |held| held.blocks))
    }

    /// Notes a use of the segment if it is there.
    pub(super) fn touch(&mut self, segment: Segment) {
        if let Some(held) = self.held.get_mut(&segment) {
            self.clock += 1;
            held.used_at = self.clock;
            self.uses.push_back((self.clock, segment));
        }
    }

    /// Takes the segment used least recently out, with the number of its blocks.
    pub(super) fn evict(&mut self) -> Option<(Segment, u32)> {
        loop {
            let (used_at, segment) = self.uses.pop_front()?;
            if self.held.get(&segment).is_some_and(|held| held.used_at == used_at) {
                let held = self.held.remove(&segment)?;
                self.blocks -= u64::from(held.blocks);
                return Some((segment, held.blocks));
            }
        }
    }

    /// Puts the first `count` blocks in; whether nothing of the segment was there.
    pub(super) fn store(&mut self, segment: Segment, count: u32) -> bool {
        self.clock += 1;
        let held = self.held.entry(segment).or_default();
        let is_new = held.blocks == 0;
        self.blocks += u64::from(count.saturating_sub(held.blocks));
        *held = Held { used_at: self.clock, blocks: held.blocks.max(count) };
        self.uses.push_back((self.clock, segment));
        is_new
    }
}
