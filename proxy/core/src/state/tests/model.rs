//! The state against a model that keeps sets and computes everything anew each time.

mod bookings;

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::fleet::spec;
use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::{BlockHash, Chain, EngineHash, Namespace, PrefixHash};
use crate::ids::{BlockSize, Millis, TargetId};
use crate::policy::Column;
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::{Overlap, Snapshot};
use crate::state::{Booking, RoutingState, StateConfig};

const SIZES: [u32; 3] = [16, 16, 8];
const GRACE: u64 = 2000;

/// A prefix: its namespace and contents.
type Path = (u64, Vec<u64>);
type Name = (CacheGroup, Tier, u64);

fn prefix((space, blocks): &Path, size: BlockSize) -> PrefixHash {
    let root = PrefixHash::root(Namespace(*space), size);
    blocks.iter().fold(root, |prefix, content| prefix.then(BlockHash(*content)))
}

struct MBooking {
    guard: Option<Booking>,
    target: usize,
    path: Path,
    charged: Vec<bool>,
    pending: Vec<bool>,
    rest: u64,
    live: bool,
    prefilled: bool,
    due: Option<u64>,
}

impl MBooking {
    fn prefill(&self, size: u64) -> u64 {
        let charged = self.charged.iter().filter(|charged| **charged).count() as u64;
        if self.live && !self.prefilled { (charged * size + self.rest).max(1) } else { 0 }
    }

    fn holds(&self, path: &Path) -> Option<usize> {
        let at = path.1.len() - 1;
        (self.path.0 == path.0 && self.path.1.starts_with(&path.1)).then_some(at)
    }
}

struct World {
    state: Arc<RoutingState>,
    ids: Vec<TargetId>,
    names: Vec<BTreeMap<Name, (Path, u32)>>,
    bookings: Vec<MBooking>,
    confirmed: Vec<u64>,
    unconfirmed: Vec<u64>,
    now: u64,
}

impl World {
    fn new() -> Self {
        // However late events come: how the grace follows them is tested on its own.
        let config = StateConfig {
            pending_grace_ms_min: GRACE,
            pending_grace_ms_max: GRACE,
            ..StateConfig::default()
        };
        let state = Arc::new(RoutingState::new(config, BlockSize(16)));
        let ids =
            (0..).zip(SIZES).map(|(n, size)| state.add_target(spec(n, 0, BlockSize(size))).id).collect();
        Self {
            state,
            ids,
            names: vec![BTreeMap::new(); 3],
            bookings: Vec::new(),
            confirmed: vec![0; 3],
            unconfirmed: vec![0; 3],
            now: 0,
        }
    }

    fn fastest(&self, target: usize, path: &Path) -> Option<Tier> {
        self.names[target].iter().filter(|(_, (known, _))| known == path).map(|(name, _)| name.1).min()
    }

    fn on_device(&self, target: usize, path: &Path) -> bool {
        self.fastest(target, path) == Some(Tier::Device)
    }

    fn owner(&self, target: usize, path: &Path) -> Option<usize> {
        self.bookings.iter().position(|booking| {
            booking.target == target && booking.holds(path).is_some_and(|at| booking.pending[at])
        })
    }

    fn overlap(&self, target: usize, (space, blocks): &Path) -> Overlap {
        let mut overlap = Overlap::default();
        for end in 1..=blocks.len() {
            let path = (*space, blocks[..end].to_vec());
            match self.fastest(target, &path) {
                Some(_) if overlap.pending > 0 => overlap.pending += 1,
                Some(Tier::Device) if overlap.host + overlap.disk == 0 => overlap.device += 1,
                Some(Tier::Device | Tier::Host) => overlap.host += 1,
                Some(Tier::Disk) => overlap.disk += 1,
                None if self.owner(target, &path).is_some() => overlap.pending += 1,
                None => break,
            }
        }
        overlap
    }

    fn prompt(&self, path: &Path, tail: u32) -> Prompt {
        let contents = || path.1.iter().map(|content| BlockHash(*content));
        let space = Namespace(path.0);
        // Long enough for either size; the chain decides how many blocks there are.
        let tokens = path.1.len() as u32 * 16 + tail;
        let mut prompt = Prompt::new(space, tokens, BlockSize(16), contents());
        prompt.blocks.push((BlockSize(8), Chain::new(space, BlockSize(8), contents())));
        prompt
    }

