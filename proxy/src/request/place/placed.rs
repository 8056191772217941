//! Where a request is.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use rankwise_core::ids::TargetId;
use rankwise_core::snapshot::RowLoad;
use rankwise_core::state::Booking;

use crate::decisions::Lane;
use crate::health::Failure;
use crate::metrics::TargetMetrics;
use crate::pool::Pool;
use crate::workers::{Rank, Worker};

/// A request's place, booked.
pub(in crate::request) struct Placed {
    /// The worker to send it to.
    pub worker: Arc<Worker>,
    /// Position of the rank in the worker's list; none where the engine chooses.
    pub rank: Option<usize>,
    /// Whether a rank has part in the answer: not in what the server keeps.
    pub generates: bool,
    /// Freed when dropped. None once it has ended.
    pub booking: Option<Booking>,
    /// Which policy decided: `name@version`, or the fallback's name.
    pub policy: HeaderValue,
    /// Blocks that the chosen rank holds, in its own block size.
    pub overlap_blocks: u32,
    /// What `cached_tokens` should say; none where it cannot be known.
    pub expected: Option<Expected>,
    /// What was booked on the chosen rank before.
    pub ahead: Option<RowLoad>,
    /// When it was decided.
    pub placed_at: Instant,
    /// The lane whose policy decided; none where a trusted client did.
    pub lane: Option<Lane>,
    /// The decision's number, where somebody wants to know what becomes of it.
    pub receipt: Option<u64>,
}

/// The cached tokens that the index promised.
#[derive(Clone, Copy, Debug)]
pub(in crate::request) struct Expected {
    /// By the blocks the rank holds.
    pub held_tokens: u32,
    /// With the blocks that were being computed there.
    pub pending_tokens: u32,
    /// Tokens per block.
    pub block_size: u32,
}

impl Placed {
    /// Truth against the index: what the engine says it reused, where something was expected.
    pub(in crate::request) fn compare(&self, pool: &Pool, cached: u32) {
        let Some(Expected { held_tokens, pending_tokens, block_size }) = self.expected else { return };
        if let Some(rank) = self.rank()
            && !rank.promises.told(held_tokens, cached)
        {
            rank.metrics.promises_broken.inc();
        }
        let metrics = &pool.metrics;
        metrics.overlap_reused.inc_by(u64::from(cached / block_size.max(1)));
        if cached == held_tokens {
            metrics.expectation_met.inc();
        } else if (held_tokens..=pending_tokens).contains(&cached) {
            metrics.expectation_pending.inc();
        } else {
            metrics.expectation_missed.inc();
            tracing::debug!(
                target = self.name(),
                cached,
                expected = held_tokens,
                pending = pending_tokens,
                "cached tokens are not as expected",
            );
        }
    }

    /// The same place with its booking, which this one has no more.
    pub(in crate::request) fn take(&mut self) -> Self {
        Self {
            worker: Arc::clone(&self.worker),
            booking: self.booking.take(),
            policy: self.policy.clone(),
            ..*self
        }
    }

    /// What failed if this failed: the pinned rank, or all of the worker's.
    pub(in crate::request) fn failed_targets(&self) -> impl Iterator<Item = TargetId> + '_ {
        let ranks = match self.rank {
            Some(rank) => self.worker.ranks.get(rank..=rank),
            None => self.worker.ranks.get(..),
        };
        ranks.unwrap_or_default().iter().map(|rank| rank.target.id)
    }

    /// Where its outcome is counted.
    pub(in crate::request) fn metrics(&self) -> &TargetMetrics {
        self.rank().map_or(&self.worker.metrics, |rank| &rank.metrics)
    }

    /// The pinned rank.
    pub(in crate::request) fn rank(&self) -> Option<&Rank> {
        self.worker.ranks.get(self.rank?)
    }

    /// The rank that serves it, where that is known: the pinned one, or the only one.
    pub(in crate::request) fn only_rank(&self) -> Option<&Rank> {
        match (self.rank(), self.worker.ranks.as_slice()) {
            (Some(rank), _) => Some(rank),
            (None, [rank]) if self.generates => Some(rank),
            _ => None,
        }
    }

    /// It failed there.
    pub(in crate::request) fn failed(&self, pool: &Pool, failure: Failure) {
        match self.only_rank() {
            Some(rank) => pool.rank_failed(&self.worker, rank, failure),
            None if self.generates => pool.some_rank_failed(&self.worker, failure),
            None => self.worker.look_after(),
        }
    }

    /// What is asked of a worker's server alone: nothing is booked, and no rank is the better or the worse for it.
    pub(in crate::request) fn at_server(worker: Arc<Worker>) -> Self {
        Self {
            worker,
            rank: None,
            generates: false,
            booking: None,
            policy: HeaderValue::from_static("kept"),
            overlap_blocks: 0,
            expected: None,
            ahead: None,
            placed_at: Instant::now(),
            lane: None,
            receipt: None,
        }
    }

    /// Its number.
    pub(in crate::request) fn dp_rank(&self) -> Option<u32> {
        self.rank().map(|rank| rank.target.spec.rank.0)
    }

    /// For logs.
    pub(in crate::request) fn name(&self) -> String {
        match self.dp_rank() {
            Some(rank) => format!("worker {} rank {rank}", self.worker.name()),
            None => format!("worker {}", self.worker.name()),
        }
    }

    /// Ends the booking so, if it has not ended.
    pub(in crate::request) fn end(&mut self, how: impl FnOnce(Booking)) {
        if let Some(booking) = self.booking.take() {
            how(booking);
        }
    }
}
