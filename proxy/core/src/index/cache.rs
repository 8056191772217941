//! One target's part of the index: its names, and what an event did to them.

use rustc_hash::FxHashMap;

use super::addresses::Address;
use super::names::{Names, Word};
use super::{Index, Slot};
use crate::event::{CacheGroup, Tier};
use crate::hash::EngineHash;
use crate::ids::BlockSize;

/// What one or more events did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Blocks that the target did not hold on that tier under that name before.
    pub stored: u32,
    /// Further copies of blocks that it held already.
    pub duplicates: u32,
    /// Copies gone.
    pub removed: u32,
    /// Removals of names that the index does not know. Not an error by itself.
    pub unknown_removals: u32,
    /// A parent is not known, so its event was not applied: the caller should resync.
    pub unknown_parent: bool,
    /// An event's block size is not the target's, so it was not applied.
    pub wrong_block_size: bool,
    /// The target is gone, so nothing was applied.
    pub unknown_target: bool,
    /// Pending blocks that were confirmed.
    pub confirmed: u32,
    /// Names, of any target, that were evicted to stay under the cap.
    pub evicted: u32,
    /// The cap has cost this target blocks since it was last cleared, so unknown parents and removals are no sign of
    /// loss and a resync would not help.
    pub truncated: bool,
}

impl Applied {
    /// And what later events did.
    pub fn add(&mut self, later: Self) {
        self.stored += later.stored;
        self.duplicates += later.duplicates;
        self.removed += later.removed;
        self.unknown_removals += later.unknown_removals;
        self.unknown_parent |= later.unknown_parent;
        self.wrong_block_size |= later.wrong_block_size;
        self.unknown_target |= later.unknown_target;
        self.confirmed += later.confirmed;
        self.evicted += later.evicted;
        self.truncated = later.truncated;
    }
}

/// Size of the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Distinct blocks, those that are only pending and holes included.
    pub blocks: usize,
    /// (block, target) pairs.
    pub entries: usize,
    /// Names: (target, cache group, tier, engine hash).
    pub names: usize,
    /// Names evicted so far to stay under the cap.
    pub evicted: u64,
    /// Memory, approximately.
    pub bytes: usize,
}

/// Set in a name's word if it has further copies.
const MORE: Word = 1 << 31;

/// The address that a name's word stands for.
pub(super) fn address(word: Word) -> Address {
    word & !MORE
}

/// The names of one cache group on one tier.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) group: CacheGroup,
    pub(super) tier: Tier,
    pub(super) names: Names,
    /// Copies beyond the first, of names that are marked.
    copies: FxHashMap<EngineHash, u32>,
}

/// What became of a name that was given to a block.
pub(super) enum Named {
    New,
    /// The name had the block already: a further copy.
    Again,
    /// The name had another block until now.
    Instead(Address),
}

impl Lane {
    fn new(group: CacheGroup, tier: Tier) -> Self {
        Self { group, tier, names: Names::default(), copies: FxHashMap::default() }
    }

    /// Gives a block a name. One that it has already counts as a further copy if `copy`.
    pub(super) fn name(&mut self, name: EngineHash, at: Address, copy: bool) -> Named {
        let Some(word) = self.names.get_or_insert(name, at) else { return Named::New };
        if address(*word) == at {
            if copy {
                *word |= MORE;
                *self.copies.entry(name).or_default() += 1;
            }
            return Named::Again;
        }
        let before = std::mem::replace(word, at);
        if before & MORE != 0 {
            self.copies.remove(&name);
        }
        Named::Instead(address(before))
    }

    /// Adds copies of a name that is there.
    pub(super) fn add_copies(&mut self, name: EngineHash, more: u32) {
        let copies = &mut self.copies;
        self.names.remove_if(name, |word| {
            if more > 0 {
                *word |= MORE;
                let known = copies.entry(name).or_default();
                *known = known.saturating_add(more);
            }
            false
        });
    }

    /// Takes one copy away: the block's address, and whether it was the last copy.
    pub(super) fn remove(&mut self, name: EngineHash) -> Option<(Address, bool)> {
        let copies = &mut self.copies;
        let mut last = true;
        let word = self.names.remove_if(name, |word| {
            if *word & MORE != 0 {
                last = false;
                let more = copies.entry(name).or_insert(1);
                *more -= 1;
                if *more == 0 {
                    copies.remove(&name);
                    *word &= !MORE;
                }
            }
            last
        })?;
        Some((address(word), last))
    }

