//! Two cache lines of a table of names.

use crate::index::prefetch::prefetch;

/// Where a name's block is: an address, with one bit of the table's owner to spare.
pub(in crate::index) type Word = u32;

pub(super) const PER_LINE: usize = 10;

/// Ten names, and notes of them. Processors tend to fetch two lines that lie like these together; whether a name is there the
/// first one nearly always tells.
#[repr(C, align(128))]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    low: [u32; PER_LINE],
    pub(super) notes: Notes,
    words: [Word; PER_LINE],
    high: [u32; PER_LINE],
}

impl Line {
    pub(super) fn prefetch(&self) {
        prefetch(&self.low);
        prefetch(&self.high);
    }

    pub(super) fn position(&self, key: u64) -> Option<usize> {
        // A bit for each, without a branch for each, which would be guessed wrong too often.
        let alike =
            (0..PER_LINE).fold(0, |bits, slot| bits | u32::from(self.low[slot] == key as u32) << slot);
        let mut found = alike & self.notes.taken();
        // Seldom anything but the name itself.
        while found != 0 {
            let slot = found.trailing_zeros() as usize;
            if self.high.get(slot) == Some(&((key >> 32) as u32)) {
                return Some(slot);
            }
            found &= found - 1;
        }
        None
    }

    /// Its names.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Word)> {
        slots(self.notes.taken())
            .map(|slot| (u64::from(self.high[slot]) << 32 | u64::from(self.low[slot]), self.words[slot]))
    }

    /// The name in a place, if there is one.
    pub(super) fn get(&self, slot: usize) -> Option<(u64, Word)> {
        let is_taken = self.notes.taken() >> slot & 1 == 1;
        is_taken.then(|| (u64::from(self.high[slot]) << 32 | u64::from(self.low[slot]), self.words[slot]))
    }

    pub(super) fn word(&self, slot: usize) -> Word {
        self.words[slot]
    }

    pub(super) fn word_mut(&mut self, slot: usize) -> &mut Word {
        &mut self.words[slot]
    }

    /// Adds a name; false if there is no place for it.
    pub(super) fn put(&mut self, key: u64, word: Word) -> bool {
        let slot = self.notes.taken().trailing_ones() as usize;
        if slot >= PER_LINE {
            return false;
        }
        self.low[slot] = key as u32;
        self.high[slot] = (key >> 32) as u32;
        self.words[slot] = word;
        self.notes.0 |= 1 << slot;
        true
    }

    pub(super) fn take(&mut self, slot: usize) {
        self.notes.0 &= !(1 << slot);
    }
}

/// The places whose bits are set.
fn slots(mut bits: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = (bits != 0).then(|| bits.trailing_zeros() as usize);
        bits &= bits.wrapping_sub(1);
        slot
    })
}

/// Which places of a line are taken, a bit for each; and how many names that belong to it or to one before it are behind it, by
/// class: twelve numbers of four bits. One that would not fit stays at 15 for good, so a search may go too far and never not far
/// enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes(u64);

impl Notes {
    pub(super) const CLASSES: u32 = 12;
    pub(super) const MOST: u64 = 15;

    fn taken(self) -> u32 {
        self.0 as u32 & ((1 << PER_LINE) - 1)
    }

    fn shift(class: u32) -> u32 {
        16 + 4 * class
    }

    pub(super) fn passed(self, class: u32) -> u64 {
        self.0 >> Self::shift(class) & Self::MOST
    }

    pub(super) fn pass(&mut self, class: u32) {
        if self.passed(class) < Self::MOST {
            self.0 += 1 << Self::shift(class);
        }
    }

    /// One that had gone past is gone.
    pub(super) fn unpass(&mut self, class: u32) {
        if (1..Self::MOST).contains(&self.passed(class)) {
            self.0 -= 1 << Self::shift(class);
        }
    }
}
