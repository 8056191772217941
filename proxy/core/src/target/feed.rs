//! What a rank's event feed says of itself.

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::ids::Millis;
use crate::policy::UNKNOWN;

/// How far the rank's event feed is behind, and whether what it wrote can be relied on.
#[derive(Debug)]
pub struct FeedState {
    trusted: AtomicBool,
    contradicted: AtomicBool,
    closed: AtomicBool,
    missing_since_ms: AtomicU64,
    late_after_ms: AtomicU64,
    next_sequence: AtomicU64,
}

impl Default for FeedState {
    fn default() -> Self {
        Self {
            trusted: AtomicBool::new(false),
            contradicted: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            missing_since_ms: AtomicU64::new(u64::MAX),
            late_after_ms: AtomicU64::new(u64::MAX),
            next_sequence: AtomicU64::new(u64::MAX),
        }
    }
}

impl FeedState {
    /// Whether the rank's events name other blocks than its prompts were predicted to have.
    pub fn is_contradicted(&self) -> bool {
        self.contradicted.load(Relaxed)
    }

    /// Says whether they do.
    pub fn set_contradicted(&self, contradicted: bool) {
        self.contradicted.store(contradicted, Relaxed);
    }

    /// Whether the index of this rank can be relied on. It cannot until a feed has said so.
    pub fn is_trusted(&self) -> bool {
        self.trusted.load(Relaxed)
    }

    /// Says whether it can.
    pub fn set_trusted(&self, trusted: bool) {
        self.trusted.store(trusted, Relaxed);
    }

    /// Since when an event is due and missing; `None` when nothing is.
    pub fn set_missing_since(&self, since: Option<Millis>) {
        self.missing_since_ms.store(since.map_or(u64::MAX, |at| at.0), Relaxed);
    }

    /// Age of the oldest event that is due and missing, ms.
    pub fn lag_ms(&self, now: Millis) -> u32 {
        match self.missing_since_ms.load(Relaxed) {
            u64::MAX => 0,
            since => u32::try_from(now.since(Millis(since))).unwrap_or(UNKNOWN - 1),
        }
    }

    /// Says whether the rank closed the connection and has not been read again since: it may be another process, with nothing of what the
    /// former one held.
    pub fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Relaxed);
    }

    /// Sets for how long an event may be due and missing before the rank is late. Never, until this is called.
    pub fn set_late_after_ms(&self, ms: u64) {
        self.late_after_ms.store(ms, Relaxed);
    }

    /// Whether an event has been due and missing for so long, or must be, that what is indexed is not relied on until it has come: what
    /// was evicted meanwhile is not known.
    pub fn is_late(&self, now: Millis) -> bool {
        if self.closed.load(Relaxed) {
            return true;
        }
        match self.missing_since_ms.load(Relaxed) {
            u64::MAX => false,
            since => now.since(Millis(since)) >= self.late_after_ms.load(Relaxed),
        }
    }

    /// The sequence number of the message that comes next, once everything before it is in the index; `None` when any would do.
    pub fn set_next_sequence(&self, sequence: Option<u64>) {
        self.next_sequence.store(sequence.unwrap_or(u64::MAX), Release);
    }

    /// That number. An index read after it holds at least what came before it.
    pub fn next_sequence(&self) -> Option<u64> {
        Some(self.next_sequence.load(Acquire)).filter(|sequence| *sequence != u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_late_from_its_bound_on_until_nothing_is_missing() {
        let feed = FeedState::default();
        feed.set_missing_since(Some(Millis(100)));
        assert!(!feed.is_late(Millis(u64::MAX)), "no bound");
        feed.set_late_after_ms(50);
        let late = |now| (feed.lag_ms(Millis(now)), feed.is_late(Millis(now)));
        assert_eq!([late(100), late(149), late(150)], [(0, false), (49, false), (50, true)]);
        feed.set_missing_since(None);
        assert_eq!(late(1000), (0, false));
        feed.set_closed(true);
        assert_eq!(late(1000), (0, true));
    }
}
