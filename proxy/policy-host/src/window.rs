//! How often a policy failed lately, over all threads.

use std::sync::atomic::{AtomicU64, Ordering};

use rankwise_core::ids::Millis;

use crate::config::FailureThresholds;

const BUCKETS: u64 = 10;
const PICKS_BITS: u32 = 28;
const FAILURES_BITS: u32 = 16;
const PICKS_MAX: u64 = (1 << PICKS_BITS) - 1;
const FAILURES_MAX: u64 = (1 << FAILURES_BITS) - 1;
/// Longer rests would keep a policy from what it can do, and from failing often enough to be replaced.
const REST_DOUBLED_MAX: u64 = 2;
const SLICE_MASK: u64 = (1 << (64 - PICKS_BITS - FAILURES_BITS)) - 1;

/// Counts picks and failures of the last seconds and says when there are too many failures.
///
/// The window moves in tenths of its length. Time is an argument, of any one monotonic clock.
#[derive(Debug)]
pub struct FailureWindow {
    thresholds: FailureThresholds,
    // Each: slice number (20 bits), picks (28), failures (16), so that one atomic step updates all.
    buckets: [AtomicU64; BUCKETS as usize],
    /// When it tripped, plus 1; 0 is not.
    tripped_at: AtomicU64,
    /// Until when it rests, ms.
    rests_until: AtomicU64,
}

impl FailureWindow {
    /// An empty one.
    pub fn new(thresholds: FailureThresholds) -> Self {
        Self {
            thresholds,
            buckets: Default::default(),
            tripped_at: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
        }
    }

    /// Counts one pick. Whether it is the one that trips the window; that is said once.
    pub fn record(&self, now: Millis, failed: bool) -> bool {
        let slice = self.slice(now);
        let add = |old: u64| {
            let same = old >> (PICKS_BITS + FAILURES_BITS) == slice & SLICE_MASK;
            let (picks, failures) = if same { unpack(old) } else { (0, 0) };
            Some(pack(slice, picks + 1, failures + u64::from(failed)))
        };
        // Cannot fail: `add` always gives a value.
        let _ =
            self.buckets[(slice % BUCKETS) as usize].fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        failed && self.is_over(slice) && self.mark(now)
    }

    /// Whether the policy is out of service: it tripped, and was neither re-armed nor is it long enough ago.
    pub fn tripped(&self, now: Millis) -> bool {
        match self.tripped_at.load(Ordering::Acquire) {
            0 => false,
            at => now.since(Millis(at - 1)) < self.thresholds.rearm_ms,
        }
    }

    /// Out of service from now on, whatever was counted.
    pub fn trip(&self, now: Millis) {
        self.tripped_at.store(now.0.saturating_add(1), Ordering::Release);
    }

    /// A call used up its time. While it ran its thread did nothing else: until it is known whether the policy is to be replaced, that
    /// must not happen to one request after the other. Call it before [`FailureWindow::record`].
    pub fn rest(&self, now: Millis) {
        let failures = self.counts(now).1.min(REST_DOUBLED_MAX);
        let rest = self.thresholds.rest_ms.saturating_mul(1 << failures);
        self.rests_until.fetch_max(now.0.saturating_add(rest), Ordering::AcqRel);
    }

    /// Whether the policy is not to be asked, having used up its time just now.
    pub fn rests(&self, now: Millis) -> bool {
        now.0 < self.rests_until.load(Ordering::Acquire)
    }

    /// Starts afresh, as an activation does.
    pub fn rearm(&self) {
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Release);
        }
        self.tripped_at.store(0, Ordering::Release);
        self.rests_until.store(0, Ordering::Release);
    }

    /// Picks and failures in the window.
    pub fn counts(&self, now: Millis) -> (u64, u64) {
        self.sum(self.slice(now))
    }

    fn slice(&self, now: Millis) -> u64 {
        now.0 / (self.thresholds.window_ms / BUCKETS).max(1)
    }

    fn sum(&self, slice: u64) -> (u64, u64) {
        let mut sum = (0, 0);
        for bucket in &self.buckets {
            let bucket = bucket.load(Ordering::Acquire);
            let age = slice.wrapping_sub(bucket >> (PICKS_BITS + FAILURES_BITS)) & SLICE_MASK;
            if age < BUCKETS {
                let (picks, failures) = unpack(bucket);
                sum = (sum.0 + picks, sum.1 + failures);
            }
        }
        sum
    }

    fn is_over(&self, slice: u64) -> bool {
        let (picks, failures) = self.sum(slice);
        failures >= u64::from(self.thresholds.failures.max(1))
            && failures * 1000 >= picks * u64::from(self.thresholds.permille)
    }

    fn mark(&self, now: Millis) -> bool {
        let at = self.tripped_at.load(Ordering::Acquire);
        let over = at != 0 && now.since(Millis(at - 1)) >= self.thresholds.rearm_ms;
        (at == 0 || over)
            && self
                .tripped_at
                .compare_exchange(at, now.0.saturating_add(1), Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }
}

fn pack(slice: u64, picks: u64, failures: u64) -> u64 {
    (slice & SLICE_MASK) << (PICKS_BITS + FAILURES_BITS)
        | picks.min(PICKS_MAX) << FAILURES_BITS
        | failures.min(FAILURES_MAX)
}

fn unpack(bucket: u64) -> (u64, u64) {
    (bucket >> FAILURES_BITS & PICKS_MAX, bucket & FAILURES_MAX)
}

#[cfg(test)]
mod tests;