    fn store(&mut self, target: usize, path: &Path, from: usize, tier: Tier, odd: bool) {
        let (space, blocks) = path;
        let group = CacheGroup(u32::from(odd));
        let engine = |end: usize| {
            let tree = blocks[..end].iter().fold(target as u64 + 1, |hash, content| hash * 5 + content + 1);
            // Now and then a few names for many contents.
            if odd { 1_000_000 + end as u64 } else { tree * 2 + space }
        };
        let from = from % blocks.len();
        let parent = match from {
            0 => Parent::Root(Namespace(*space)),
            end => Parent::Block(EngineHash(engine(end))),
        };
        let stored = (from..blocks.len())
            .map(|at| StoredBlock { engine: EngineHash(engine(at + 1)), content: BlockHash(blocks[at]) });
        let event = CacheEvent::Stored {
            parent,
            blocks: stored.collect(),
            block_size: BlockSize(SIZES[target]),
            tier,
            group,
        };
        let applied = self.state.apply(self.ids[target], &event, Millis(self.now));
        let mut above = match from {
            0 => Some((*space, Vec::new())),
            end => [tier, Tier::Device, Tier::Host, Tier::Disk]
                .into_iter()
                .find_map(|tier| self.names[target].get(&(group, tier, engine(end))))
                .map(|(path, _)| path.clone()),
        };
        assert_eq!(applied.unknown_parent, above.is_none());
        let Some(above) = &mut above else { return };
        let mut arrived = Vec::new();
        for (at, content) in blocks.iter().enumerate().skip(from) {
            above.1.push(*content);
            let was_there =
                self.names[target].iter().any(|(name, (known, _))| name.1 == tier && known == above);
            let slot =
                self.names[target].entry((group, tier, engine(at + 1))).or_insert_with(|| (above.clone(), 0));
            if slot.0 != *above {
                *slot = (above.clone(), 0);
            }
            slot.1 += 1;
            if tier == Tier::Device && !was_there {
                arrived.push(above.clone());
            }
        }
        for path in arrived {
            self.confirm(target, &path);
        }
    }

    fn confirm(&mut self, target: usize, path: &Path) {
        self.confirmed[target] += u64::from(self.owner(target, path).is_some());
        for booking in self.bookings.iter_mut().filter(|booking| booking.target == target) {
            let Some(at) = booking.holds(path).filter(|at| booking.pending[*at]) else { continue };
            booking.pending[at] = false;
            if booking.live && !booking.prefilled {
                booking.charged[at] = false;
            }
            booking.prefilled |= at + 1 == booking.path.1.len();
        }
    }

    fn remove(&mut self, target: usize, pick: usize) {
        let known: Vec<_> = self.names[target].keys().copied().collect();
        let unknown = (CacheGroup(0), Tier::Device, 77);
        let (group, tier, engine) = *known.get(pick % (known.len() + 1)).unwrap_or(&unknown);
        let blocks = vec![EngineHash(78), EngineHash(engine)];
        let applied = self.state.apply(
            self.ids[target],
            &CacheEvent::Removed { blocks, tier, group },
            Millis(self.now),
        );
        let entry = self.names[target].get_mut(&(group, tier, engine));
        assert_eq!(applied.unknown_removals, 1 + u32::from(entry.is_none()));
        if let Some((_, copies)) = entry {
            *copies -= 1;
            if *copies == 0 {
                self.names[target].remove(&(group, tier, engine));
            }
        }
    }

    fn clear(&mut self, target: usize, how: usize) {
        self.names[target].clear();
        let id = self.ids[target];
        let bookings = self.bookings.iter_mut().filter(|booking| booking.target == target);
        match how % 3 {
            0 => self.state.clear_cache(id),
            1 => {
                self.state.apply(id, &CacheEvent::Cleared, Millis(self.now));
                bookings.for_each(|booking| booking.pending.fill(false));
            }
            _ => {
                self.state.restart_target(id);
                for booking in bookings {
                    booking.pending.fill(false);
                    booking.live = false;
                    booking.due = None;
                }
                self.confirmed[target] = 0;
                self.unconfirmed[target] = 0;
            }
        }
    }

