//! The blocks of one extent.

use std::ops::Deref;

use crate::hash::PrefixHash;

/// Consecutive blocks: of each, the hash of the prefix that it ends. And where a prompt ended last, with its prefix once more: who asks
/// for that prompt again is answered without another look at memory, and who goes on otherwise from there by one.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Behind the last block is room.
    prefixes: Box<[PrefixHash]>,
    /// What the last of the `marked` first blocks ends.
    mark: PrefixHash,
    /// Blocks before the first.
    pub(super) depth: u32,
    len: u16,
    /// None are: 0.
    marked: u16,
}

impl Deref for Blocks {
    type Target = [PrefixHash];

    fn deref(&self) -> &[PrefixHash] {
        &self.prefixes[..usize::from(self.len)]
    }
}

impl Blocks {
    /// None, behind so many.
    pub(super) fn new(depth: u32) -> Self {
        Self { prefixes: Box::default(), mark: PrefixHash(0), depth, len: 0, marked: 0 }
    }

    pub(super) fn count(&self) -> u16 {
        self.len
    }

    /// Appends, with little room to spare behind what is to come: most extents end where they are.
    pub(super) fn extend(&mut self, more: &[PrefixHash], to_come: usize) {
        let len = usize::from(self.len);
        let end = len + more.len();
        if self.prefixes.len() < end {
            let spare = if len == 0 { 0 } else { (len / 8).max(4) };
            self.resize(len + (more.len() + to_come).max(spare));
        }
        self.prefixes[len..end].copy_from_slice(more);
        self.len = end as u16;
    }

    /// Forgets all but the first, of which there is at least one.
    pub(super) fn truncate(&mut self, keep: u16) {
        let len = usize::from(keep);
        self.len = keep;
        if self.prefixes.len() > len * 3 / 2 + 16 {
            self.resize(len * 9 / 8);
        }
        if self.marked > keep {
            self.mark(keep);
        }
    }

    fn resize(&mut self, room: usize) {
        let mut prefixes = std::mem::take(&mut self.prefixes).into_vec();
        prefixes.reserve_exact(room.saturating_sub(prefixes.len()));
        prefixes.resize(room, PrefixHash(0));
        self.prefixes = prefixes.into();
    }

    /// A prompt ended behind so many blocks.
    pub(super) fn mark(&mut self, blocks: u16) {
        if let Some(last) = blocks.checked_sub(1) {
            (self.mark, self.marked) = (self[usize::from(last)], blocks);
        }
    }

    /// How many blocks from `from` on are those of `wanted`. Prefixes agree up to a point and never behind it, so not each block is
    /// compared. Others part at `attached`.
    pub(super) fn matched(
        &self,
        from: u16,
        wanted: &[PrefixHash],
        attached: impl Iterator<Item = u16>,
    ) -> u16 {
        let marked = self.marked.saturating_sub(from);
        let is_marked =
            marked > 0 && wanted.get(usize::from(marked) - 1).is_some_and(|prefix| *prefix == self.mark);
        let known = if is_marked { marked } else { 0 };
        let (from, wanted) = (from + known, &wanted[usize::from(known)..]);
        if wanted.is_empty() || from == self.len {
            return known;
        }
        // Behind a prompt its answer follows, with which other prompts seldom go on.
        if known > 0 && self[usize::from(from)] != wanted[0] {
            return known;
        }
        let attached = attached.filter_map(|at| at.checked_sub(from)).map(usize::from);
        known + agreement(&self[usize::from(from)..], wanted, attached) as u16
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.prefixes)
    }
}

/// How many leading prefixes are the same. Where others part is where they are likely to, and is looked at first.
fn agreement(here: &[PrefixHash], wanted: &[PrefixHash], others: impl Iterator<Item = usize>) -> usize {
    const PROBES: usize = 8;
    let both = here.len().min(wanted.len());
    if both == 0 || here[both - 1] == wanted[both - 1] {
        return both;
    }
    let same = |at: &usize| here[*at] == wanted[*at];
    let (mut least, mut most) = (0, both - 1);
    // Several places at once: they wait for memory together.
    for at in others.take(2 * PROBES).filter(|at| (1..both).contains(at)) {
        if same(&(at - 1)) {
            least = least.max(at);
        } else {
            most = most.min(at - 1);
        }
    }
    if !same(&least) {
        return least;
    }
    while most.saturating_sub(least) > PROBES {
        let step = (most - least) / PROBES;
        let agreeing = (1..PROBES).filter(|probe| same(&(least + probe * step - 1))).count();
        if agreeing < PROBES - 1 {
            most = least + (agreeing + 1) * step - 1;
        }
        least += agreeing * step;
    }
    least + (least..most).filter(same).count()
}

#[cfg(test)]
mod tests {
    use super::{Blocks, PrefixHash, agreement};

    #[test]
    fn agreement_is_found_wherever_it_ends() {
        for len in 0..200 {
            let here: Vec<_> = (0..len).map(PrefixHash).collect();
            for end in 0..=len {
                let wanted = (0..len + 3).map(|at| PrefixHash(if at < end { at } else { at + 1000 }));
                let wanted: Vec<_> = wanted.collect();
                let near = [end.saturating_sub(30), end, end + 30, len].map(|at| at as usize);
                for others in [&near[..0], &near[..1], &near[1..2], &near[2..], &near] {
                    let found = agreement(&here, &wanted, others.iter().copied());
                    assert_eq!(found as u64, end, "of {len}, others at {others:?}");
                }
            }
        }
    }

    /// However it came to be what it is, and whichever mark it has, what is matched is what is there.
    #[test]
    fn a_mark_changes_nothing_but_the_time_it_takes() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let (mut blocks, mut model) = (Blocks::new(0), Vec::new());
            for _ in 0..30 {
                match random.u8(..4) {
                    0 | 1 => {
                        let more: Vec<_> =
                            (0..random.usize(1..40)).map(|_| PrefixHash(random.u64(..))).collect();
                        blocks.extend(&more, random.usize(..40));
                        model.extend(more);
                    }
                    2 if !model.is_empty() => {
                        let keep = random.usize(1..=model.len());
                        blocks.truncate(keep as u16);
                        model.truncate(keep);
                    }
                    _ => blocks.mark(random.usize(..=model.len()) as u16),
                }
                assert_eq!(*blocks, *model);
                assert!(blocks.bytes() <= 8 * (model.len() * 3 / 2 + 80));
                let from = random.usize(..=model.len());
                let same = random.usize(..=model.len() - from);
                let mut wanted = model[from..from + same].to_vec();
                wanted.extend((0..random.usize(..4)).map(|_| PrefixHash(random.u64(..))));
                let attached = (0..random.u16(..3)).map(|_| random.u16(..=model.len() as u16));
                let attached: Vec<_> = attached.collect();
                let found = blocks.matched(from as u16, &wanted, attached.into_iter());
                assert_eq!(usize::from(found), same);
            }
        }
    }
}
