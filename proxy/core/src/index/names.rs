//! A table from hashes to numbers, 12 bytes a name: a target's names for its blocks, and the prefixes at which extents
//! begin.
//!
//! Its segments grow and shrink each on its own, and one that has grown large is split in two: however large a table is, no
//! more than a segment is ever copied at once, and small tables have few.

mod line;
mod segment;

use line::Notes;
pub(super) use line::Word;
use segment::Segment;

use crate::hash::EngineHash;

/// With so many names a segment is split.
const SEGMENT_NAMES: u32 = 1024;

/// Bits of a name that the directory goes by at most.
const DEPTH_MAX: u32 = 16;

/// Where a name belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Tells the segment by as many leading bits as it takes, of [`DEPTH_MAX`].
    top: u32,
    /// Where in the segment, as a fraction of 2^32.
    home: u32,
    class: u32,
}

impl Place {
    fn of(key: u64) -> Self {
        let spread = spread(key);
        Self {
            top: (spread >> (64 - DEPTH_MAX)) as u32,
            home: (spread >> (32 - DEPTH_MAX)) as u32,
            class: ((spread & 0xffff) as u32 * Notes::CLASSES) >> 16,
        }
    }

    /// The number that its first so many bits are.
    fn leading(self, bits: u32) -> usize {
        (self.top >> (DEPTH_MAX - bits)) as usize
    }
}

/// Spreads an engine's hash, which may be as poor as a counter.
fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

#[derive(Debug, Default)]
pub(super) struct Names {
    segments: Vec<Segment>,
    /// Which segment, by the leading bits of a place. As many as some power of two, none before the first name.
    directory: Box<[u32]>,
    /// Bits that the directory goes by.
    depth: u32,
    /// Over all segments.
    lines: usize,
}

impl Names {
    fn segment_of(&self, place: Place) -> Option<usize> {
        self.directory.get(place.leading(self.depth)).map(|segment| *segment as usize)
    }

    pub(super) fn get(&self, name: EngineHash) -> Option<Word> {
        let place = Place::of(name.0);
        let segment = &self.segments[self.segment_of(place)?];
        // Both lines: without that the second would be waited for behind the first.
        segment.prefetch(place);
        segment.find(name.0, place).map(|at| segment.word(at))
    }

    /// Has the memory fetched where the name would be, for a use soon after: several of these in a row are waited for together, and
    /// beside other work.
    pub(super) fn prefetch(&self, name: EngineHash) {
        let place = Place::of(name.0);
        if let Some(segment) = self.segment_of(place) {
            self.segments[segment].prefetch(place);
        }
    }

    /// The word of the name, if it has one; otherwise it gets this one.
    pub(super) fn get_or_insert(&mut self, name: EngineHash, word: Word) -> Option<&mut Word> {
        let place = Place::of(name.0);
        let mut at = self.segment_of(place).unwrap_or_else(|| self.begin());
        if let Some(found) = self.segments[at].find(name.0, place) {
            return Some(self.segments[at].word_mut(found));
        }
        let segment = &mut self.segments[at];
        if segment.is_full() {
            if segment.live() >= SEGMENT_NAMES && segment.depth < DEPTH_MAX {
                at = self.split(at, place);
            } else {
                self.lines += segment.grow();
            }
        } else if segment.is_scattered() {
            segment.gather();
        }
        self.segments[at].put(name.0, place, word);
        None
    }

    #[cold]
    fn begin(&mut self) -> usize {
        self.segments = vec![Segment::default()];
        self.directory = [0].into();
        0
    }

    /// Splits a segment; tells in which of the two the place is.
    #[cold]
    fn split(&mut self, at: usize, place: Place) -> usize {
        let (low, high) = self.segments[at].split();
        if low.depth > self.depth {
            self.directory = self.directory.iter().flat_map(|segment| [*segment; 2]).collect();
            self.depth += 1;
        }
        // Those that share the segment's bits, of which the upper half is the new one's.
        let share = 1 << (self.depth - low.depth);
        let upper = (place.leading(low.depth) | 1) * share;
        let new = self.segments.len();
        self.directory[upper..upper + share].fill(new as u32);
        self.lines = self.lines + low.lines() + high.lines() - self.segments[at].lines();
        let is_high = place.leading(low.depth) & 1 == 1;
        self.segments[at] = low;
        self.segments.push(high);
        if is_high { new } else { at }
    }

    /// Removes the name if `gone` says so, which may change its word; returns the word as it was.
    pub(super) fn remove_if(
        &mut self,
        name: EngineHash,
        gone: impl FnOnce(&mut Word) -> bool,
    ) -> Option<Word> {
        let place = Place::of(name.0);
        let at = self.segment_of(place)?;
        let segment = &mut self.segments[at];
        let found = segment.find(name.0, place)?;
        let word = segment.word_mut(found);
        let before = *word;
        if gone(word) {
            segment.remove(found, place);
            if segment.is_sparse() {
                self.lines -= segment.shrink();
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

    /// Takes out of one segment what `stale` says; returns how many names it looked at, `None` behind the last segment. Names that a
    /// split moves meanwhile stand behind the last, so that who goes on from segment to segment sees them.
    pub(super) fn sweep(&mut self, at: usize, stale: impl FnMut(EngineHash, Word) -> bool) -> Option<usize> {
        let segment = self.segments.get_mut(at)?;
        let looked_at = segment.sweep(stale);
        if segment.is_sparse() {
            self.lines -= segment.shrink();
        }
        Some(looked_at)
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.directory)
            + self.segments.capacity() * size_of::<Segment>()
            + self.lines * size_of::<line::Line>()
    }
}

#[cfg(test)]
mod tests;
