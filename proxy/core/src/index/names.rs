//! A table from hashes to numbers, 12 bytes a name: a target's names for its blocks, and the prefixes at which extents
//! begin.
//!
//! Open addressing by cache lines of five names each. A line counts how many names passed it because it was full, so
//! that a search ends at the first line nobody passed, and a removal leaves nothing behind. Segments grow and
//! shrink each on its own: a table is never copied as a whole.

use crate::hash::EngineHash;

const PER_LINE: usize = 5;

/// Where a name's block is: an address, with one bit of the table's owner to spare. Never 0.
pub(super) type Word = u32;

#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    low: [u32; PER_LINE],
    high: [u32; PER_LINE],
    /// 0: nothing is here.
    words: [Word; PER_LINE],
    /// Names that belong to this line or one before it and are behind it.
    passed: u32,
}

/// A bit for each number that is `wanted`: without a branch for each, which would be guessed wrong too often.
fn alike(numbers: &[u32; PER_LINE], wanted: u32) -> u32 {
    (0..PER_LINE).fold(0, |bits, slot| bits | u32::from(numbers[slot] == wanted) << slot)
}

impl Line {
    fn position(&self, key: u64) -> Option<usize> {
        let alike = alike(&self.low, key as u32);
        // Seldom anything but the name itself.
        if alike == 0 {
            return None;
        }
        (0..PER_LINE)
            .filter(|slot| alike >> slot & 1 == 1)
            .find(|slot| self.high[*slot] == (key >> 32) as u32 && self.words[*slot] != 0)
    }

    fn vacancy(&self) -> Option<usize> {
        let vacant = alike(&self.words, 0);
        (vacant != 0).then(|| vacant.trailing_zeros() as usize)
    }

    fn key(&self, slot: usize) -> u64 {
        u64::from(self.high[slot]) << 32 | u64::from(self.low[slot])
    }

    fn put(&mut self, slot: usize, key: u64, word: Word) {
        self.low[slot] = key as u32;
        self.high[slot] = (key >> 32) as u32;
        self.words[slot] = word;
    }
}

#[derive(Clone, Debug, Default)]
struct Segment {
    lines: Box<[Line]>,
    live: usize,
}

