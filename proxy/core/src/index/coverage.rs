//! Which targets cover which blocks of one extent.

use smallvec::SmallVec;

use super::Slot;
use super::prefetch::prefetch;

/// Blocks `start..end` of an extent, for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) slot: Slot,
    pub(crate) start: u16,
    pub(crate) end: u16,
}

/// For each target the blocks of an extent that it covers, as intervals that neither meet nor overlap: a hole is the space
/// between two. Where many targets share the extent, what each covers from the beginning on stands in a row by slot.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    /// By slot, then start. A slot's lie behind what the row says of it. Most extents have few: those are found without
    /// a look elsewhere.
    sparse: SmallVec<[Interval; 2]>,
    /// Covered up to, from the first block on. Empty, or at least so long that what is missing is 0.
    row: Box<[u16]>,
    /// Slots that are not 0 in the row.
    in_row: u32,
}

impl Coverage {
    pub(crate) fn is_empty(&self) -> bool {
        self.sparse.is_empty() && self.in_row == 0
    }

    /// By slot: covered up to, from the first block on. For many slots at once; the rest is in [`sparse`](Self::sparse).
    pub(crate) fn row(&self) -> &[u16] {
        &self.row
    }

    pub(crate) fn sparse(&self) -> &[Interval] {
        &self.sparse
    }

    /// Has the memory fetched where the row or the intervals begin.
    pub(super) fn prefetch(&self) {
        self.row.first().into_iter().for_each(prefetch);
        self.sparse.first().into_iter().for_each(prefetch);
    }

    /// All intervals, in no order.
    pub(crate) fn intervals(&self) -> impl Iterator<Item = Interval> {
        let row = self.row.iter().zip(0..).filter(|(end, _)| **end > 0);
        row.map(|(end, slot)| Interval { slot, start: 0, end: *end }).chain(self.sparse.iter().copied())
    }

    fn in_row(&self, slot: Slot) -> u16 {
        self.row.get(slot as usize).copied().unwrap_or(0)
    }

    /// The slot's sparse intervals.
    fn sparse_of(&self, slot: Slot) -> &[Interval] {
        let from = self.sparse.partition_point(|interval| interval.slot < slot);
        let count = self.sparse[from..].iter().take_while(|interval| interval.slot == slot).count();
        &self.sparse[from..from + count]
    }

    /// The slot's intervals, in order.
    pub(crate) fn of(&self, slot: Slot) -> impl Iterator<Item = (u16, u16)> {
        let row = Some(self.in_row(slot)).filter(|end| *end > 0).map(|end| (0, end));
        row.into_iter().chain(self.sparse_of(slot).iter().map(|interval| (interval.start, interval.end)))
    }

    /// The end of the interval that contains the block, if one does.
    pub(crate) fn run_end(&self, slot: Slot, block: u16) -> Option<u16> {
        self.of(slot).find(|(_, end)| *end > block).filter(|(start, _)| *start <= block).map(|(_, end)| end)
    }

    pub(crate) fn contains(&self, slot: Slot, block: u16) -> bool {
        self.run_end(slot, block).is_some()
    }

    /// Blocks of `start..end` that the slot covers.
    pub(crate) fn count(&self, slot: Slot, start: u16, end: u16) -> u32 {
        self.of(slot).map(|(from, to)| u32::from(to.min(end).saturating_sub(from.max(start)))).sum()
    }

    /// Where the last interval ends.
    pub(crate) fn end(&self) -> u16 {
        let sparse = self.sparse.iter().map(|interval| interval.end).max().unwrap_or(0);
        self.row.iter().copied().max().unwrap_or(0).max(sparse)
    }

    /// Whether any interval ends at the block or behind it.
    pub(crate) fn reaches(&self, end: u16) -> bool {
        self.end() >= end
    }

    /// Covers `start..end`. `slots` is how many there are: with an eighth of them in one extent a row pays.
    pub(crate) fn add(&mut self, slot: Slot, start: u16, end: u16, slots: usize) {
        if start >= end {
            return;
        }
        let in_row = self.in_row(slot);
        if !self.row.is_empty() && start <= in_row {
            self.set_row(slot, in_row.max(end), slots);
            self.absorb(slot);
            return;
        }
        self.add_sparse(Interval { slot, start, end });
        if self.row.is_empty() && self.sparse.len() > (slots / 8).max(8) {
            self.make_row(slots);
        }
    }

