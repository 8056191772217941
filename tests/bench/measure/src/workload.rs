//! What engines tell and what clients ask while the trace is served: KV events of per-rank LRU caches, and prompts.
//!
//! Each id of the trace becomes blocks of the wanted size; answers become blocks that are stored one by one. Four in five
//! requests whose prefix is worth it go to a rank that has it, the others anywhere. A rank that is full evicts what was
//! used least recently, leaves first. The trace is repeated with fresh ids behind the first one, the system prompt, until
//! the caches are full; from then on every store is paid for by a removal. Deterministic.

mod rank_cache;

use rustc_hash::FxHashMap;

use crate::trace::{ID_TOKENS, TraceRequest};
use rank_cache::RankCache;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// (block, rank) pairs to fill the caches with.
    pub entries: u64,
    /// Ranks; each holds its share of the entries.
    pub ranks: u32,
    /// Tokens per block, a divisor of [`ID_TOKENS`].
    pub block_size: u32,
    /// Blocks that one removal event names at most.
    pub removals_per_event: usize,
    /// Decides where requests go.
    pub seed: u64,
}

/// One block, by two names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
    /// Hash of its own tokens.
    pub content: u64,
    /// The engine's hash, of its prefix as well.
    pub engine: u64,
}

/// One KV event of a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Consecutive blocks are stored behind `parent`, or from the prompt's beginning.
    Stored {
        /// Whose.
        rank: u32,
        /// The engine's hash of the block before the first.
        parent: Option<u64>,
        /// In the order of the prompt.
        blocks: Vec<Block>,
    },
    /// These blocks are gone.
    Removed {
        /// Whose.
        rank: u32,
        /// By the engine's hash, leaves first.
        engines: Vec<u64>,
    },
}

impl Event {
    /// Whose it is.
    pub fn rank(&self) -> u32 {
        match self {
            Self::Stored { rank, .. } | Self::Removed { rank, .. } => *rank,
        }
    }

    /// Blocks it names.
    pub fn len(&self) -> usize {
        match self {
            Self::Stored { blocks, .. } => blocks.len(),
            Self::Removed { engines, .. } => engines.len(),
        }
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The prompt's whole blocks, by content.
    pub prompt: Vec<u64>,
    /// What serving it did to its rank's cache.
    pub events: Vec<Event>,
}

impl Step {
    /// Blocks that its events name.
    pub fn blocks(&self) -> u64 {
        self.events.iter().map(|event| event.len() as u64).sum()
    }
}

/// Tokens that one storing event tells of, as an engine's prefill step.
const STORED_TOKENS: u32 = 2048;

/// Steps with which filling gives up: caches too small for most prompts never fill.
const FILLING_STEPS_MAX: u64 = 100_000;

/// A run of blocks that comes and goes as a whole: what one id of the trace stands for, or one answer.
pub(crate) type Segment = u64;

const ANSWER: Segment = 1 << 63;

/// Generates steps without end.
#[derive(Debug)]
pub struct Workload<'a> {
    trace: &'a [TraceRequest],
    spec: Spec,
    capacity: u64,
    caches: Vec<RankCache>,
    holders: FxHashMap<Segment, Vec<u32>>,
    random: fastrand::Rng,
    steps: u64,
    is_full: bool,
}

impl<'a> Workload<'a> {
    /// Starts with empty caches.
    pub fn new(trace: &'a [TraceRequest], spec: Spec) -> Self {
        Self {
            trace,
            spec,
            capacity: (spec.entries / u64::from(spec.ranks)).max(1),
            caches: (0..spec.ranks).map(|_| RankCache::default()).collect(),
            holders: FxHashMap::default(),
            random: fastrand::Rng::with_seed(spec.seed),
            steps: 0,
            is_full: false,
        }
    }

    /// (block, rank) pairs in the caches.
    pub fn resident(&self) -> u64 {
        self.caches.iter().map(RankCache::blocks).sum()
    }

    /// Whether the caches are as full as they get.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Serves the next request.
    pub fn step(&mut self) -> Step {
        let length = self.trace.len() as u64;
        let request = &self.trace[(self.steps % length) as usize];
        let round = self.steps / length;
        self.steps += 1;
        let mut segments = self.prompt_segments(request, round);
        let prompt = segments.iter().flat_map(|&(segment, count)| contents(segment, count)).collect();
        let prompt_segments = segments.len();
        let answer = request.output_tokens / self.spec.block_size;
        if answer > 0 && prompt_segments > 0 {
            segments.push((ANSWER | self.steps, answer));
        }
        let rank = self.route(&segments[..prompt_segments]);
        let events = self.serve(rank, &segments, prompt_segments);
        // Looked at now and then: it is a sum over all ranks.
        if !self.is_full && self.steps.is_multiple_of(64) {
            self.is_full = self.resident() * 100 >= self.spec.entries * 97 || self.steps >= FILLING_STEPS_MAX;
        }
        Step { prompt, events }
    }

