//! Figures for metrics and the admin API.

use super::inner::Inner;
use crate::ids::TargetId;
use crate::index::{CachedBlock, IndexStats};

/// What is booked on a target. Blocks in the target's own unit; what was booked on its worker without naming a rank is
/// not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tokens booked and not yet prefilled.
    pub prefill_tokens: u64,
    /// Blocks held by live bookings, shared prefixes counted once.
    pub active_blocks: u64,
    /// Requests in flight.
    pub running: u32,
    /// Distinct blocks that are pending.
    pub pending_blocks: u32,
    /// Bookings made so far.
    pub epoch: u64,
    /// Booked on the target's worker, its engine chooses the rank: prefill tokens.
    pub worker_prefill_tokens: u64,
    /// The same: blocks, in the pool's unit.
    pub worker_blocks: u64,
    /// The same: requests.
    pub worker_running: u32,
}

/// How pending blocks of a target turned out, since it was added or restarted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingReport {
    /// Stored by the target's own events.
    pub confirmed: u64,
    /// Not stored within the grace.
    pub unconfirmed: u64,
    /// Too many were not, so pending blocks count for nothing here: prefix caching is off, or template or salt are
    /// not what the engine uses.
    pub weight_zeroed: bool,
    /// How long pending blocks outlive their request.
    pub grace_ms: u64,
}

impl Inner {
    pub(super) fn load(&self, id: TargetId) -> Option<LoadReport> {
        let slot = self.slot(id)?;
        let ledger = self.ledger(slot)?;
        let worker = self.worker_of(slot).and_then(|worker| self.workers.get(&worker));
        let worker = worker.copied().unwrap_or_default();
        Some(LoadReport {
            prefill_tokens: ledger.prefill_tokens,
            active_blocks: ledger.active_blocks(),
            running: ledger.running,
            pending_blocks: ledger.pending_blocks,
            epoch: ledger.epoch,
            worker_prefill_tokens: worker.prefill_tokens,
            worker_blocks: worker.blocks,
            worker_running: worker.running,
        })
    }

    pub(super) fn pending_report(&self, id: TargetId) -> Option<PendingReport> {
        let ledger = self.ledger(self.slot(id)?)?;
        Some(PendingReport {
            confirmed: ledger.confirmations.confirmed,
            unconfirmed: ledger.confirmations.unconfirmed,
            weight_zeroed: ledger.confirmations.weight_zeroed,
            grace_ms: ledger.lag.grace_ms(self.config.pending_grace_ms_min, self.config.pending_grace_ms_max),
        })
    }

    pub(super) fn cached_blocks(&self, id: TargetId) -> u32 {
        self.slot(id).map_or(0, |slot| self.index.cached_blocks(slot))
    }

    pub(super) fn dump(&self, id: TargetId, limit: usize) -> Vec<CachedBlock> {
        self.slot(id).map_or_else(Vec::new, |slot| self.index.dump(slot, limit))
    }

    pub(super) fn index_stats(&self) -> IndexStats {
        self.index.stats()
    }
}
