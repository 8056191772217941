//! Whether a rank's roots are cold: found out by its feed, acted on by the requests that are pinned to it.

use parking_lot::Mutex;
use rankwise_core::ids::Millis;
use rankwise_engines::feed::Completeness;
use rankwise_engines::vllm::cold::ColdRoots;

/// Without an unknown parent for so long after the first report, the roots count as healed.
const QUIET_MS: u64 = 60_000;

/// One rank's, shared by both.
#[derive(Debug)]
pub struct ColdRank(Mutex<ColdRoots>);

impl ColdRank {
    /// Of a rank of which nothing is known yet.
    pub fn new() -> Self {
        Self(Mutex::new(ColdRoots::new(QUIET_MS)))
    }

    /// How complete the rank's index is.
    pub(super) fn completeness(&self, completeness: Completeness) {
        self.0.lock().completeness(completeness);
    }

    /// Messages are gone for good.
    pub(super) fn lost(&self) {
        self.0.lock().lost();
    }

    /// The index met a parent that it does not know.
    pub(super) fn unknown_parent(&self, now: Millis) {
        self.0.lock().unknown_parent(now);
    }

    /// Whether a block that is stored again may be a report and no copy.
    pub(super) fn copies_unreliable(&self) -> bool {
        self.0.lock().copies_unreliable()
    }

    /// Whether a request that is sent to the rank now should ask for a report.
    pub fn wants_report(&self, now: Millis) -> bool {
        self.0.lock().wants_report(now)
    }

    /// One that asks is on its way.
    pub fn report_asked(&self, now: Millis) {
        self.0.lock().report_asked(now);
    }
}

impl Default for ColdRank {
    fn default() -> Self {
        Self::new()
    }
}
