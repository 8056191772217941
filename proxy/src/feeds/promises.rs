//! What a rank's answers say of what was promised of it: one that breaks its promises again and again is not what its events say.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// When promises are broken too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseSettings {
    /// Promises that a verdict needs.
    pub sample: u32,
    /// Of 1000 so many may be broken.
    pub broken_permille_max: u32,
}

/// One rank's.
#[derive(Debug)]
pub struct Promises {
    settings: PromiseSettings,
    counted: Mutex<Counted>,
    /// Verdicts against it in a row, until its feed has heard of it; 0: nothing to hear.
    disproved: AtomicU32,
    news: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    /// Since the last verdict.
    kept: u32,
    broken: u32,
    /// Verdicts against it since the last one for it.
    in_a_row: u32,
}

impl Promises {
    /// Of a rank of which nothing was promised yet.
    pub fn new(settings: PromiseSettings) -> Self {
        let (disproved, news) = (AtomicU32::new(0), Notify::new());
        Self { settings, counted: Mutex::default(), disproved, news }
    }

    /// An answer says how many tokens were cached of those that were promised. Whether the promise was kept.
    pub fn told(&self, promised: u32, cached: u32) -> bool {
        let kept = cached >= promised;
        // What does not promise anything cannot be broken.
        if promised == 0 {
            return kept;
        }
        let mut counted = self.counted.lock();
        *(if kept { &mut counted.kept } else { &mut counted.broken }) += 1;
        let (broken, all) = (counted.broken, counted.kept + counted.broken);
        if all >= self.settings.sample {
            (counted.kept, counted.broken) = (0, 0);
            if u64::from(broken) * 1000 > u64::from(all) * u64::from(self.settings.broken_permille_max) {
                counted.in_a_row = counted.in_a_row.saturating_add(1);
                self.disproved.store(counted.in_a_row, Relaxed);
                self.news.notify_one();
            } else {
                counted.in_a_row = 0;
            }
        }
        kept
    }

    /// Resolves when a sample has spoken against the rank: so many in a row have.
    pub async fn disproved(&self) -> u32 {
        loop {
            if let Some(times) = self.take_disproved() {
                return times;
            }
            self.news.notified().await;
        }
    }

    /// The same, if one has since the last time.
    pub fn take_disproved(&self) -> Option<u32> {
        Some(self.disproved.swap(0, Relaxed)).filter(|times| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_disproved_by_a_sample_that_breaks_more_than_it_may() {
        let promises = Promises::new(PromiseSettings { sample: 4, broken_permille_max: 500 });
        let sample = |cached: [u32; 4]| {
            for cached in cached {
                assert_eq!(promises.told(64, cached), cached >= 64);
                // Nothing was promised: that says nothing.
                assert!(promises.told(0, 0));
            }
            promises.take_disproved()
        };
        assert_eq!(sample([64, 0, 80, 48]), None, "half of them");
        assert_eq!(sample([64, 0, 0, 48]), Some(1));
        assert_eq!(sample([0; 4]), Some(2));
        assert_eq!(promises.take_disproved(), None, "it was told");
        assert_eq!(sample([64; 4]), None);
        assert_eq!(sample([0; 4]), Some(1), "in a row");
    }
}
