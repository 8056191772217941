//! Where a rank's feed stands, as far as its events are in the index.

use parking_lot::Mutex;
use rankwise_engines::feed::Checkpoint;

/// One rank's: written by its feed, read by who keeps the index.
#[derive(Debug, Default)]
pub struct FeedPosition(Mutex<Option<Checkpoint>>);

impl FeedPosition {
    /// Applies what the feed has read, and says where it stands then.
    pub fn move_on(&self, apply: impl FnOnce() -> Option<Checkpoint>) {
        let mut position = self.0.lock();
        *position = apply();
    }

    /// Does something while the feed stands still.
    pub fn with<R>(&self, look: impl FnOnce(Option<Checkpoint>) -> R) -> R {
        let position = self.0.lock();
        look(*position)
    }
}
