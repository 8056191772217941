//! Sets of a booking's blocks.

use std::ops::Range;

use smallvec::SmallVec;

/// A set of block positions, a word at a time. What lies behind the last word is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits(SmallVec<[u64; 4]>);

impl Bits {
    /// None of so many.
    pub(crate) fn none(len: usize) -> Self {
        Self(SmallVec::from_elem(0, len.div_ceil(64)))
    }

    /// All of so many.
    pub(crate) fn all(len: usize) -> Self {
        let mut bits = Self::none(len);
        bits.set(0..len);
        bits
    }

    /// Adds a range.
    pub(crate) fn set(&mut self, range: Range<usize>) {
        self.masks(range, |word, mask| *word |= mask);
    }

    /// Takes a range out.
    pub(crate) fn unset(&mut self, range: Range<usize>) {
        self.masks(range, |word, mask| *word &= !mask);
    }

    fn masks(&mut self, range: Range<usize>, change: impl Fn(&mut u64, u64)) {
        let end = range.end.min(self.0.len() * 64);
        if range.start >= end {
            return;
        }
        let (first, last) = (range.start / 64, (end - 1) / 64);
        for at in first..=last {
            let mut mask = u64::MAX;
            if at == first {
                mask &= u64::MAX << (range.start % 64);
            }
            if at == last {
                mask &= u64::MAX >> (63 - (end - 1) % 64);
            }
            change(&mut self.0[at], mask);
        }
    }

    /// Those of a range.
    pub(crate) fn within(&self, range: Range<usize>) -> Self {
        let mut bits = self.clone();
        bits.unset(0..range.start);
        bits.unset(range.end..self.0.len() * 64);
        bits
    }

    /// Both.
    pub(crate) fn or(mut self, other: &Self) -> Self {
        let len = self.0.len().max(other.0.len());
        self.0.resize(len, 0);
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
        self
    }

    /// Those that are in both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.0.truncate(other.0.len());
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
        self
    }

    /// Those that are not in the other.
    pub(crate) fn and_not(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
        self
    }

    pub(crate) fn contains(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// How many from 0 on are there without a gap.
    pub(crate) fn leading(&self) -> usize {
        match self.0.iter().position(|word| *word != u64::MAX) {
            Some(at) => at * 64 + self.0[at].trailing_ones() as usize,
            None => self.0.len() * 64,
        }
    }

    /// The next position from `from` on that is there, or is not.
    fn next(&self, from: usize, there: bool) -> usize {
        let mut at = from;
        while at < self.0.len() * 64 {
            let word = if there { self.0[at / 64] } else { !self.0[at / 64] };
            let rest = word >> (at % 64);
            if rest != 0 {
                return at + rest.trailing_zeros() as usize;
            }
            at = (at / 64 + 1) * 64;
        }
        self.0.len() * 64
    }

    /// Runs of positions that follow each other.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, true);
            at = self.next(start, false);
            (start < at).then_some(start..at)
        })
    }
}

#[cfg(test)]
mod tests;
