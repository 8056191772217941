//! Numbers for blocks that fit in 31 bits: each extent has a run of them, of which it need not use all.

use super::ExtentId;

/// A block's number.
pub(super) type Address = u32;

/// Addresses handed out at once.
const GRAIN: u32 = 64;

/// Addresses end here, so that a word of a name has a bit to spare.
const ADDRESS_MAX: u32 = 1 << 31;

/// Sizes of runs: powers of two of grains.
const CLASSES: usize = 10;

/// The most blocks of an extent.
pub(super) const RUN_MAX: u32 = GRAIN << (CLASSES - 1);

/// A run of addresses: from `base`, so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) base: Address,
    pub(super) room: u32,
}

/// Which extent an address belongs to, and which runs are free. Runs whose blocks were evicted wait until no name refers to
/// them any more.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// By grain.
    owners: Vec<Option<ExtentId>>,
    free: [Vec<Address>; CLASSES],
    /// Freed before the sweep that is under way began, and since then.
    waiting: [Vec<Run>; 2],
}

impl Addresses {
    /// A run with room for `blocks` if possible. `None` if all addresses are taken.
    pub(super) fn take(&mut self, blocks: u32, owner: ExtentId) -> Option<Run> {
        let grains = blocks.clamp(1, RUN_MAX).div_ceil(GRAIN).next_power_of_two();
        let class = grains.trailing_zeros() as usize;
        let base = match self.free[class].pop() {
            Some(base) => base,
            None => {
                // Grain 0 stays unused: a word of 0 is no name.
                let from = self.owners.len().max(1);
                let to = from + grains as usize;
                if to > (ADDRESS_MAX / GRAIN) as usize {
                    return None;
                }
                self.owners.resize(to, None);
                from as u32 * GRAIN
            }
        };
        let run = Run { base, room: grains * GRAIN };
        self.own(run, Some(owner));
        Some(run)
    }

    pub(super) fn owner(&self, address: Address) -> Option<ExtentId> {
        self.owners.get((address / GRAIN) as usize).copied().flatten()
    }

    /// Gives a run back that no name refers to.
    pub(super) fn free(&mut self, run: Run) {
        self.own(run, None);
        self.free[(run.room / GRAIN).trailing_zeros() as usize].push(run.base);
    }

    /// Gives a run back that names may refer to until the next whole sweep is through.
    pub(super) fn free_after_sweep(&mut self, run: Run) {
        self.own(run, None);
        self.waiting[1].push(run);
    }

    /// A sweep is through, and the next begins.
    pub(super) fn swept(&mut self) {
        for run in std::mem::take(&mut self.waiting[0]) {
            self.free(run);
        }
        self.waiting.swap(0, 1);
    }

    /// Whether a sweep would free anything.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.iter().any(|runs| !runs.is_empty())
    }

    fn own(&mut self, run: Run, owner: Option<ExtentId>) {
        let from = (run.base / GRAIN) as usize;
        self.owners[from..from + (run.room / GRAIN) as usize].fill(owner);
    }

    pub(super) fn bytes(&self) -> usize {
        let free: usize = self.free.iter().map(Vec::capacity).sum();
        let waiting: usize = self.waiting.iter().map(Vec::capacity).sum();
        self.owners.capacity() * size_of::<Option<ExtentId>>()
            + free * size_of::<Address>()
            + waiting * size_of::<Run>()
    }
}