    /// The segments of a prompt with the blocks that it has of each.
    fn prompt_segments(&self, request: &TraceRequest, round: u64) -> Vec<(Segment, u32)> {
        let last = request.ids.len() as u32 - 1;
        let blocks = |position: u32| {
            let tokens = if position < last { ID_TOKENS } else { request.input_tokens - ID_TOKENS * last };
            tokens.min(ID_TOKENS) / self.spec.block_size
        };
        let segment = |id: u32| if id == 0 { 0 } else { u64::from(id) | round << 32 };
        let all = (0..).zip(&request.ids).map(|(position, &id)| (segment(id), blocks(position)));
        all.filter(|&(_, count)| count > 0).collect()
    }

    /// A rank that has the deepest part of the prompt, if that is a third of it; now and then any other.
    fn route(&mut self, prompt: &[(Segment, u32)]) -> u32 {
        let deepest = (1..=prompt.len()).rev().find_map(|depth| {
            let holders = self.holders.get(&prompt[depth - 1].0)?;
            Some((holders[self.random.usize(..holders.len())], depth))
        });
        match deepest {
            Some((rank, depth)) if depth * 3 > prompt.len() && self.random.u32(..10) < 8 => rank,
            _ => self.random.u32(..self.spec.ranks),
        }
    }

    /// Puts the segments into the rank's cache; the events of that. None if they do not fit.
    fn serve(&mut self, rank: u32, segments: &[(Segment, u32)], prompt_segments: usize) -> Vec<Event> {
        let total: u64 = segments.iter().map(|&(_, count)| u64::from(count)).sum();
        if total > self.capacity {
            return Vec::new();
        }
        let cache = &mut self.caches[rank as usize];
        // Used now, so not evicted for themselves; a segment is older than what it continues.
        segments.iter().rev().for_each(|&(segment, _)| cache.touch(segment));
        let missing: u64 =
            segments.iter().map(|&(segment, count)| u64::from(cache.missing(segment, count))).sum();
        let mut gone = Vec::new();
        while cache.blocks() + missing > self.capacity
            && let Some((segment, count)) = cache.evict()
        {
            gone.extend((0..count).rev().map(|number| engine(segment, number)));
            if let Some(holders) = self.holders.get_mut(&segment) {
                holders.retain(|&holder| holder != rank);
                if holders.is_empty() {
                    self.holders.remove(&segment);
                }
            }
        }
        let removed = gone.chunks(self.spec.removals_per_event.max(1));
        let mut events: Vec<Event> =
            removed.map(|engines| Event::Removed { rank, engines: engines.to_vec() }).collect();
        self.store(rank, segments, prompt_segments, &mut events);
        let cache = &mut self.caches[rank as usize];
        for &(segment, count) in segments.iter().rev() {
            if cache.store(segment, count) {
                self.holders.entry(segment).or_default().push(rank);
            }
        }
        events
    }

    /// Events for the blocks that the rank does not have: a prompt's in long runs, an answer's one by one.
    fn store(&self, rank: u32, segments: &[(Segment, u32)], prompt_segments: usize, events: &mut Vec<Event>) {
        let cache = &self.caches[rank as usize];
        let run_max = (STORED_TOKENS / self.spec.block_size).max(1) as usize;
        let mut previous = None;
        let (mut parent, mut run) = (None, Vec::new());
        let mut flush = |parent: Option<u64>, run: &mut Vec<Block>| {
            if !run.is_empty() {
                events.push(Event::Stored { rank, parent, blocks: std::mem::take(run) });
            }
        };
        for (position, &(segment, count)) in segments.iter().enumerate() {
            let is_answer = position >= prompt_segments;
            let held = count - cache.missing(segment, count);
            for (number, content) in (0..).zip(contents(segment, count)) {
                let block = Block { content, engine: engine(segment, number) };
                if number < held {
                    flush(parent, &mut run);
                } else {
                    if run.is_empty() {
                        parent = previous;
                    }
                    run.push(block);
                    if is_answer || run.len() >= run_max {
                        flush(parent, &mut run);
                    }
                }
                previous = Some(block.engine);
            }
            if position + 1 == prompt_segments {
                flush(parent, &mut run);
            }
        }
        flush(parent, &mut run);
    }
}

/// Hashes of the tokens of a segment's first `count` blocks.
fn contents(segment: Segment, count: u32) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| {
        mix(segment.wrapping_mul(64).wrapping_add(number.into()) ^ 0x51_7c_c1_b7_27_22_0a_95)
    })
}

/// The engines' hash of a segment's block: as a segment stands behind one prefix only, its place is enough.
fn engine(segment: Segment, number: u32) -> u64 {
    mix(mix(segment).wrapping_add(number.into()))
}

/// A bijection that leaves no pattern.
fn mix(mut x: u64) -> u64 {
    for _ in 0..2 {
        x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests;
