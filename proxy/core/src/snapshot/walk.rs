//! One walk down a prompt's blocks for all rows at once.

use super::Overlap;
use crate::event::Tier;
use crate::hash::BlockHash;
use crate::index::{Index, RootKey, Slot};

const NO_ROW: u32 = u32::MAX;

/// Buffers that a snapshot keeps.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Row by slot.
    rows: Vec<u32>,
    walks: Vec<Walk>,
    /// Peaks by group.
    peaks: Vec<(u32, u32)>,
}

/// What the walk found for one row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walk {
    pub(crate) overlap: Overlap,
    /// Leading blocks that live bookings there contain.
    pub(crate) active: u32,
    /// How deep the overlap goes, pending included.
    reach: u32,
    ignore_pending: bool,
}

impl Walk {
    pub(crate) fn new(ignore_pending: bool) -> Self {
        Self { ignore_pending, ..Self::default() }
    }

    /// The block at `depth` is held.
    pub(crate) fn hold(&mut self, depth: u32, fastest: Tier) -> bool {
        if self.reach + 1 != depth {
            return false;
        }
        self.reach = depth;
        let overlap = &mut self.overlap;
        if overlap.pending > 0 {
            overlap.pending += 1;
            return true;
        }
        match fastest {
            Tier::Device if overlap.host + overlap.disk == 0 => overlap.device += 1,
            Tier::Device | Tier::Host => overlap.host += 1,
            Tier::Disk => overlap.disk += 1,
        }
        true
    }

    /// The block at `depth` is pending.
    pub(crate) fn wait(&mut self, depth: u32) -> bool {
        if self.ignore_pending || self.reach + 1 != depth {
            return false;
        }
        self.reach = depth;
        self.overlap.pending += 1;
        true
    }
}

impl Scratch {
    /// Makes room for slots up to `slots`.
    pub(crate) fn reset(&mut self, slots: usize) {
        self.rows.clear();
        self.rows.resize(slots, NO_ROW);
        self.walks.clear();
    }

    pub(crate) fn add(&mut self, slot: Slot, walk: Walk) {
        self.rows[slot as usize] = self.walks.len() as u32;
        self.walks.push(walk);
    }

    /// Room for the peaks of so many groups, all 0.
    pub(crate) fn peaks(&mut self, groups: usize) -> &mut [(u32, u32)] {
        self.peaks.clear();
        self.peaks.resize(groups, (0, 0));
        &mut self.peaks
    }

    pub(crate) fn peak(&self, group: Option<usize>) -> (u32, u32) {
        group.and_then(|group| self.peaks.get(group)).copied().unwrap_or_default()
    }

    pub(crate) fn walk(&self, row: usize) -> Walk {
        self.walks[row]
    }

    /// Walks one chain for the rows of its block size: no others hold or claim blocks of it.
    pub(crate) fn descend(&mut self, index: &Index, root: RootKey, chain: &[BlockHash]) {
        let Some(mut node) = index.root(root) else { return };
        for (depth, content) in (1..).zip(chain) {
            let Some(next) = index.child(node, *content) else { return };
            node = next;
            let (mut deeper, mut active) = (false, false);
            for held in index.held(node) {
                if let Some(walk) = walk_of(&self.rows, &mut self.walks, held.slot) {
                    deeper |= walk.hold(depth, held.fastest());
                }
            }
            for claim in index.claims(node) {
                if let Some(walk) = walk_of(&self.rows, &mut self.walks, claim.slot) {
                    walk.active += u32::from(claim.live > 0);
                    active |= claim.live > 0;
                    deeper |= !claim.pending.is_empty() && walk.wait(depth);
                }
            }
            if deeper {
                index.touch(node);
            } else if !active {
                return;
            }
        }
    }
}

fn walk_of<'a>(rows: &[u32], walks: &'a mut [Walk], slot: Slot) -> Option<&'a mut Walk> {
    walks.get_mut(*rows.get(slot as usize)? as usize)
}
