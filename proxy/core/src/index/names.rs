//! One target's names for its blocks: engine hash to address, 12 bytes a name.
//!
//! Open addressing by cache lines of five names each. A line counts how many names passed it because it was full, so
//! that a search ends at the first line nobody passed, and a removal leaves nothing behind. Sixteen segments grow and
//! shrink each on its own: a table is never copied as a whole.

use crate::hash::EngineHash;

const PER_LINE: usize = 5;
const SEGMENTS: usize = 16;

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

impl Line {
    fn position(&self, key: u64) -> Option<usize> {
        (0..PER_LINE).find(|slot| {
            self.low[*slot] == key as u32 && self.high[*slot] == (key >> 32) as u32 && self.words[*slot] != 0
        })
    }

    fn key(&self, slot: usize) -> u64 {
        u64::from(self.high[slot]) << 32 | u64::from(self.low[slot])
    }

    fn vacancy(&self) -> Option<usize> {
        self.words.iter().position(|word| *word == 0)
    }

    fn put(&mut self, slot: usize, key: u64, word: Word) {
        self.low[slot] = key as u32;
        self.high[slot] = (key >> 32) as u32;
        self.words[slot] = word;
    }
}

#[derive(Debug, Default)]
struct Segment {
    lines: Vec<Line>,
    live: usize,
}

/// Spreads an engine's hash, which may be as poor as a counter.
fn spread(key: u64) -> u64 {
    let mixed = (key ^ (key >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

impl Segment {
    fn home(&self, spread: u64) -> usize {
        ((u64::from((spread >> 28) as u32) * self.lines.len() as u64) >> 32) as usize
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    fn find(&self, key: u64, spread: u64) -> Option<(usize, usize)> {
        let mut at = self.home(spread);
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
    fn insert(&mut self, key: u64, word: Word) {
        if (self.live + 1) * 10 > self.lines.len() * PER_LINE * 9 {
            self.resize(self.lines.len() + self.lines.len() / 5 + 1);
        }
        self.place(key, word);
    }

    fn place(&mut self, key: u64, word: Word) {
        self.live += 1;
        let mut at = self.home(spread(key));
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

    fn remove(&mut self, (at, slot): (usize, usize)) -> Word {
        let mut passed = self.home(spread(self.lines[at].key(slot)));
        while passed != at {
            self.lines[passed].passed -= 1;
            passed = self.after(passed);
        }
        self.live -= 1;
        std::mem::take(&mut self.lines[at].words[slot])
    }

    fn shrink(&mut self) {
        if self.live * 5 < self.lines.len() * PER_LINE * 2 {
            self.resize((self.live * 5).div_ceil(PER_LINE * 4));
        }
    }

    #[cold]
    fn resize(&mut self, lines: usize) {
        let old = std::mem::replace(&mut self.lines, vec![Line::default(); lines]);
        self.live = 0;
        for line in old {
            for slot in 0..PER_LINE {
                if line.words[slot] != 0 {
                    self.place(line.key(slot), line.words[slot]);
                }
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Names(Option<Box<[Segment; SEGMENTS]>>);

impl Names {
    fn segment(&self, spread: u64) -> Option<&Segment> {
        self.0.as_ref().map(|segments| &segments[(spread >> 60) as usize])
    }

    pub(super) fn get(&self, name: EngineHash) -> Option<Word> {
        let spread = spread(name.0);
        let segment = self.segment(spread)?;
        segment.find(name.0, spread).map(|(line, slot)| segment.lines[line].words[slot])
    }

    /// Reads where the name would be, so that a use soon after finds it in the cache. Several of these in a row wait for
    /// memory together, which uses one after the other would not.
    pub(super) fn warm(&self, name: EngineHash) -> u32 {
        let spread = spread(name.0);
        let Some(segment) = self.segment(spread) else { return 0 };
        segment.lines.get(segment.home(spread)).map_or(0, |line| line.passed)
    }

    /// The word of the name, if it has one; otherwise it gets this one.
    pub(super) fn get_or_insert(&mut self, name: EngineHash, word: Word) -> Option<&mut Word> {
        let spread = spread(name.0);
        let segment = &mut self.0.get_or_insert_default()[(spread >> 60) as usize];
        if let Some((line, slot)) = segment.find(name.0, spread) {
            return Some(&mut segment.lines[line].words[slot]);
        }
        segment.insert(name.0, word);
        None
    }

    /// Removes the name if `gone` says so, which may change its word; returns the word as it was.
    pub(super) fn remove_if(
        &mut self,
        name: EngineHash,
        gone: impl FnOnce(&mut Word) -> bool,
    ) -> Option<Word> {
        let spread = spread(name.0);
        let segment = &mut self.0.as_mut()?[(spread >> 60) as usize];
        let (line, slot) = segment.find(name.0, spread)?;
        let word = &mut segment.lines[line].words[slot];
        let before = *word;
        if gone(word) {
            segment.remove((line, slot));
            segment.shrink();
        }
        Some(before)
    }

    /// All names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EngineHash, Word)> {
        let lines = self.0.iter().flat_map(|segments| segments.iter()).flat_map(|segment| &segment.lines);
        lines.flat_map(|line| {
            (0..PER_LINE)
                .filter(|slot| line.words[*slot] != 0)
                .map(|slot| (EngineHash(line.key(slot)), line.words[slot]))
        })
    }

    /// Takes out of one segment what `stale` says; returns how many names it looked at, `None` behind the last segment.
    pub(super) fn sweep(
        &mut self,
        segment: usize,
        mut stale: impl FnMut(EngineHash, Word) -> bool,
    ) -> Option<usize> {
        let segment = self.0.as_mut()?.get_mut(segment)?;
        let looked_at = segment.lines.len() * PER_LINE;
        for at in 0..segment.lines.len() {
            for slot in 0..PER_LINE {
                let line = &segment.lines[at];
                if line.words[slot] != 0 && stale(EngineHash(line.key(slot)), line.words[slot]) {
                    segment.remove((at, slot));
                }
            }
        }
        segment.shrink();
        Some(looked_at)
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |segments| {
            let lines: usize = segments.iter().map(|segment| segment.lines.capacity()).sum();
            size_of_val(&**segments) + lines * size_of::<Line>()
        })
    }
}

#[cfg(test)]
mod tests;
