//! What a feed asks of its caller.

use rankwise_core::event::CacheEvent;

/// What the caller has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedAction {
    /// Apply this to the rank's index. Never [`CacheEvent::Cleared`].
    Apply(CacheEvent),
    /// Empty the rank's index. What was kept for it is of no use any more.
    Clear,
    /// Bring back what was kept with the [`Checkpoint`](super::Checkpoint) that the feed was made to resume from: the rank's index
    /// is empty, and the engine has proved to be the same.
    Restore,
    /// Drop the DEALER socket of any earlier replay, open a new one to the replay endpoint, send
    /// [`replay_request`](super::replay_request)`(from)`, and pass what comes to [`Feed::replay`](super::Feed::replay) with this id.
    RequestReplay {
        /// First sequence number wanted.
        from: u64,
        /// Which replay this is.
        id: u64,
    },
}
