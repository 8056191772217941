//! Where there is trouble, and what can go wrong there.

use rankwise_sim::{Fault, FleetSpec};

use super::trouble::{TROUBLES, Trouble};
use crate::harness::{Wire, fast};

/// A rank holds ten of the prompts: most of what is computed is evicted again.
pub(super) const BLOCKS_PER_RANK: u32 = 129;

/// Where there is trouble, and of what kind the others are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene {
    pub(super) wire: Wire,
    /// So many of the workers, the first ones, compute prompts for the others.
    pub(super) prefills: usize,
    /// The worker that has the trouble.
    pub(super) troubled: usize,
}

impl Scene {
    pub(super) fn spec(self) -> FleetSpec {
        let workers = if self.prefills > 0 { 4 } else { 2 };
        let (ranks, blocks_per_rank) = (2, BLOCKS_PER_RANK);
        let spec = FleetSpec { workers, ranks, blocks_per_rank, prefill_workers: self.prefills, ..fast() };
        self.wire.spec(spec)
    }

    /// What can go wrong there.
    pub(super) fn troubles(self) -> impl Iterator<Item = Trouble> {
        let is_of_events =
            |fault| matches!(fault, Fault::DropEvents(_) | Fault::SilentRank(_) | Fault::LieAboutRank(_));
        let is_of_one_rank =
            |fault| matches!(fault, Fault::DeadRank(_) | Fault::DyingRank(..) | Fault::HungRank(_));
        // Of answers that are streamed.
        let is_of_streams =
            |fault| matches!(fault, Fault::ResetAfter(_) | Fault::HalfCloseAfter(_) | Fault::AbortAfterFirst);
        let can_be = move |trouble: &Trouble| match *trouble {
            Trouble::LostForNow => self.wire.tells_events(),
            Trouble::Fault(fault) if is_of_events(fault) => {
                self.wire.tells_events() && (self.prefills == 0 || !matches!(fault, Fault::LieAboutRank(_)))
            }
            Trouble::Fault(fault) if is_of_one_rank(fault) => {
                // The legs of SGLang wait for each other: whose silence it is nobody can tell.
                let hangs_both =
                    self.prefills > 0 && self.wire == Wire::Sglang && !matches!(fault, Fault::DeadRank(_));
                self.wire != Wire::Generic && !hangs_both
            }
            Trouble::Fault(fault) if is_of_streams(fault) => self.troubled >= self.prefills,
            // Of its models alone such a server is asked.
            Trouble::Fault(Fault::Unhealthy) => self.wire != Wire::Generic,
            Trouble::Fault(Fault::IgnorePin) => self.wire.names_ranks() && self.prefills == 0,
            _ => true,
        };
        TROUBLES.into_iter().filter(can_be)
    }
}
