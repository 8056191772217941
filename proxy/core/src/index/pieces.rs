//! Batches of events, cut into steps: what is applied before readers get a turn.

use smallvec::SmallVec;

use super::prefetch::prefetch;
use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::EngineHash;
use crate::ids::BlockSize;

/// Blocks in one step.
pub(crate) const BLOCKS_AT_ONCE: usize = 128;

/// What an event takes besides its blocks, in blocks.
const EVENT: usize = 4;

/// How many events ahead memory is asked for, which is somewhere else for each.
const AHEAD: usize = 8;

/// Pieces in one step.
const PIECES_MAX: usize = BLOCKS_AT_ONCE / EVENT;

/// On which tier, in which cache group.
pub(crate) type Kind = (Tier, CacheGroup);

/// A part of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Piece<'a> {
    Stored {
        parent: Parent,
        blocks: &'a [StoredBlock],
        block_size: BlockSize,
        kind: Kind,
        /// Blocks of the batch that continue these, in the next pieces.
        to_come: usize,
    },
    Removed {
        blocks: &'a [EngineHash],
        kind: Kind,
    },
}

impl Piece<'_> {
    /// Blocks of the batch that will be stored behind those of this piece.
    pub(super) fn blocks_to_come(&self) -> usize {
        match self {
            Self::Stored { to_come, .. } => *to_come,
            Self::Removed { .. } => 0,
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
    /// Blocks that continue what was stored last.
    to_come: usize,
    /// Those of one step.
    pieces: SmallVec<[Piece<'a>; PIECES_MAX]>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(events: &'a [CacheEvent]) -> Self {
        Self { events, done: 0, to_come: 0, pieces: SmallVec::new() }
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
            if let Some(later) = self.events.get(AHEAD) {
                prefetch_blocks(later);
            }
            let len = len(event);
            let (from, to) = (self.done, len.min(self.done + room));
            let piece = match event {
                CacheEvent::Cleared if self.pieces.is_empty() => {
                    self.events = &self.events[1..];
                    return Some(Step::Clear);
                }
                CacheEvent::Cleared => break,
                CacheEvent::Stored { parent, blocks, block_size, tier, group } => {
                    let before = from.checked_sub(1).map(|last| Parent::Block(blocks[last].engine));
                    // What comes is counted once for all that follows each other.
                    self.to_come = match self.to_come {
                        0 => len - to + blocks_behind(self.events),
                        known => known.saturating_sub(to - from),
                    };
                    Piece::Stored {
                        parent: before.unwrap_or(*parent),
                        blocks: &blocks[from..to],
                        block_size: *block_size,
                        kind: (*tier, *group),
                        to_come: self.to_come,
                    }
                }
                CacheEvent::Removed { blocks, tier, group } => {
                    Piece::Removed { blocks: &blocks[from..to], kind: (*tier, *group) }
                }
            };
            self.pieces.push(piece);
            room = room.saturating_sub(to - from + EVENT);
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
        self.to_come = 0;
        if self.done > 0 {
            (self.events, self.done) = (&self.events[1..], 0);
        }
    }
}

/// Blocks of the events that each store what continues the one before, from the first on.
fn blocks_behind(events: &[CacheEvent]) -> usize {
    let pairs = events.windows(2).take_while(|pair| continues(&pair[0], &pair[1]));
    pairs.map(|pair| len(&pair[1])).sum()
}

/// Whether the second stores what continues the first, in the same place.
fn continues(first: &CacheEvent, second: &CacheEvent) -> bool {
    let CacheEvent::Stored { blocks, block_size, tier, group, .. } = first else { return false };
    match second {
        CacheEvent::Stored { parent: Parent::Block(parent), block_size: size, tier: t, group: g, .. } => {
            blocks.last().is_some_and(|last| last.engine == *parent)
                && (block_size, tier, group) == (size, t, g)
        }
        _ => false,
    }
}

fn prefetch_blocks(event: &CacheEvent) {
    match event {
        CacheEvent::Stored { blocks, .. } => blocks.first().into_iter().for_each(prefetch),
        CacheEvent::Removed { blocks, .. } => blocks.first().into_iter().for_each(prefetch),
        CacheEvent::Cleared => {}
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
