//! What one target holds, drawn piece by piece, and brought back.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::addresses::Address;
use super::cache::address;
use super::pieces::Kind;
use super::place::Spot;
use super::{Applied, ExtentId, Index, Slot, Span};
use crate::event::StoredBlock;
use crate::hash::{BlockHash, EngineHash};
use crate::ids::BlockSize;
use crate::image::{Copies, Image, Path, Run};

/// Extents that are looked at in one piece.
const EXTENTS_AT_ONCE: usize = 64;

/// An image under way. Each piece reads the index for a short time; what is held must not change in between, which its
/// [`version`](Index::version) tells.
#[derive(Debug)]
pub(crate) struct Drawing {
    slot: Slot,
    stage: Stage,
    names: Vec<Name>,
    /// Names that stand in a run already.
    done: usize,
    runs: Vec<(ExtentId, Run)>,
    /// Extents that are needed: blocks before them, and how many of their own.
    needed: FxHashMap<ExtentId, (u32, u16)>,
    /// The same, parents first.
    order: Vec<(u32, ExtentId, u16)>,
    positions: FxHashMap<ExtentId, u32>,
    paths: Vec<Path>,
    copies: Vec<Copies>,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Names are read: of this lane, this segment next.
    Names {
        lane: usize,
        segment: usize,
    },
    Runs,
    Paths,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    kind: Kind,
    address: Address,
    name: EngineHash,
}

impl Drawing {
    pub(crate) fn new(slot: Slot) -> Self {
        Self {
            slot,
            stage: Stage::Names { lane: 0, segment: 0 },
            names: Vec::new(),
            done: 0,
            runs: Vec::new(),
            needed: FxHashMap::default(),
            order: Vec::new(),
            positions: FxHashMap::default(),
            paths: Vec::new(),
            copies: Vec::new(),
        }
    }

    /// Draws a piece more.
    pub(crate) fn go_on(&mut self, index: &Index) {
        match self.stage {
            Stage::Names { lane, segment } => self.read_names(index, lane, segment),
            Stage::Runs => self.find_runs(index),
            Stage::Paths => self.copy_paths(index),
            Stage::Done => {}
        }
    }

    /// What can be done without the index, between two pieces; whether there is another.
    pub(crate) fn sort(&mut self) -> bool {
        match self.stage {
            Stage::Runs if self.done == 0 => self.names.sort_unstable(),
            Stage::Paths if self.order.is_empty() => {
                let needed = self.needed.drain();
                self.order = needed.map(|(id, (depth, blocks))| (depth, id, blocks)).collect();
                self.order.sort_unstable();
                self.positions = (0..).zip(&self.order).map(|(at, (_, id, _))| (*id, at)).collect();
            }
            _ => {}
        }
        !matches!(self.stage, Stage::Done)
    }

    fn read_names(&mut self, index: &Index, lane: usize, segment: usize) {
        let Some(known) = index.cache(self.slot).and_then(|cache| cache.lanes.get(lane)) else {
            self.stage = Stage::Runs;
            return;
        };
        let Some(names) = known.names.segment(segment) else {
            self.stage = Stage::Names { lane: lane + 1, segment: 0 };
            return;
        };
        let (tier, group) = (known.tier, known.group);
        for (name, word) in names {
            self.names.push(Name { kind: (tier, group), address: address(word), name });
            let more = known.copies(name) - 1;
            if more > 0 {
                self.copies.push(Copies { tier, group, name, more });
            }
        }
        self.stage = Stage::Names { lane, segment: segment + 1 };
    }

    fn find_runs(&mut self, index: &Index) {
        for _ in 0..EXTENTS_AT_ONCE {
            let Some(first) = self.names.get(self.done).copied() else {
                self.stage = Stage::Paths;
                return;
            };
            let Some((extent, start)) = index.resolve(first.address) else {
                // Evicted, and swept out before long.
                self.done += 1;
                continue;
            };
            let left = index.extents[extent].len() - start;
            let follows = (first.address..first.address + u32::from(left)).zip(&self.names[self.done..]);
            let names: Vec<_> = follows
                .take_while(|(address, name)| name.address == *address && name.kind == first.kind)
                .map(|(_, name)| name.name)
                .collect();
            self.done += names.len();
            self.need(index, extent, start + names.len() as u16);
            let (tier, group) = first.kind;
            self.runs.push((extent, Run { path: 0, start, tier, group, names }));
        }
    }

