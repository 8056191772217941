//! One rank as plain maps.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;

use crate::event::{CacheGroup, Tier};
use crate::hash::EngineHash;
use crate::ids::TargetId;
use crate::snapshot::Overlap;
use crate::state::Booking;

/// A block: position in `World::blocks`.
pub(super) type Block = usize;
pub(super) type Name = (Tier, CacheGroup, EngineHash);

pub(super) struct Rank {
    pub(super) id: TargetId,
    /// What its engine hashes with.
    pub(super) seed: u64,
    pub(super) names: BTreeMap<Name, (Block, u32)>,
    /// Of each booking that is still to end, the blocks that are pending for it.
    pub(super) bookings: Vec<(Booking, Vec<Block>)>,
}

impl Rank {
    fn fastest(&self, tiers: &HashMap<Block, Tier>, block: Block) -> Option<Tier> {
        tiers.get(&block).copied()
    }

    pub(super) fn tiers(&self) -> HashMap<Block, Tier> {
        let mut tiers = HashMap::new();
        for ((tier, ..), (block, _)) in &self.names {
            let known = tiers.entry(*block).or_insert(*tier);
            *known = (*known).min(*tier);
        }
        tiers
    }

    pub(super) fn overlap(&self, path: &[Option<Block>]) -> Overlap {
        let tiers = self.tiers();
        let mut overlap = Overlap::default();
        for block in path {
            let Some(block) = *block else { break };
            let pending = || self.bookings.iter().any(|(_, pending)| pending.contains(&block));
            match self.fastest(&tiers, block) {
                Some(_) if overlap.pending > 0 => overlap.pending += 1,
                Some(Tier::Device) if overlap.host + overlap.disk == 0 => overlap.device += 1,
                Some(Tier::Device | Tier::Host) => overlap.host += 1,
                Some(Tier::Disk) => overlap.disk += 1,
                None if pending() => overlap.pending += 1,
                None => break,
            }
        }
        overlap
    }

    pub(super) fn name(&self, block: Block, prefix: u64, random: &mut Rng) -> EngineHash {
        // A few ranks call everything by its place alone: names that move from content to content.
        if self.seed.is_multiple_of(5) && random.u8(0..8) == 0 {
            return EngineHash(random.u64(0..6));
        }
        EngineHash((prefix ^ self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ block as u64)
    }
}