    /// Forgets a name with all its copies.
    pub(super) fn forget(&mut self, name: EngineHash) {
        self.names.remove_if(name, |_| true);
        self.copies.remove(&name);
    }

    /// Forgets the names in one segment whose addresses are stale; see [`Names::sweep`].
    pub(super) fn sweep(
        &mut self,
        segment: usize,
        stale: impl Fn(Address) -> bool,
    ) -> Option<(usize, usize)> {
        let copies = &mut self.copies;
        let mut gone = 0;
        let looked_at = self.names.sweep(segment, |name, word| {
            let is_stale = stale(address(word));
            if is_stale {
                gone += 1;
                if word & MORE != 0 {
                    copies.remove(&name);
                }
            }
            is_stale
        })?;
        Some((looked_at, gone))
    }

    /// Copies of a name that is there.
    pub(super) fn copies(&self, name: EngineHash) -> u32 {
        1 + self.copies.get(&name).copied().unwrap_or(0)
    }
}

#[derive(Debug)]
pub(super) struct Cache {
    pub(super) block_size: BlockSize,
    /// Distinct blocks.
    pub(super) blocks: u32,
    pub(super) truncated: bool,
    /// Another one whenever what it holds may have changed.
    pub(super) version: u64,
    /// Whether a block that is stored again has one more copy.
    pub(super) count_copies: bool,
    /// Few: most targets have one.
    pub(super) lanes: Vec<Lane>,
}

impl Cache {
    fn position(&self, group: CacheGroup, tier: Tier) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.group == group && lane.tier == tier)
    }

    pub(super) fn lane(&self, group: CacheGroup, tier: Tier) -> Option<&Lane> {
        self.lanes.get(self.position(group, tier)?)
    }

    pub(super) fn lane_mut(&mut self, group: CacheGroup, tier: Tier) -> Option<&mut Lane> {
        let at = self.position(group, tier)?;
        self.lanes.get_mut(at)
    }

    pub(super) fn lane_or_insert(&mut self, group: CacheGroup, tier: Tier) -> &mut Lane {
        let at = self.position(group, tier).unwrap_or_else(|| {
            self.lanes.push(Lane::new(group, tier));
            self.lanes.len() - 1
        });
        &mut self.lanes[at]
    }

    /// Where the block of that name may be: on the tier that was asked for first, then the fastest first.
    pub(super) fn find(
        &self,
        name: EngineHash,
        group: CacheGroup,
        tier: Tier,
    ) -> impl Iterator<Item = Address> {
        std::iter::once(tier)
            .chain(Tier::ALL)
            .filter_map(move |tier| self.lane(group, tier))
            .filter_map(move |lane| lane.names.get(name))
            .map(address)
    }

    pub(super) fn bytes(&self) -> usize {
        let lanes = self.lanes.iter().map(|lane| {
            let copies = lane.copies.capacity() * 8 / 7 * (size_of::<(EngineHash, u32)>() + 1);
            lane.names.bytes() + copies
        });
        self.lanes.capacity() * size_of::<Lane>() + lanes.sum::<usize>()
    }
}

impl Index {
    pub(crate) fn add_cache(&mut self, slot: Slot, block_size: BlockSize) {
        let position = slot as usize;
        if self.caches.len() <= position {
            self.caches.resize_with(position + 1, || None);
        }
        self.caches[position] = Some(Cache {
            block_size,
            blocks: 0,
            truncated: false,
            version: 0,
            count_copies: true,
            lanes: Vec::new(),
        });
        self.changed(slot);
    }

    /// What the target holds is about to change. No two targets, and no two states of one, have the same version.
    pub(super) fn changed(&mut self, slot: Slot) {
        self.changes += 1;
        let changes = self.changes;
        if let Some(cache) = self.cache_mut(slot) {
            cache.version = changes;
        }
    }

    /// Whether the target is known and holds nothing.
    pub(crate) fn is_empty(&self, slot: Slot) -> bool {
        self.cache(slot).is_some_and(|cache| cache.blocks == 0)
    }

    /// See [`RoutingState::count_copies`](crate::state::RoutingState::count_copies).
    pub(crate) fn count_copies(&mut self, slot: Slot, on: bool) {
        if let Some(cache) = self.cache_mut(slot) {
            cache.count_copies = on;
        }
    }
}