    fn check(&self, path: &Path) {
        let prompt = self.prompt(path, 3);
        let request = PlacementRequest { prompt: Some(&prompt), ..PlacementRequest::default() };
        let mut snapshot = Snapshot::new();
        self.state.snapshot(&request, &Column::ALL, &mut |_| true, Millis(self.now), &mut snapshot);
        for (target, size) in SIZES.into_iter().enumerate() {
            let id = self.ids[target];
            let size = u64::from(size);
            assert_eq!(snapshot.rows()[target].overlap, self.overlap(target, path), "target {target}");
            let mut dump: Vec<_> = self.state.dump(id, usize::MAX).into_iter().collect();
            dump.sort_unstable();
            let mut known: Vec<_> = self.names[target]
                .iter()
                .map(|((group, tier, engine), (path, copies))| crate::index::CachedBlock {
                    group: *group,
                    tier: *tier,
                    engine: EngineHash(*engine),
                    prefix: prefix(path, BlockSize(SIZES[target])),
                    depth: path.1.len() as u32,
                    copies: *copies,
                })
                .collect();
            known.sort_unstable();
            assert_eq!(dump, known);
            let mut blocks: Vec<_> = self.names[target].values().map(|(path, _)| path).collect();
            blocks.sort_unstable();
            blocks.dedup();
            assert_eq!(self.state.cached_blocks(id), blocks.len() as u32);

            let here = || self.bookings.iter().filter(move |booking| booking.target == target);
            let prefixes = |live: bool| {
                let mut paths: Vec<Path> = here()
                    .flat_map(|booking| (0..booking.path.1.len()).map(move |at| (booking, at)))
                    .filter(|(booking, at)| if live { booking.live } else { booking.pending[*at] })
                    .map(|(booking, at)| (booking.path.0, booking.path.1[..=at].to_vec()))
                    .collect();
                paths.sort_unstable();
                paths.dedup();
                paths.len()
            };
            let live = || here().filter(|booking| booking.live);
            let load = self.state.load(id).unwrap();
            assert_eq!(load.prefill_tokens, live().map(|booking| booking.prefill(size)).sum::<u64>());
            assert_eq!(load.running as usize, live().count());
            assert_eq!(load.pending_blocks as usize, prefixes(false));
            let tails: u64 = live().map(|booking| booking.rest.div_ceil(size)).sum();
            assert_eq!(load.active_blocks, prefixes(true) as u64 + tails);
            let report = self.state.pending_report(id).unwrap();
            assert_eq!(
                (report.confirmed, report.unconfirmed),
                (self.confirmed[target], self.unconfirmed[target])
            );
        }
    }

    fn step(&mut self, (kind, a, b, c): (u8, usize, usize, usize)) {
        let target = a % SIZES.len();
        let length = 1 + b % 5;
        let path: Path = ((a / 3 % 2) as u64, (0..length).map(|at| (c >> at) as u64 % 2).collect());
        let which = if self.bookings.is_empty() { 0 } else { b % self.bookings.len() };
        match kind {
            0..6 => {
                let tier = [Tier::Device, Tier::Device, Tier::Device, Tier::Host, Tier::Disk][c / 32 % 5];
                self.store(target, &path, if a % 2 == 0 { 0 } else { b / 5 }, tier, c / 64 % 8 == 0);
            }
            6..9 => self.remove(target, b),
            9..13 => self.book(target, &path, (c / 32 % 16) as u32),
            13..16 if !self.bookings.is_empty() => self.end(which, c),
            16 if !self.bookings.is_empty() => {
                let booking = &mut self.bookings[which];
                if let Some(guard) = &booking.guard {
                    guard.first_output(Millis(self.now));
                    booking.prefilled = true;
                }
            }
            17 => self.advance((c % 1500) as u64),
            18 if c % 4 == 0 => self.clear(target, b),
            _ => {}
        }
        self.check(&path);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec((0..19_u8, 0..6_usize, 0..1000_usize, 0..1024_usize), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        for which in 0..world.bookings.len() {
            world.end(which, 1);
        }
        world.advance(10_000);
        for target in 0..SIZES.len() {
            world.clear(target, 0);
        }
        world.check(&(0, vec![1]));
        prop_assert_eq!(world.state.index_stats().blocks, 0);
    }
}
