//! Two cache lines of a table of names.

use super::prefetch::prefetch;

/// Where a name's block is: an address, with one bit of the table's owner to spare. Never 0.
pub(in crate::index) type Word = u32;

pub(super) const PER_LINE: usize = 10;

/// Ten names, and who went past because there was no place. Processors tend to fetch two lines that lie like these together.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    low: [u32; PER_LINE],
    pub(super) passed: Passed,
    /// 0: nothing is here.
    words: [Word; PER_LINE],
    high: [u32; PER_LINE],
}

/// A bit for each number that is `wanted`: without a branch for each, which would be guessed wrong too often.
fn alike(numbers: &[u32; PER_LINE], wanted: u32) -> u32 {
    (0..PER_LINE).fold(0, |bits, slot| bits | u32::from(numbers[slot] == wanted) << slot)
}

impl Line {
    pub(super) fn prefetch(&self) {
        prefetch(&self.low);
        prefetch(&self.high);
    }

    pub(super) fn position(&self, key: u64) -> Option<usize> {
        let mut found = alike(&self.low, key as u32);
        // Seldom anything but the name itself.
        while found != 0 {
            let slot = found.trailing_zeros() as usize % PER_LINE;
            if self.high[slot] == (key >> 32) as u32 && self.words[slot] != 0 {
                return Some(slot);
            }
            found &= found - 1;
        }
        None
    }

    pub(super) fn vacancy(&self) -> Option<usize> {
        let vacant = alike(&self.words, 0);
        (vacant != 0).then(|| vacant.trailing_zeros() as usize)
    }

    /// The name in a place, if there is one.
    pub(super) fn get(&self, slot: usize) -> Option<(u64, Word)> {
        let word = self.words[slot];
        (word != 0).then(|| (u64::from(self.high[slot]) << 32 | u64::from(self.low[slot]), word))
    }

    pub(super) fn word(&self, slot: usize) -> Word {
        self.words[slot]
    }

    pub(super) fn word_mut(&mut self, slot: usize) -> &mut Word {
        &mut self.words[slot]
    }

    pub(super) fn put(&mut self, slot: usize, key: u64, word: Word) {
        self.low[slot] = key as u32;
        self.high[slot] = (key >> 32) as u32;
        self.words[slot] = word;
    }

    pub(super) fn take(&mut self, slot: usize) {
        self.words[slot] = 0;
    }
}

/// How many names belong to a line or one before it and are behind it, by class: sixteen numbers of four bits. One that would not
/// fit stays at 15 for good, so a search may go too far and never not far enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed(u64);

impl Passed {
    pub(super) const CLASSES: u32 = 16;
    pub(super) const MOST: u64 = 15;

    pub(super) fn count(self, class: u32) -> u64 {
        self.0 >> (4 * class) & Self::MOST
    }

    pub(super) fn add(&mut self, class: u32) {
        if self.count(class) < Self::MOST {
            self.0 += 1 << (4 * class);
        }
    }

    pub(super) fn take(&mut self, class: u32) {
        if (1..Self::MOST).contains(&self.count(class)) {
            self.0 -= 1 << (4 * class);
        }
    }
}
