//! One booking.

use smallvec::SmallVec;

use super::Bits;
use crate::hash::Chain;
use crate::ids::{Millis, WorkerId};
use crate::index::{Segment, Slot};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordPlace {
    Target(Slot),
    Worker(WorkerId),
}

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) place: RecordPlace,
    /// Where the whole prompt blocks lie. While `live` is false only extents where some are pending may be looked at.
    pub(crate) segments: SmallVec<[Segment; 4]>,
    /// Positions of the blocks whose tokens are part of this booking's prefill.
    pub(crate) charged: Bits,
    /// Positions of the blocks that are pending for it.
    pub(crate) pending: Bits,
    /// The prompt, where its blocks are learned to be cached once they are computed; taken when they are.
    pub(crate) learnable: Option<Chain>,
    /// Prefill tokens booked for what is left to compute.
    pub(crate) prefill_tokens: u64,
    /// Whether that was much when it was booked.
    pub(crate) long: bool,
    pub(crate) private_blocks: u64,
    pub(crate) running: u32,
    pub(crate) prefilled: bool,
    /// False once it has ended and only its pending blocks are waited for.
    pub(crate) live: bool,
    pub(crate) streamed: bool,
    /// Whether its prompt is computed there. If not it counts as prefilled from the beginning.
    pub(crate) computes: bool,
    pub(crate) booked_at: Millis,
    /// When its first output came; of an answer that is not streamed, when it ended.
    pub(crate) output_at: Option<Millis>,
    /// Prefill tokens on the target when it was booked, its own included.
    pub(crate) backlog: u64,
    /// When something happens by time: while live the prefill counts as done, afterwards the grace is over.
    pub(crate) due: Option<Millis>,
}

impl Record {
    /// Whole prompt blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.segments.last().map_or(0, |last| last.range().end)
    }

    /// What it adds to the target's prefill tokens: at least 1 until it is prefilled.
    pub(crate) fn booked_prefill(&self) -> u64 {
        if self.live && !self.prefilled { self.prefill_tokens.max(1) } else { 0 }
    }

    /// Whether a long prompt of it is to be computed.
    pub(crate) fn is_long_prefill(&self) -> bool {
        self.long && self.booked_prefill() > 0
    }

    /// Whether the engine got as far as the prompt's KV, as far as can be seen.
    pub(crate) fn has_run(&self) -> bool {
        self.prefilled && (self.computes || self.output_at.is_some())
    }

    /// How late its last whole block is stored if that is now: from its first output on, which the engine gave after the
    /// block was computed. `None` where the answer is not streamed and still to come: the block may be old by then.
    pub(crate) fn event_lag_ms(&self, now: Millis) -> Option<u64> {
        match self.output_at {
            Some(at) => Some(now.since(at)),
            None if self.streamed => Some(0),
            None => None,
        }
    }
}
