//! Batches of events, cut into steps: what is applied before readers get a turn.

use smallvec::SmallVec;

use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::EngineHash;
use crate::ids::BlockSize;

/// Blocks in one step.
pub(crate) const BLOCKS_AT_ONCE: usize = 128;

/// What an event takes besides its blocks, in blocks.
const EVENT: usize = 4;

/// Pieces in one step.
const PIECES_MAX: usize = BLOCKS_AT_ONCE / EVENT;

/// On which tier, in which cache group.
pub(crate) type Kind = (Tier, CacheGroup);

/// A part of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    Stored { parent: Parent, blocks: &'a [StoredBlock], block_size: BlockSize, kind: Kind },
    Removed { blocks: &'a [EngineHash], kind: Kind },
}

impl Piece<'_> {
    /// Whether the next piece stores what follows, in the same place.
    pub(super) fn is_continued_by(&self, next: &Piece<'_>) -> bool {
        match (self, next) {
            (
                Self::Stored { blocks, block_size, kind, .. },
                Piece::Stored {
                    parent: Parent::Block(parent), block_size: next_size, kind: next_kind, ..
                },
            ) => {
                blocks.last().is_some_and(|last| last.engine == *parent)
                    && (block_size, kind) == (next_size, next_kind)
            }
            _ => false,
        }
    }
}

/// One step of a batch.
#[derive(Debug)]
pub(crate) enum Step<'a, 'b> {
    Apply(&'b [Piece<'a>]),
    Clear,
}

/// The steps of a batch, in order. An event that is longer than a step goes on in the next: what was stored of it is the parent
/// of the rest.
#[derive(Debug)]
pub(crate) struct Steps<'a> {
    events: &'a [CacheEvent],
    /// Blocks of the first event that are done.
    done: usize,
    /// Those of one step.
    pieces: SmallVec<[Piece<'a>; PIECES_MAX]>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(events: &'a [CacheEvent]) -> Self {
        Self { events, done: 0, pieces: SmallVec::new() }
    }

    /// The next step, in a buffer that is used again for the one after it.
    pub(crate) fn next(&mut self) -> Option<Step<'a, '_>> {
        self.pieces.clear();
        let mut room = BLOCKS_AT_ONCE;
        while let Some(event) = self.events.first().filter(|_| room > 0) {
            // One that is not too long for a step of its own is not cut.
            if !self.pieces.is_empty() && len(event) - self.done > room {
                break;
            }
            let (from, to) = (self.done, self.done + room);
            let len = len(event);
            let piece = match event {
                CacheEvent::Cleared if self.pieces.is_empty() => {
                    self.events = &self.events[1..];
                    return Some(Step::Clear);
                }
                CacheEvent::Cleared => break,
                CacheEvent::Stored { parent, blocks, block_size, tier, group } => {
                    let before = from.checked_sub(1).map(|last| Parent::Block(blocks[last].engine));
                    Piece::Stored {
                        parent: before.unwrap_or(*parent),
                        blocks: &blocks[from..to.min(len)],
                        block_size: *block_size,
                        kind: (*tier, *group),
                    }
                }
                CacheEvent::Removed { blocks, tier, group } => {
                    Piece::Removed { blocks: &blocks[from..to.min(len)], kind: (*tier, *group) }
                }
            };
            self.pieces.push(piece);
            room = room.saturating_sub(len.min(to) - from + EVENT);
            if to < len {
                self.done = to;
                break;
            }
            (self.events, self.done) = (&self.events[1..], 0);
        }
        (!self.pieces.is_empty()).then_some(Step::Apply(&self.pieces))
    }

    /// The last step could not be applied: neither can what is left of an event that it began, by itself.
    pub(crate) fn skip_rest(&mut self) {
        if self.done > 0 {
            (self.events, self.done) = (&self.events[1..], 0);
        }
    }
}

fn len(event: &CacheEvent) -> usize {
    match event {
        CacheEvent::Stored { blocks, .. } => blocks.len(),
        CacheEvent::Removed { blocks, .. } => blocks.len(),
        CacheEvent::Cleared => 0,
    }
}

#[cfg(test)]
mod tests;
