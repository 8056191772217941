//! The part of a request that a worker was sent.

use super::rooms::RoomLeg;

/// A leg.
pub(in crate::wire) enum Leg {
    /// All of it.
    Whole,
    /// Its prompt, whose KV is kept for whoever names it.
    Keeps,
    /// Its answer: the prompt's KV was fetched.
    Fetched,
    /// Its prompt, whose KV goes to whoever came to the room.
    Sends(RoomLeg),
}

impl Leg {
    /// Whether its KV comes from elsewhere.
    pub(in crate::wire) fn is_transferred(&self) -> bool {
        matches!(self, Self::Fetched)
    }

    /// Whether its first token is its last.
    pub(in crate::wire) fn is_prefill(&self) -> bool {
        matches!(self, Self::Keeps | Self::Sends(_))
    }
}
