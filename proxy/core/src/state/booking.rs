//! The guard of one booking.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::RoutingState;
use super::book::Booked;
use super::end::End;
use crate::ids::{BlockSize, Millis, TargetId};
use crate::ledger::BookingId;
use crate::request::Private;

/// What a booking expected of the target's cache, as of the booking. Blocks in units of `block_size`, the target's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Tokens per block of the figures here.
    pub block_size: BlockSize,
    /// Tokens of the first prompt.
    pub prompt_tokens: u32,
    /// Leading prompt blocks in device memory.
    pub device_blocks: u32,
    /// Further ones in the host's memory.
    pub host_blocks: u32,
    /// Further ones on disk.
    pub disk_blocks: u32,
    /// Further ones that other requests are computing. Never part of what is expected to be reused.
    pub pending_blocks: u32,
    /// Prefill tokens booked.
    pub prefill_tokens: u64,
}

/// A request's load on a target or worker, for as long as it lives. Dropped without [`finish`](Self::finish) it counts
/// as cancelled. Harmless once its target was removed or restarted.
#[derive(Debug)]
pub struct Booking {
    state: Arc<RoutingState>,
    id: BookingId,
    target: Option<TargetId>,
    expected: Expected,
    private: Private,
    output_tokens: AtomicU64,
    first_output_seen: AtomicBool,
    ended: bool,
}

impl Booking {
    pub(super) fn new(state: &Arc<RoutingState>, booked: Booked) -> Self {
        Self {
            state: Arc::clone(state),
            id: booked.id,
            target: booked.target,
            expected: booked.expected,
            private: booked.private,
            output_tokens: AtomicU64::new(0),
            first_output_seen: AtomicBool::new(false),
            ended: false,
        }
    }

    /// The target; `None` if it was booked on a worker.
    pub fn target(&self) -> Option<TargetId> {
        self.target
    }

    /// What was expected of the cache.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// The first output has come: the prefill is done. Only the first call counts.
    pub fn first_output(&self, now: Millis) {
        self.state.see(now);
        if !self.first_output_seen.swap(true, Relaxed) {
            self.state.inner.write().step(|inner| inner.first_output(self.id, now));
        }
    }

    /// So many more output tokens have come, of all sequences. Counts only with
    /// [`track_output_blocks`](super::StateConfig::track_output_blocks).
    pub fn add_output_tokens(&self, tokens: u32) {
        let before = self.output_tokens.fetch_add(u64::from(tokens), Relaxed);
        self.book_output(before, before.saturating_add(u64::from(tokens)));
    }

    /// So many output tokens have come in all, as the usage says.
    pub fn set_output_tokens(&self, tokens: u64) {
        let before = self.output_tokens.swap(tokens, Relaxed);
        self.book_output(before, tokens);
    }

    /// Whether the prefill is done, by output, by the target's events, or by its measured rate. Also true once the
    /// booking is void.
    pub fn prefilled(&self) -> bool {
        self.state.inner.read().bookings.get(&self.id).is_none_or(|record| record.prefilled)
    }

    /// Whether it still counts: false once its target was removed or restarted.
    pub fn is_live(&self) -> bool {
        self.state.inner.read().bookings.contains_key(&self.id)
    }

    /// The answer has ended. Its pending blocks are waited for during the grace.
    pub fn finish(mut self, now: Millis) {
        self.state.see(now);
        self.end(End::Answered);
    }

    /// Connecting failed, or the target refused: it never ran. Its pending blocks are dropped at once.
    pub fn fail_before_send(mut self, now: Millis) {
        self.state.see(now);
        self.end(End::NeverRan);
    }

    fn end(&mut self, how: End) {
        if !std::mem::replace(&mut self.ended, true) {
            let now = self.state.now();
            self.state.inner.write().step(|inner| inner.end(self.id, how, now));
        }
    }

    fn book_output(&self, before: u64, after: u64) {
        if self.state.config.track_output_blocks {
            let (before, after) = (self.private.blocks(before), self.private.blocks(after));
            if before != after {
                self.state.inner.write().step(|inner| inner.set_private_blocks(self.id, after));
            }
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.end(End::Cancelled);
    }
}
