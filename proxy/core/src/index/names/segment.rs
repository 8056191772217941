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
}

impl Segment {
    fn with_lines(lines: usize) -> Self {
        let places = (lines * PER_LINE) as u32;
        Self {
            lines: vec![Line::default(); lines].into(),
            live: 0,
            most: places / 10 * 9 + places % 10 * 9 / 10,
            // Fewer lines than one are none.
            least: if lines == 1 { 1 } else { places / 5 * 2 },
            passes: 0,
            passes_most: u32::MAX,
        }
    }

    fn home(&self, place: Place) -> usize {
        ((u64::from(place.home) * self.lines.len() as u64) >> 32) as usize
    }

    fn after(&self, line: usize) -> usize {
        if line + 1 == self.lines.len() { 0 } else { line + 1 }
    }

    pub(super) fn prefetch(&self, place: Place) {
        if let Some(line) = self.lines.get(self.home(place)) {
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
            if line.passed.count(place.class) == 0 || at == home {
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
            if let Some(slot) = line.vacancy() {
                line.put(slot, key, word);
                return;
            }
            line.passed.add(place.class);
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
            self.lines[at].passed.take(place.class);
            self.passes -= 1;
            at = self.after(at);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (EngineHash, Word)> {
        let names = self.lines.iter().flat_map(|line| (0..PER_LINE).filter_map(|slot| line.get(slot)));
        names.map(|(key, word)| (EngineHash(key), word))
    }

    /// Takes out what `stale` says; returns how many names it looked at, about.
    pub(super) fn sweep(
        &mut self,
        mut stale: impl FnMut(EngineHash, Word) -> bool,
        places: impl Fn(u64) -> Place,
    ) -> usize {
        for line in 0..self.lines.len() {
            for slot in 0..PER_LINE {
                if let Some((key, word)) = self.lines[line].get(slot)
                    && stale(EngineHash(key), word)
                {
                    self.remove((line, slot), places(key));
                }
            }
        }
        self.lines.len() * PER_LINE
    }

    /// Makes room for further names; by how many lines.
    #[cold]
    pub(super) fn grow(&mut self, places: impl Fn(u64) -> Place) -> usize {
        let lines = self.lines.len();
        self.resize(lines + lines / 5 + 1, places);
        self.lines.len() - lines
    }

    /// Gives room back that it does not need; how many lines.
    #[cold]
    pub(super) fn shrink(&mut self, places: impl Fn(u64) -> Place) -> usize {
        let lines = self.lines.len();
        self.resize((self.live as usize).div_ceil(PER_LINE * 4 / 5), places);
        lines - self.lines.len()
    }

    /// Puts every name as near to its home as it gets.
    #[cold]
    pub(super) fn gather(&mut self, places: impl Fn(u64) -> Place) {
        self.resize(self.lines.len(), places);
    }

    fn resize(&mut self, lines: usize, places: impl Fn(u64) -> Place) {
        let old = std::mem::replace(self, Self::with_lines(lines));
        for (name, word) in old.iter() {
            self.put(name.0, places(name.0), word);
        }
        self.passes_most = 2 * self.passes + self.live / 2;
    }
}

#[cfg(test)]
use super::line::Passed;

#[cfg(test)]
impl Segment {
    pub(super) fn lines(&self) -> usize {
        self.lines.len()
    }

    /// How many lines [`find`](Self::find) looks at.
    pub(super) fn lines_looked_at(&self, key: u64, place: Place) -> usize {
        let mut at = self.home(place);
        let mut count = 1;
        while self.lines[at].position(key).is_none() && self.lines[at].passed.count(place.class) > 0 {
            at = self.after(at);
            count += 1;
        }
        count
    }

    /// Whether each line knows who went past it.
    pub(super) fn is_right(&self, places: impl Fn(u64) -> Place) -> bool {
        let mut passed = vec![Passed::default(); self.lines.len()];
        let (mut live, mut passes) = (0, 0);
        for (at, line) in self.lines.iter().enumerate() {
            for (key, _) in (0..PER_LINE).filter_map(|slot| line.get(slot)) {
                live += 1;
                let place = places(key);
                let mut before = self.home(place);
                while before != at {
                    passed[before].add(place.class);
                    passes += 1;
                    before = self.after(before);
                }
            }
        }
        let enough = |line: &Line, passed: Passed| {
            (0..Passed::CLASSES).all(|class| match line.passed.count(class) {
                Passed::MOST => true,
                count => count == passed.count(class),
            })
        };
        (live, passes) == (self.live, self.passes)
            && self.lines.iter().zip(passed).all(|(line, passed)| enough(line, passed))
    }
}