/// Spreads an engine's hash, which may be as poor as a counter.
fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl Segment {
    fn home(&self, place: u32) -> usize {
        ((u64::from(place) * self.lines.len() as u64) >> 32) as usize
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    fn find(&self, key: u64, place: u32) -> Option<(usize, usize)> {
        let mut at = self.home(place);
        for _ in 0..self.lines.len() {
            let line = &self.lines[at];
            if let Some(slot) = line.position(key) {
                return Some((at, slot));
            }
            if line.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Adds a name that is not there.
    fn put(&mut self, home: usize, key: u64, word: Word) {
        self.live += 1;
        let mut at = home;
        // Ends: a tenth of the places is free.
        loop {
            let line = &mut self.lines[at];
            if let Some(slot) = line.vacancy() {
                line.put(slot, key, word);
                return;
            }
            line.passed += 1;
            at = self.after(at);
        }
    }

    fn remove(&mut self, (at, slot): (usize, usize), home: usize) -> Word {
        let mut passed = home;
        while passed != at {
            self.lines[passed].passed -= 1;
            passed = self.after(passed);
        }
        self.live -= 1;
        std::mem::take(&mut self.lines[at].words[slot])
    }

    fn iter(&self) -> impl Iterator<Item = (EngineHash, Word)> {
        self.lines.iter().flat_map(|line| {
            (0..PER_LINE)
                .filter(|slot| line.words[*slot] != 0)
                .map(|slot| (EngineHash(line.key(slot)), line.words[slot]))
        })
    }

    /// Lines that there should be once one more name is there.
    fn lines_to_grow(&self) -> Option<usize> {
        let is_full = (self.live + 1) * 10 > self.lines.len() * PER_LINE * 9;
        is_full.then(|| self.lines.len() + self.lines.len() / 5 + 1)
    }

    /// Lines that there should be after names have gone.
    fn lines_to_shrink(&self) -> Option<usize> {
        let is_sparse = self.live * 5 < self.lines.len() * PER_LINE * 2;
        let lines = (self.live * 5).div_ceil(PER_LINE * 4);
        (is_sparse && lines < self.lines.len()).then_some(lines)
    }
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

    /// Which segment a name is in, and where it would be there, as a fraction of 2^32.
    fn place(name: EngineHash) -> (usize, u32) {
        let spread = spread(name.0);
        ((spread >> (64 - Self::BITS)) as usize, (spread >> (32 - Self::BITS)) as u32)
    }

    pub(super) fn get(&self, name: EngineHash) -> Option<Word> {
        let (segment, place) = Self::place(name);
        let segment = self.segments.get(segment)?;
        segment.find(name.0, place).map(|(line, slot)| segment.lines[line].words[slot])
    }

    /// Reads where the name would be, so that a use soon after finds it in the cache. Several of these in a row wait for
    /// memory together, which uses one after the other would not.
    pub(super) fn warm(&self, name: EngineHash) -> u32 {
        let (segment, place) = Self::place(name);
        let Some(segment) = self.segments.get(segment) else { return 0 };
        segment.lines.get(segment.home(place)).map_or(0, |line| line.passed)
    }

    /// The word of the name, if it has one; otherwise it gets this one.
    pub(super) fn get_or_insert(&mut self, name: EngineHash, word: Word) -> Option<&mut Word> {
        if self.segments.is_empty() {
            self.segments = vec![Segment::default(); SEGMENTS].into();
        }
        let (at, place) = Self::place(name);
        if let Some(lines) = self.segments[at].lines_to_grow() {
            self.resize(at, lines);
        }
        let segment = &mut self.segments[at];
        if let Some((line, slot)) = segment.find(name.0, place) {
            return Some(&mut segment.lines[line].words[slot]);
        }
        segment.put(segment.home(place), name.0, word);
        None
    }

    /// Removes the name if `gone` says so, which may change its word; returns the word as it was.
    pub(super) fn remove_if(
        &mut self,
        name: EngineHash,
        gone: impl FnOnce(&mut Word) -> bool,
    ) -> Option<Word> {
        let (at, place) = Self::place(name);
        let segment = self.segments.get_mut(at)?;
        let (line, slot) = segment.find(name.0, place)?;
        let word = &mut segment.lines[line].words[slot];
        let before = *word;
        if gone(word) {
            segment.remove((line, slot), segment.home(place));
            self.shrink(at);
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
    pub(super) fn sweep(
        &mut self,
        at: usize,
        mut stale: impl FnMut(EngineHash, Word) -> bool,
    ) -> Option<usize> {
        let segment = self.segments.get_mut(at)?;
        let looked_at = segment.lines.len() * PER_LINE;
        for line in 0..segment.lines.len() {
            for slot in 0..PER_LINE {
                let (name, word) =
                    (EngineHash(segment.lines[line].key(slot)), segment.lines[line].words[slot]);
                if word != 0 && stale(name, word) {
                    segment.remove((line, slot), segment.home(Self::place(name).1));
                }
            }
        }
        self.shrink(at);
        Some(looked_at)
    }

    fn shrink(&mut self, at: usize) {
        if let Some(lines) = self.segments[at].lines_to_shrink() {
            self.resize(at, lines);
        }
    }

    #[cold]
    fn resize(&mut self, at: usize, lines: usize) {
        let segment = &mut self.segments[at];
        let new = vec![Line::default(); lines].into_boxed_slice();
        let old = std::mem::replace(segment, Segment { lines: new, live: 0 }).lines;
        self.lines = self.lines + lines - old.len();
        for line in old {
            for slot in (0..PER_LINE).filter(|slot| line.words[*slot] != 0) {
                let key = line.key(slot);
                let home = segment.home(Self::place(EngineHash(key)).1);
                segment.put(home, key, line.words[slot]);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.segments) + self.lines * size_of::<Line>()
    }
}

#[cfg(test)]
mod tests;
