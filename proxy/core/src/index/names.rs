//! A table from hashes to numbers, 12 bytes a name: a target's names for its blocks, and the prefixes at which extents
//! begin.
//!
//! Segments grow and shrink each on its own: a table is never copied as a whole.

mod line;
mod prefetch;
mod segment;

use line::Passed;
pub(super) use line::Word;
use segment::Segment;

use crate::hash::EngineHash;

/// Where a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    segment: usize,
    /// Where in the segment, as a fraction of 2^32.
    home: u32,
    class: u32,
}

/// Spreads an engine's hash, which may be as poor as a counter.
fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// With a power of two of segments: more where there are more names, so that none takes long to grow.
#[derive(Debug)]
pub(super) struct Names<const SEGMENTS: usize = 16> {
    /// None, or all.
    segments: Box<[Segment]>,
    /// Over all segments.
    lines: usize,
}

impl<const SEGMENTS: usize> Default for Names<SEGMENTS> {
    fn default() -> Self {
        Self { segments: Box::default(), lines: 0 }
    }
}

impl<const SEGMENTS: usize> Names<SEGMENTS> {
    const BITS: u32 = SEGMENTS.trailing_zeros();

    fn place(key: u64) -> Place {
        let spread = spread(key);
        Place {
            segment: (spread >> (64 - Self::BITS)) as usize,
            home: (spread >> (32 - Self::BITS)) as u32,
            class: spread as u32 % Passed::CLASSES,
        }
    }

    pub(super) fn get(&self, name: EngineHash) -> Option<Word> {
        let place = Self::place(name.0);
        let segment = self.segments.get(place.segment)?;
        segment.find(name.0, place).map(|at| segment.word(at))
    }

    /// Has the memory fetched where the name would be, for a use soon after: several of these in a row are waited for together, and
    /// beside other work.
    pub(super) fn prefetch(&self, name: EngineHash) {
        let place = Self::place(name.0);
        if let Some(segment) = self.segments.get(place.segment) {
            segment.prefetch(place);
        }
    }

    /// The word of the name, if it has one; otherwise it gets this one.
    pub(super) fn get_or_insert(&mut self, name: EngineHash, word: Word) -> Option<&mut Word> {
        if self.segments.is_empty() {
            self.segments = std::iter::repeat_with(Segment::default).take(SEGMENTS).collect();
        }
        let place = Self::place(name.0);
        let segment = &mut self.segments[place.segment];
        if let Some(at) = segment.find(name.0, place) {
            return Some(segment.word_mut(at));
        }
        if segment.is_full() {
            self.lines += segment.grow(Self::place);
        } else if segment.is_scattered() {
            segment.gather(Self::place);
        }
        segment.put(name.0, place, word);
        None
    }

    /// Removes the name if `gone` says so, which may change its word; returns the word as it was.
    pub(super) fn remove_if(
        &mut self,
        name: EngineHash,
        gone: impl FnOnce(&mut Word) -> bool,
    ) -> Option<Word> {
        let place = Self::place(name.0);
        let segment = self.segments.get_mut(place.segment)?;
        let at = segment.find(name.0, place)?;
        let word = segment.word_mut(at);
        let before = *word;
        if gone(word) {
            segment.remove(at, place);
            if segment.is_sparse() {
                self.lines -= segment.shrink(Self::place);
            }
        }
        Some(before)
    }

    /// All names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EngineHash, Word)> {
        self.segments.iter().flat_map(Segment::iter)
    }

    /// The names of one segment; `None` behind the last.
    pub(super) fn segment(&self, at: usize) -> Option<impl Iterator<Item = (EngineHash, Word)>> {
        self.segments.get(at).map(Segment::iter)
    }

    /// Takes out of one segment what `stale` says; returns how many names it looked at, `None` behind the last segment.
    pub(super) fn sweep(&mut self, at: usize, stale: impl FnMut(EngineHash, Word) -> bool) -> Option<usize> {
        let segment = self.segments.get_mut(at)?;
        let looked_at = segment.sweep(stale, Self::place);
        if segment.is_sparse() {
            self.lines -= segment.shrink(Self::place);
        }
        Some(looked_at)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.segments) + self.lines * size_of::<line::Line>()
    }
}

#[cfg(test)]
mod tests;
