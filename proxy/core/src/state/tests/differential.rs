//! The index against a model of plain maps, over many targets and long prompts: what every target holds, on which tier, and
//! what is pending there, after each of many random events, and after it was kept and brought back. `RANKWISE_DIFFERENTIAL_QUERIES=1000000` for a long run.

mod rank;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fastrand::Rng;

use rank::{Block, Rank};

use super::fleet::{SIZE, SPACE, spec};
use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::{BlockHash, EngineHash, Namespace};
use crate::ids::Millis;
use crate::image::Image;
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::Snapshot;
use crate::state::{Choice, RoutingState, StateConfig};

/// No block is called so.
const UNKNOWN: EngineHash = EngineHash(u64::MAX);

struct World {
    seed: u64,
    random: Rng,
    state: Arc<RoutingState>,
    ranks: Vec<Rank>,
    /// Every block there ever was: parent, namespace, content, depth.
    blocks: Vec<(Option<Block>, Namespace, BlockHash, usize)>,
    children: HashMap<(Option<Block>, Namespace, BlockHash), Block>,
    queries: u64,
}

/// Where it is, to find it again.
impl std::fmt::Display for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, {} queries", self.seed, self.queries)
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let state = Arc::new(RoutingState::new(StateConfig::default(), SIZE));
        let mut world = Self {
            seed,
            random: Rng::with_seed(seed),
            state,
            ranks: Vec::new(),
            blocks: Vec::new(),
            children: HashMap::new(),
            queries: 0,
        };
        for _ in 0..[2, 12, 40][seed as usize % 3] {
            world.add_rank();
        }
        world
    }

    fn add_rank(&mut self) {
        let seed = self.random.u64(..);
        let number = self.blocks.len() as u32 * 100 + self.ranks.len() as u32;
        let id = self.state.add_target(spec(number, 0, SIZE)).id;
        self.ranks.push(Rank { id, seed, names: BTreeMap::new(), bookings: Vec::new() });
    }

    /// Blocks from the root to this one.
    fn path(&self, block: Block) -> Vec<Block> {
        let mut path: Vec<_> = std::iter::successors(Some(block), |block| self.blocks[*block].0).collect();
        path.reverse();
        path
    }

    fn child(&mut self, parent: Option<Block>, space: Namespace, content: BlockHash) -> Block {
        let depth = parent.map_or(0, |parent| self.blocks[parent].3) + 1;
        let blocks = &mut self.blocks;
        *self.children.entry((parent, space, content)).or_insert_with(|| {
            blocks.push((parent, space, content, depth));
            blocks.len() - 1
        })
    }

    fn some_tier(&mut self) -> (Tier, CacheGroup) {
        let tier =
            [Tier::Device, Tier::Device, Tier::Device, Tier::Host, Tier::Disk][self.random.usize(0..5)];
        (tier, CacheGroup(u32::from(self.random.u8(0..10) == 0)))
    }

    fn some_space(&mut self) -> Namespace {
        if self.random.u8(0..4) == 0 { Namespace(9) } else { SPACE }
    }

    /// New or known blocks behind one that the rank holds, behind one that it does not, or from the root on.
    fn store(&mut self, at: usize) -> CacheEvent {
        let (tier, group) = self.some_tier();
        let held: Vec<_> = self.ranks[at].names.iter().map(|(name, (block, _))| (*name, *block)).collect();
        let parent =
            (self.random.u8(0..3) > 0 && !held.is_empty()).then(|| held[self.random.usize(0..held.len())]);
        let unknown = self.random.u8(0..40) == 0;
        let space = match parent {
            Some((_, block)) => self.blocks[block].1,
            None => self.some_space(),
        };
        let count = if self.random.u8(0..50) == 0 { 600 } else { self.random.usize(0..12) };
        let mut above = parent.map(|(_, block)| block);
        let mut stored = Vec::new();
        let mut walked = Vec::new();
        for _ in 0..count {
            let content = BlockHash(self.random.u64(1..4));
            let block = self.child(above, space, content);
            let prefix = self.blocks[block].3 as u64;
            let engine = self.ranks[at].name(block, prefix, &mut self.random);
            stored.push(StoredBlock { engine, content });
            walked.push((engine, block));
            above = Some(block);
        }
        let parent = match parent {
            _ if unknown => Parent::Block(UNKNOWN),
            Some(((.., group_of, engine), block)) => {
                // Found on its own group only, on the tier asked for first.
                let rank = &self.ranks[at];
                let found = std::iter::once(tier)
                    .chain(Tier::ALL)
                    .find_map(|tier| rank.names.get(&(tier, group, engine)));
                if group_of != group || found.is_none_or(|(found, _)| *found != block) {
                    return CacheEvent::Removed { blocks: Vec::new(), tier, group };
                }
                Parent::Block(engine)
            }
            None => Parent::Root(space),
        };
        if !unknown {
            for (engine, block) in walked {
                let rank = &mut self.ranks[at];
                let entry = rank.names.entry((tier, group, engine)).or_insert((block, 0));
                if entry.0 != block {
                    *entry = (block, 0);
                }
                entry.1 += 1;
                if tier == Tier::Device {
                    rank.bookings.iter_mut().for_each(|(_, pending)| pending.retain(|known| *known != block));
                }
            }
        }
        CacheEvent::Stored { parent, blocks: stored, block_size: SIZE, tier, group }
    }

    /// Now and then a store comes as several that continue each other, as an answer does.
    fn in_parts(&mut self, event: CacheEvent) -> Vec<CacheEvent> {
        let CacheEvent::Stored { parent, blocks, block_size, tier, group } = event else {
            return vec![event];
        };
        // Behind an unknown parent a part may have one that is known by a name of its own.
        let whole = parent == Parent::Block(UNKNOWN) || self.random.u8(0..3) > 0;
        let len = if whole { blocks.len().max(1) } else { self.random.usize(1..5) };
        let parents = std::iter::once(parent)
            .chain(blocks.chunks(len).filter_map(|part| Some(Parent::Block(part.last()?.engine))));
        let parts = parents.zip(blocks.chunks(len));
        parts
            .map(|(parent, blocks)| CacheEvent::Stored {
                parent,
                blocks: blocks.to_vec(),
                block_size,
                tier,
                group,
            })
            .collect()
    }

    /// From the end of something backwards, from the middle, or what is not there.
    fn remove(&mut self, at: usize) -> CacheEvent {
        let known: Vec<_> = self.ranks[at].names.iter().map(|(name, (block, _))| (*name, *block)).collect();
        let (tier, group) = match known.get(self.random.usize(0..known.len().max(1))) {
            Some(((tier, group, _), _)) => (*tier, *group),
            None => self.some_tier(),
        };
        let mut names: Vec<_> = known
            .iter()
            .filter(|((on, of, _), _)| (*on, *of) == (tier, group))
            .map(|(name, block)| (name.2, *block))
            .collect();
        if self.random.bool() {
            names.sort_by_key(|(_, block)| std::cmp::Reverse(self.blocks[*block].3));
        } else {
            self.random.shuffle(&mut names);
        }
        names.truncate(self.random.usize(0..20));
        let mut blocks: Vec<_> = names.into_iter().map(|(engine, _)| engine).collect();
        if self.random.u8(0..5) == 0 {
            blocks.insert(0, EngineHash(u64::MAX - 1));
        }
        for engine in &blocks {
            let key = (tier, group, *engine);
            if let Some((_, copies)) = self.ranks[at].names.get_mut(&key) {
                *copies -= 1;
                if *copies == 0 {
                    self.ranks[at].names.remove(&key);
                }
            }
        }
        CacheEvent::Removed { blocks, tier, group }
    }

    fn prompt(&self, space: Namespace, contents: &[BlockHash]) -> Prompt {
        Prompt::new(space, contents.len() as u32 * SIZE.0, SIZE, contents.iter().copied())
    }

    /// A prompt that begins like something that is known, and how far it is.
    fn some_prompt(&mut self) -> (Prompt, Namespace, Vec<BlockHash>) {
        let mut space = self.some_space();
        let mut contents = Vec::new();
        if !self.blocks.is_empty() {
            let block = self.random.usize(0..self.blocks.len());
            space = self.blocks[block].1;
            contents = self.path(block).into_iter().map(|block| self.blocks[block].2).collect();
            contents.truncate(self.random.usize(0..=contents.len().max(1)));
        }
        for _ in 0..self.random.usize(0..4) {
            contents.push(BlockHash(self.random.u64(1..4)));
        }
        (self.prompt(space, &contents), space, contents)
    }

    fn book(&mut self, at: usize) {
        let (prompt, space, contents) = self.some_prompt();
        let request = PlacementRequest { prompt: Some(&prompt), ..PlacementRequest::default() };
        let mut snapshot = Snapshot::new();
        self.state.snapshot(&request, &[], &mut |_| true, Millis(0), &mut snapshot);
        let Some(row) = snapshot.row_of(self.ranks[at].id) else { return };
        let booking = self.state.book(&snapshot, Choice::Row(row), &request, false, Millis(0)).unwrap();
        let tiers = self.ranks[at].tiers();
        let (mut above, mut pending) = (None, Vec::new());
        for content in contents {
            let block = self.child(above, space, content);
            if tiers.get(&block) != Some(&Tier::Device) {
                pending.push(block);
            }
            above = Some(block);
        }
        self.ranks[at].bookings.push((booking, pending));
    }

    /// What a rank holds is kept, as bytes, and brought back after it was forgotten, bookings and all.
    fn reincarnate(&mut self, at: usize) {
        let rank = &mut self.ranks[at];
        let image = self.state.image(rank.id).unwrap();
        assert_eq!(image.names(), rank.names.len());
        let mut bytes = Vec::new();
        image.encode(&mut bytes);
        self.state.restart_target(rank.id);
        rank.bookings.clear();
        assert_eq!(self.state.cached_blocks(rank.id), 0);
        assert!(self.state.restore(rank.id, &Image::decode(&bytes).unwrap(), Millis(0)));
        assert_eq!(self.state.image(rank.id).unwrap().names(), rank.names.len());
    }

    fn step(&mut self) {
        let at = self.random.usize(0..self.ranks.len());
        match self.random.u8(0..100) {
            0..60 => {
                let count = self.random.usize(1..4);
                let mut events = Vec::new();
                for _ in 0..count {
                    let event = if self.random.bool() { self.store(at) } else { self.remove(at) };
                    events.extend(self.in_parts(event));
                }
                self.state.apply_batch(self.ranks[at].id, &events, Millis(0));
            }
            60..75 => self.book(at),
            75..92 => {
                let bookings = &mut self.ranks[at].bookings;
                if !bookings.is_empty() {
                    let (booking, _) = bookings.swap_remove(self.random.usize(0..bookings.len()));
                    booking.fail_before_send(Millis(0));
                }
            }
            92 => {
                self.ranks[at].names.clear();
                self.state.clear_cache(self.ranks[at].id);
            }
            93 => {
                let rank = &mut self.ranks[at];
                rank.names.clear();
                rank.bookings.iter_mut().for_each(|(_, pending)| pending.clear());
                self.state.apply(rank.id, &CacheEvent::Cleared, Millis(0));
            }
            94 => {
                let rank = &mut self.ranks[at];
                rank.names.clear();
                self.state.restart_target(rank.id);
                rank.bookings.clear();
            }
            95 if self.ranks.len() > 1 => {
                let rank = self.ranks.remove(at);
                self.state.remove_target(rank.id);
            }
            96 if self.ranks.len() < 50 => self.add_rank(),
            97 => self.reincarnate(at),
            _ => {}
        }
    }

    fn check(&mut self) {
        let (prompt, space, contents) = self.some_prompt();
        let request = PlacementRequest { prompt: Some(&prompt), ..PlacementRequest::default() };
        let mut snapshot = Snapshot::new();
        self.state.snapshot(&request, &[], &mut |_| true, Millis(0), &mut snapshot);
        let path: Vec<_> = contents
            .iter()
            .scan(Some(None), |above: &mut Option<Option<Block>>, content| {
                let block = above.and_then(|above| self.children.get(&(above, space, *content)).copied());
                *above = block.map(Some);
                Some(block)
            })
            .collect();
        for rank in &self.ranks {
            let row = snapshot.row_of(rank.id).unwrap() as usize;
            assert_eq!(snapshot.rows()[row].overlap, rank.overlap(&path), "{self}");
            assert_eq!(self.state.cached_blocks(rank.id) as usize, rank.tiers().len(), "{self}");
            self.queries += 1;
        }
        assert!(self.state.inner.read().index.bytes_are_right());
    }

    /// Everything goes, and nothing is left of it.
    fn end(mut self) {
        for rank in &mut self.ranks {
            // One whose last block came before another would wait for that, cancelled or not.
            for (booking, _) in rank.bookings.drain(..) {
                booking.fail_before_send(Millis(0));
            }
            let names: Vec<_> = rank.names.iter().map(|(name, (_, copies))| (*name, *copies)).collect();
            for ((tier, group, engine), copies) in names {
                let blocks = vec![engine; copies as usize];
                let applied =
                    self.state.apply(rank.id, &CacheEvent::Removed { blocks, tier, group }, Millis(0));
                assert_eq!((applied.removed, applied.unknown_removals), (copies, 0));
            }
        }
        let stats = self.state.index_stats();
        assert_eq!((stats.blocks, stats.entries, stats.names), (0, 0, 0), "seed {}", self.seed);
    }
}

#[test]
fn agrees_with_maps() {
    let wanted = std::env::var("RANKWISE_DIFFERENTIAL_QUERIES").ok().and_then(|count| count.parse().ok());
    let wanted = wanted.unwrap_or(10_000_u64);
    let (mut queries, mut seed) = (0, 0);
    while queries < wanted {
        let mut world = World::new(seed);
        for step in 0..400 {
            world.step();
            if step % 4 == 0 {
                world.check();
            }
        }
        queries += world.queries;
        seed += 1;
        world.end();
    }
    println!("{queries} queries, {seed} worlds: no difference");
}