    fn add_sparse(&mut self, new: Interval) {
        let from = self.sparse.partition_point(|known| (known.slot, known.end) < (new.slot, new.start));
        let meets = |known: &Interval| known.slot == new.slot && known.start <= new.end;
        match self.sparse.get_mut(from).filter(|known| meets(known)) {
            None => {
                if self.sparse.len() == self.sparse.capacity() {
                    self.sparse.reserve_exact(self.sparse.len() / 2);
                }
                self.sparse.insert(from, new);
            }
            Some(first) => {
                first.start = first.start.min(new.start);
                first.end = first.end.max(new.end);
                let end = first.end;
                let more = self.sparse[from + 1..]
                    .iter()
                    .take_while(|known| known.slot == new.slot && known.start <= end);
                let count = more.clone().count();
                let end = more.map(|known| known.end).max().unwrap_or(0).max(end);
                self.sparse[from].end = end;
                self.sparse.drain(from + 1..from + 1 + count);
            }
        }
    }

    fn set_row(&mut self, slot: Slot, end: u16, slots: usize) {
        let at = slot as usize;
        if at >= self.row.len() {
            let mut row = std::mem::take(&mut self.row).into_vec();
            row.resize(slots.max(at + 1), 0);
            self.row = row.into();
        }
        let before = std::mem::replace(&mut self.row[at], end);
        self.in_row += u32::from(before == 0 && end > 0);
        self.in_row -= u32::from(before > 0 && end == 0);
    }

    /// Takes the intervals into the row that now meet what it says of the slot.
    fn absorb(&mut self, slot: Slot) {
        if self.sparse.is_empty() {
            return;
        }
        let mut end = self.in_row(slot);
        let from = self.sparse.partition_point(|known| known.slot < slot);
        let mut to = from;
        while let Some(known) = self.sparse.get(to).filter(|known| known.slot == slot && known.start <= end) {
            end = end.max(known.end);
            to += 1;
        }
        self.sparse.drain(from..to);
        self.row[slot as usize] = end;
    }

    fn make_row(&mut self, slots: usize) {
        let last = self.sparse.last().map_or(0, |known| known.slot as usize + 1);
        let mut row = vec![0; slots.max(last)].into_boxed_slice();
        let mut in_row = 0;
        self.sparse.retain(|known| {
            if known.start == 0 {
                row[known.slot as usize] = known.end;
                in_row += 1;
            }
            known.start > 0
        });
        self.sparse.shrink_to_fit();
        (self.row, self.in_row) = (row, in_row);
    }

    /// Uncovers `start..end`; what of it was covered lies in one interval. Returns whether it was.
    pub(crate) fn remove(&mut self, slot: Slot, start: u16, end: u16) -> bool {
        let in_row = self.in_row(slot);
        if start < in_row {
            self.row[slot as usize] = start;
            if end < in_row {
                self.add_sparse(Interval { slot, start: end, end: in_row });
            }
            if start == 0 {
                self.in_row -= 1;
                self.drop_row();
            }
            return true;
        }
        let at = self.sparse.partition_point(|known| (known.slot, known.end) <= (slot, start));
        let Some(known) = self.sparse.get_mut(at).filter(|known| known.slot == slot && known.start <= start)
        else {
            return false;
        };
        let rest = Interval { slot, start: end, end: known.end };
        if known.start < start {
            known.end = start;
            if rest.start < rest.end {
                self.sparse.insert(at + 1, rest);
            }
        } else if rest.start < rest.end {
            *known = rest;
        } else {
            self.sparse.remove(at);
            self.shrink();
        }
        true
    }

    /// Uncovers everything of a slot.
    pub(crate) fn remove_slot(&mut self, slot: Slot) {
        if self.in_row(slot) > 0 {
            self.row[slot as usize] = 0;
            self.in_row -= 1;
            self.drop_row();
        }
        let from = self.sparse.partition_point(|known| known.slot < slot);
        let count = self.sparse_of(slot).len();
        self.sparse.drain(from..from + count);
        self.shrink();
    }

    /// Uncovers everything from a block on, and tells what it was.
    pub(crate) fn truncate(&mut self, keep: u16, mut gone: impl FnMut(Interval)) {
        for (end, slot) in self.row.iter_mut().zip(0..).filter(|(end, _)| **end > keep) {
            gone(Interval { slot, start: keep, end: *end });
            *end = keep;
        }
        if keep == 0 {
            self.in_row = 0;
        }
        self.sparse.retain_mut(|known| {
            if known.end > keep {
                gone(Interval { start: known.start.max(keep), ..*known });
                known.end = keep;
            }
            known.start < known.end
        });
        self.drop_row();
        self.shrink();
    }

    fn drop_row(&mut self) {
        if self.in_row == 0 {
            self.row = Box::default();
        }
    }

    fn shrink(&mut self) {
        if self.sparse.spilled() && self.sparse.capacity() > 2 * self.sparse.len() + 2 {
            self.sparse.shrink_to_fit();
        }
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let sparse = if self.sparse.spilled() { self.sparse.capacity() } else { 0 };
        sparse * size_of::<Interval>() + self.row.len() * size_of::<u16>()
    }
}

#[cfg(test)]
mod tests;
