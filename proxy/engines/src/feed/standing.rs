//! How it stands with a feed.

/// Where the feed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedPhase {
    /// Not connected: nothing is known of what happens there.
    Disconnected,
    /// Reading again what is missing.
    Replaying,
    /// Every message so far was applied in order.
    Live,
}

/// How much of the rank's cache the index can hold. It never holds what the rank has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// Everything since the engine started, or since its cache was last empty.
    Complete,
    /// The beginning is gone from the engine's replay buffer too: blocks stored before stay unknown until the cache is
    /// cleared or they are reported again ([`crate::vllm::cold`]).
    Partial,
    /// Something is missing that no replay was to be had for.
    Unreplayed,
}