    /// An extent's first blocks are needed, and so is what they continue.
    fn need(&mut self, index: &Index, extent: ExtentId, blocks: u16) {
        let (mut next, mut blocks) = (Some(extent), blocks);
        while let Some(id) = next {
            let extent = &index.extents[id];
            let (_, known) = self.needed.entry(id).or_insert((extent.blocks.depth, 0));
            let was_known = *known > 0;
            *known = blocks.max(*known);
            if was_known {
                return;
            }
            (next, blocks) = (extent.parent, extent.attach);
        }
    }

    fn copy_paths(&mut self, index: &Index) {
        let from = self.paths.len();
        for (_, id, blocks) in self.order.iter().skip(from).take(EXTENTS_AT_ONCE) {
            let extent = &index.extents[*id];
            let parent = extent.parent.and_then(|parent| self.positions.get(&parent));
            self.paths.push(Path {
                parent: parent.map(|parent| (*parent, extent.attach)),
                chain: extent.blocks[..usize::from(*blocks)].to_vec(),
            });
        }
        if self.paths.len() == self.order.len() {
            self.stage = Stage::Done;
        }
    }

    /// The image, once there is no further piece.
    pub(crate) fn finish(self, block_size: BlockSize) -> Image {
        let Self { runs, positions, paths, copies, .. } = self;
        let runs =
            runs.into_iter().map(|(id, run)| Run { path: positions.get(&id).copied().unwrap_or(0), ..run });
        Image { block_size, paths, runs: runs.collect(), copies }
    }
}

/// Where the blocks of a path lie.
pub(crate) type Spans = SmallVec<[Span; 2]>;

/// Where what follows so many blocks of a path begins.
fn behind(spans: &[Span], mut blocks: u16) -> Option<Spot> {
    for span in spans {
        let len = span.end - span.start;
        if blocks <= len {
            return Some(Spot::After(span.extent, span.start + blocks));
        }
        blocks -= len;
    }
    None
}

impl Index {
    /// A number that changes with what the target holds. `None` if there is no such target, or not all that it holds is known.
    pub(crate) fn version(&self, slot: Slot) -> Option<u64> {
        self.cache(slot).filter(|cache| !cache.truncated).map(|cache| cache.version)
    }

    /// Finds or makes the blocks of a path; `before` are those of all earlier ones. Nobody else may write before somebody holds
    /// them, or they are [`release`](Self::release)d.
    pub(crate) fn place_path(&mut self, path: &Path, before: &[Spans]) -> Option<Spans> {
        let mut spot = match path.parent {
            None => Spot::Root,
            Some((parent, attach)) => behind(before.get(parent as usize)?, attach)?,
        };
        let (mut spans, mut rest) = (Spans::new(), &path.chain[..]);
        while !rest.is_empty() {
            let Some(span) = self.place(spot, rest, 0) else {
                spans.iter().rev().for_each(|span| self.release(span.extent));
                return None;
            };
            spans.push(span);
            spot = Spot::After(span.extent, span.end);
            rest = &rest[usize::from(span.end - span.start)..];
        }
        Some(spans)
    }

    /// The target holds these blocks of a path, from the `start`th on.
    pub(crate) fn hold(
        &mut self,
        slot: Slot,
        kind: Kind,
        spans: &[Span],
        start: u16,
        names: &[EngineHash],
        arrived: &mut Vec<Span>,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let mut applied = Applied::default();
        let (mut skip, mut rest) = (start, names);
        for span in spans {
            let len = span.end - span.start;
            if skip >= len {
                skip -= len;
                continue;
            }
            let count = usize::from(len - skip).min(rest.len());
            let (here, behind) = rest.split_at(count);
            let blocks: Vec<_> =
                here.iter().map(|name| StoredBlock { engine: *name, content: BlockHash(0) }).collect();
            let first = span.start + skip;
            let part = Span { start: first, end: first + count as u16, ..*span };
            self.hold_span(slot, part, &blocks, kind, &mut scratch, &mut applied, arrived);
            (skip, rest) = (0, behind);
        }
        self.take_from_left(slot, kind, &mut scratch);
        self.scratch = scratch;
    }

    /// A name of the target has further copies.
    pub(crate) fn copy(&mut self, slot: Slot, copies: &Copies) {
        let Copies { tier, group, name, more } = *copies;
        if let Some(lane) = self.cache_mut(slot).and_then(|cache| cache.lane_mut(group, tier)) {
            lane.add_copies(name, more);
        }
    }

    /// Not all that the target holds could be brought back.
    pub(crate) fn truncate(&mut self, slot: Slot) {
        if let Some(cache) = self.cache_mut(slot) {
            cache.truncated = true;
        }
    }
}
