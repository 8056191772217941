//! Rows that have no room for a request.

use std::num::NonZeroU32;

/// What a rank must have room for to be a row of a request that asks for it
/// ([`in_room`](crate::request::PlacementRequest::in_room)). By default nothing is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomRule {
    /// Whether the blocks that the request adds, its output included, have to fit into those that no running request holds.
    /// One that could not fit on an idle rank either may go to an idle rank. Asks nothing where the capacity is not known.
    pub blocks: bool,
    /// Tokens of output that are expected of a sequence at most, however many it may have.
    pub output_tokens_max: u32,
    /// Prompts of which so many tokens are left to compute are long.
    pub long_prefill_tokens: Option<NonZeroU32>,
    /// So many long ones a lockstep group computes at once: each of its ranks waits for the slowest. Those whose rank the
    /// engine chose are not known, and not counted.
    pub long_prefills_max: u32,
}

impl RoomRule {
    /// Whether it asks for anything.
    pub(crate) fn is_on(&self) -> bool {
        self.blocks || self.long_prefill_tokens.is_some()
    }

    /// Whether a prompt is long, by what is left of it to compute.
    pub(crate) fn is_long(&self, tokens: u64) -> bool {
        self.long_prefill_tokens.is_some_and(|long| tokens >= u64::from(long.get()))
    }
}

/// Why a target is no row of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoRoom {
    /// Its free blocks are too few.
    Blocks,
    /// Its group computes as many long prompts as it may.
    LongPrefill,
}

impl NoRoom {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::Blocks, Self::LongPrefill];

    /// The label in metrics and receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocks => "no_room",
            Self::LongPrefill => "long_prefill",
        }
    }
}
