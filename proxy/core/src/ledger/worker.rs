//! Load that was booked on a worker whose engine chooses the rank.

/// Block figures in the pool's blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerLedger {
    pub(crate) prefill_tokens: u64,
    pub(crate) blocks: u64,
    pub(crate) running: u32,
}

impl WorkerLedger {
    /// What each of `ranks` ranks shows of it.
    pub(crate) fn share(&self, ranks: u32) -> Self {
        let ranks = ranks.max(1);
        Self {
            prefill_tokens: self.prefill_tokens.div_ceil(u64::from(ranks)),
            blocks: self.blocks.div_ceil(u64::from(ranks)),
            running: self.running.div_ceil(ranks),
        }
    }
}
