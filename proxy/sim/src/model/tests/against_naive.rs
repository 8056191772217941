use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{prompt, run};
use crate::model::chain::ChainHash;
use crate::model::core::{CoreSpec, EngineCore};
use crate::model::group::Group;
use crate::model::host::HostSpec;
use crate::model::pool::{CacheChange, CachedBlock, Tier};
use crate::model::sequence::SequenceId;
use crate::model::time::{Micros, Timing};

const BLOCKS: u32 = 12;
const SIZE: u32 = 2;

/// One sequence at a time through a list of blocks in order of last use: slow and obvious.
#[derive(Default)]
struct NaiveCache {
    /// Prefixes held, the one to go first in front; `None` holds nothing.
    slots: Vec<Option<Vec<u32>>>,
}

impl NaiveCache {
    fn new() -> Self {
        Self { slots: vec![None; BLOCKS as usize] }
    }

    /// Tokens found; afterwards all whole blocks of `tokens` are held.
    fn serve(&mut self, tokens: &[u32], computed: usize, prompt: usize) -> usize {
        let size = SIZE as usize;
        let mut used = Vec::new();
        for end in (size..prompt).step_by(size) {
            let Some(at) = self.slots.iter().position(|slot| slot.as_deref() == Some(&tokens[..end])) else {
                break;
            };
            used.push(self.slots.remove(at));
        }
        let hits = used.len();
        for block in hits..computed.div_ceil(size) {
            self.slots.remove(0);
            let end = (block + 1) * size;
            used.push((end <= computed).then(|| tokens[..end].to_vec()));
        }
        let (held, empty): (Vec<_>, Vec<_>) = used.into_iter().rev().partition(Option::is_some);
        self.slots.splice(0..0, empty);
        self.slots.extend(held);
        hits * size
    }
}

pub(super) fn sequences() -> impl Strategy<Value = Vec<(Vec<u32>, u32)>> {
    // Few different tokens: prefixes meet often.
    prop::collection::vec((prop::collection::vec(0..3_u32, 1..14), 1..6_u32), 1..40)
}

fn core() -> CoreSpec {
    CoreSpec { blocks: BLOCKS, block_size: SIZE, max_running: 4, max_batched_tokens: 5, ..super::CORE }
}

/// A host of some size, or none.
fn host() -> impl Strategy<Value = HostSpec> {
    (0..16_u32, any::<bool>()).prop_map(|(blocks, moves)| HostSpec { blocks, moves })
}

/// Blocks of each tier, with copies.
type Held = BTreeMap<(Tier, ChainHash), u32>;

/// What a reader of changes believes to be cached.
fn apply(believed: &mut Held, change: &CacheChange) {
    match change {
        CacheChange::Stored { tier, blocks, .. } => {
            for &block in blocks {
                *believed.entry((*tier, block)).or_default() += 1;
            }
        }
        CacheChange::Removed { tier, block } => {
            let copies = believed.get_mut(&(*tier, *block)).expect("removed only what was stored");
            *copies -= 1;
            if *copies == 0 {
                believed.remove(&(*tier, *block));
            }
        }
        CacheChange::Cleared => believed.clear(),
    }
}

fn held(core: &EngineCore) -> Held {
    let copies = |block: CachedBlock| {
        let of = move |tier| if tier == Tier::Device { block.copies } else { 1 };
        block.tiers().map(|tier| ((tier, block.hash), of(tier))).collect::<Vec<_>>()
    };
    core.cache().into_iter().flat_map(copies).collect()
}

proptest! {
    #[test]
    fn one_at_a_time_hits_are_those_of_a_list(sequences in sequences()) {
        let mut group = Group::new(1, core(), Timing::default(), false);
        let mut naive = NaiveCache::new();
        for (id, (tokens, answer)) in sequences.into_iter().enumerate() {
            let asked = prompt(tokens.clone(), answer);
            let all: Vec<u32> = tokens.iter().chain(asked.answer.iter()).copied().collect();
            // The last token said is never computed.
            let expected = naive.serve(&all, all.len() - 1, tokens.len());
            group.submit(0, SequenceId(id as u64), asked, Micros(0)).unwrap();
            let outcomes = run(&mut group);
            let progress = outcomes.last().unwrap().progress[0].1;
            prop_assert_eq!(progress.cached_tokens as usize, expected);
            prop_assert!(progress.finished);
        }
    }

    #[test]
    fn changes_tell_the_cache_and_blocks_are_never_more_than_there_are(
        sequences in sequences(), aborts in prop::collection::vec(0..40_u64, 0..6), host in host(),
    ) {
        let mut group = Group::new(2, CoreSpec { host, ..core() }, Timing::default(), false);
        let mut believed = [Held::new(), Held::new()];
        let total = sequences.len() as u64;
        for (id, (tokens, answer)) in sequences.into_iter().enumerate() {
            group.submit(id % 2, SequenceId(id as u64), prompt(tokens, answer), Micros(0)).unwrap();
        }
        let mut step = 0;
        while let Some(outcome) = group.advance(Micros(u64::MAX)) {
            for (rank, changes) in &outcome.changes {
                changes.iter().for_each(|change| apply(&mut believed[*rank], change));
            }
            if let Some(&id) = aborts.get(step) {
                group.abort(id as usize % 2, SequenceId(id));
            }
            for rank in 0..2 {
                let pool = group.rank(rank).unwrap().pool();
                prop_assert!(pool.cached() as u32 <= BLOCKS && pool.free() <= BLOCKS);
            }
            step += 1;
            prop_assert!(step < 10_000, "never ends");
        }
        let mut ended = 0;
        for (rank, believed) in believed.iter().enumerate() {
            let core = group.rank(rank).unwrap();
            prop_assert_eq!(&held(core), believed);
            let offloaded: Vec<_> = core.cache().into_iter().filter(|block| block.in_host).collect();
            prop_assert!(offloaded.len() <= host.blocks as usize);
            prop_assert!(!host.moves || offloaded.iter().all(|block| block.copies == 0));
            prop_assert_eq!(core.pool().free(), BLOCKS);
            let stats = core.stats();
            ended += stats.finished + stats.aborted;
        }
        prop_assert_eq!(ended, total);
    }
}
