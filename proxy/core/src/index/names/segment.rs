//! A part of a table of names: open addressing by lines.
//!
//! A name is put in the first line from its home on that has a place. A line knows who went past, by class, so that a search for a
//! name that is not there seldom goes on. As names come and go, more and more of them stand further from home than they
//! would have to: once that is too far, the segment is made anew.

use super::Place;
use super::line::{Line, PER_LINE, Word};
use crate::hash::EngineHash;

/// Where a name is: which line, and which of its places.
pub(super) type At = (usize, usize);

#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    lines: Box<[Line]>,
    live: u32,
    /// With so many names it is to grow before the next.
    most: u32,
    /// With fewer names than that it may shrink.
    least: u32,
    /// Lines that its names went past, in all.
    passes: u32,
    /// With so many passes it is to be made anew.
    passes_most: u32,
    /// Leading bits that its names have in common.
    pub(super) depth: u32,
}

impl Segment {
    fn with_lines(lines: usize, depth: u32) -> Self {
        let places = (lines * PER_LINE) as u32;
        Self {
            lines: vec![Line::default(); lines].into(),
            live: 0,
            most: places / 10 * 9 + places % 10 * 9 / 10,
            // Seldom: who evicts a lot is about to store as much. Fewer lines than one are none.
            least: if lines == 1 { 1 } else { places / 8 },
            passes: 0,
            passes_most: u32::MAX,
            depth,
        }
    }

    /// With room for so many names and a fifth more.
    fn for_names(names: usize, depth: u32) -> Self {
        Self::with_lines((4 * names).div_ceil(3 * PER_LINE).max(1), depth)
    }

    pub(super) fn live(&self) -> u32 {
        self.live
    }

    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    fn home(&self, place: Place) -> usize {
        ((u64::from(place.home) * self.lines.len() as u64) >> 32) as usize
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    pub(super) fn prefetch(&self, place: Place) {
        let home = self.home(place);
        if let Some(line) = self.lines.get(home) {
            line.prefetch();
        }
        // A third of all searches go on there, and telling which would take longer.
        if let Some(line) = self.lines.get(home + 1) {
            line.prefetch();
        }
    }

    pub(super) fn find(&self, key: u64, place: Place) -> Option<At> {
        let home = self.home(place);
        let mut at = home;
        loop {
            let line = self.lines.get(at)?;
            if let Some(slot) = line.position(key) {
                return Some((at, slot));
            }
            at = self.after(at);
            if line.notes.passed(place.class) == 0 || at == home {
                return None;
            }
        }
    }

    pub(super) fn word(&self, (line, slot): At) -> Word {
        self.lines[line].word(slot)
    }

    pub(super) fn word_mut(&mut self, (line, slot): At) -> &mut Word {
        self.lines[line].word_mut(slot)
    }

    pub(super) fn is_full(&self) -> bool {
        self.live >= self.most
    }

    pub(super) fn is_sparse(&self) -> bool {
        self.live < self.least
    }

    pub(super) fn is_scattered(&self) -> bool {
        self.passes > self.passes_most
    }

    /// Adds a name that is not there, to a segment that is not full.
    pub(super) fn put(&mut self, key: u64, place: Place, word: Word) {
        self.live += 1;
        let mut at = self.home(place);
        // Ends: a tenth of the places is free.
        loop {
            let line = &mut self.lines[at];
            if line.put(key, word) {
                return;
            }
            line.notes.pass(place.class);
            self.passes += 1;
            at = self.after(at);
        }
    }

    /// Takes out a name that is there.
    pub(super) fn remove(&mut self, (line, slot): At, place: Place) {
        self.live -= 1;
        self.lines[line].take(slot);
        let mut at = self.home(place);
        while at != line {
            self.lines[at].notes.unpass(place.class);
            self.passes -= 1;
            at = self.after(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EngineHash, Word)> {
        self.lines.iter().flat_map(Line::iter).map(|(key, word)| (EngineHash(key), word))
    }

    /// Takes out what `stale` says; returns how many names it looked at, about.
    pub(super) fn sweep(&mut self, mut stale: impl FnMut(EngineHash, Word) -> bool) -> usize {
        for line in 0..self.lines.len() {
            for slot in 0..PER_LINE {
                if let Some((key, word)) = self.lines[line].get(slot)
                    && stale(EngineHash(key), word)
                {
                    self.remove((line, slot), Place::of(key));
                }
            }
        }
        self.lines.len() * PER_LINE
    }

    /// Makes room for further names; by how many lines.
    #[cold]
    pub(super) fn grow(&mut self) -> usize {
        let lines = self.lines.len();
        self.resize(lines + lines / 5 + 1);
        self.lines.len() - lines
    }

    /// Gives room back that it does not need; how many lines.
    #[cold]
    pub(super) fn shrink(&mut self) -> usize {
        let lines = self.lines.len();
        self.resize((5 * self.live as usize).div_ceil(4 * PER_LINE));
        lines - self.lines.len()
    }

    /// Puts every name as near to its home as it gets.
    #[cold]
    pub(super) fn gather(&mut self) {
        self.resize(self.lines.len());
    }

    fn resize(&mut self, lines: usize) {
        let mut new = Self::with_lines(lines, self.depth);
        self.iter().for_each(|(name, word)| new.put(name.0, Place::of(name.0), word));
        new.settle();
        *self = new;
    }

    /// The same names in two, by the next bit.
    pub(super) fn split(&self) -> (Self, Self) {
        let depth = self.depth + 1;
        let is_high = |name: EngineHash| Place::of(name.0).leading(depth) & 1 == 1;
        let high = self.iter().filter(|(name, _)| is_high(*name)).count();
        let mut halves = [Self::for_names(self.live as usize - high, depth), Self::for_names(high, depth)];
        for (name, word) in self.iter() {
            halves[usize::from(is_high(name))].put(name.0, Place::of(name.0), word);
        }
        halves.iter_mut().for_each(Self::settle);
        halves.into()
    }

    /// All names are where they are to be: from here on they may be scattered so far.
    fn settle(&mut self) {
        self.passes_most = 2 * self.passes + self.live / 2;
    }
}

#[cfg(test)]
use super::line::Notes;

#[cfg(test)]
impl Segment {
    /// How many lines [`find`](Self::find) looks at.
    pub(super) fn lines_looked_at(&self, key: u64, place: Place) -> usize {
        let mut at = self.home(place);
        let mut count = 1;
        while self.lines[at].position(key).is_none() && self.lines[at].notes.passed(place.class) > 0 {
            at = self.after(at);
            count += 1;
        }
        count
    }

    /// Whether each line knows who went past it.
    pub(super) fn is_right(&self) -> bool {
        let mut passed = vec![Notes::default(); self.lines.len()];
        let (mut live, mut passes) = (0, 0);
        for (at, line) in self.lines.iter().enumerate() {
            for (key, _) in (0..PER_LINE).filter_map(|slot| line.get(slot)) {
                live += 1;
                let place = Place::of(key);
                let mut before = self.home(place);
                while before != at {
                    passed[before].pass(place.class);
                    passes += 1;
                    before = self.after(before);
                }
            }
        }
        let enough = |line: &Line, passed: Notes| {
            (0..Notes::CLASSES).all(|class| match line.notes.passed(class) {
                Notes::MOST => true,
                count => count == passed.passed(class),
            })
        };
        (live, passes) == (self.live, self.passes)
            && self.lines.iter().zip(passed).all(|(line, passed)| enough(line, passed))
    }
}
