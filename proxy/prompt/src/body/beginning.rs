//! How bodies begin: where one that begins as an earlier one did can be read on.

use smallvec::SmallVec;

use super::{Field, Span};

/// Bytes of a body that are hashed, and found again, as one.
pub(crate) const STRETCH: usize = 1024;

/// What a cache knows of a body by its bytes alone ([`PromptCache::recognise`](crate::PromptCache::recognise)).
#[derive(Debug, Default)]
pub struct Beginning {
    /// The names of the body's beginnings after each whole [`STRETCH`].
    pub(crate) chain: Vec<u128>,
    /// Where to read on, and the name of what stands before.
    pub(crate) mark: Option<(Mark, u128)>,
}

impl Beginning {
    /// Bytes that need not be read again.
    pub fn bytes(&self) -> usize {
        self.mark.as_ref().map_or(0, |(mark, _)| mark.offset)
    }
}

/// Where a body that begins as an earlier one did can be read on: behind an element of `messages`.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// The list's bracket.
    pub(crate) start: usize,
    /// The end of the last element.
    pub(crate) offset: usize,
    /// Elements up to there.
    pub(crate) messages: usize,
    /// The fields before the list.
    pub(crate) fields: SmallVec<[(Field, Span); 2]>,
}

/// What was known of a body's messages before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Messages.
    pub(crate) count: usize,
    /// The name of the body's beginning in the cache.
    pub(crate) chain: u128,
}
