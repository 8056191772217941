//! rankwise's index, as the proxy drives it.

use std::time::Duration;

use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::hash::{BlockHash, EngineHash, Namespace};
use rankwise_core::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use rankwise_core::request::Prompt;
use rankwise_core::snapshot::Overlaps;
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_core::target::{Availability, Phases, TargetSpec};

use crate::contender::Contender;
use crate::cpu::thread_cpu;
use crate::workload::{Event, Spec, Step};

/// Ranks of one worker, which step together.
const RANKS_PER_WORKER: u32 = 8;

/// Every prompt's.
const NAMESPACE: Namespace = Namespace(1);

/// A state with as many targets as the workload has ranks, all of them ready, by rank.
pub fn fleet_of(spec: &Spec) -> (RoutingState, Vec<TargetId>) {
    let config = StateConfig { index_blocks_max: usize::MAX >> 8, ..StateConfig::default() };
    let state = RoutingState::new(config, BlockSize(spec.block_size));
    let targets = (0..spec.ranks).map(|rank| {
        let worker = rank / RANKS_PER_WORKER;
        let target = state.add_target(TargetSpec {
            worker: WorkerId(worker),
            rank: DpRank(rank % RANKS_PER_WORKER),
            group: GroupId(worker),
            key: rank,
            block_size: BlockSize(spec.block_size),
            capacity_blocks: u32::try_from(spec.entries / u64::from(spec.ranks)).unwrap_or(u32::MAX),
            pinnable: true,
            phases: Phases::WHOLE,
        });
        target.health.set_availability(Availability::Ready);
        target.feed.set_trusted(true);
        target.id
    });
    let targets = targets.collect();
    (state, targets)
}

/// The event as a feed hands it over.
pub fn cache_event(event: &Event, block_size: BlockSize) -> CacheEvent {
    let (tier, group) = (Tier::Device, CacheGroup(0));
    match event {
        Event::Stored { parent, blocks, .. } => CacheEvent::Stored {
            parent: parent.map_or(Parent::Root(NAMESPACE), |parent| Parent::Block(EngineHash(parent))),
            blocks: blocks
                .iter()
                .map(|block| StoredBlock {
                    engine: EngineHash(block.engine),
                    content: BlockHash(block.content),
                })
                .collect(),
            block_size,
            tier,
            group,
        },
        Event::Removed { engines, .. } => {
            CacheEvent::Removed { blocks: engines.iter().copied().map(EngineHash).collect(), tier, group }
        }
    }
}

/// The prompt of these blocks.
pub fn prompt_of(contents: &[u64], block_size: BlockSize) -> Prompt {
    let tokens = contents.len() as u32 * block_size.0;
    Prompt::new(NAMESPACE, tokens, block_size, contents.iter().copied().map(BlockHash))
}

/// rankwise-core.
#[derive(Debug)]
pub struct Ours {
    state: RoutingState,
    targets: Vec<TargetId>,
    block_size: BlockSize,
    prepared: Vec<(TargetId, Vec<CacheEvent>)>,
    prompt: Prompt,
    found: Overlaps,
}

impl Ours {
    /// With nothing cached.
    pub fn new(spec: &Spec) -> Self {
        let (state, targets) = fleet_of(spec);
        let block_size = BlockSize(spec.block_size);
        let (prepared, prompt) = (Vec::new(), prompt_of(&[], block_size));
        Self { state, targets, block_size, prepared, prompt, found: Overlaps::default() }
    }
}

impl Contender for Ours {
    fn name(&self) -> &'static str {
        "rankwise"
    }

    fn prepare(&mut self, steps: &[Step]) {
        for step in steps {
            let Some(first) = step.events.first() else { continue };
            let events = step.events.iter().map(|event| cache_event(event, self.block_size)).collect();
            self.prepared.push((self.targets[first.rank() as usize], events));
        }
    }

    fn apply(&mut self) -> Duration {
        let before = thread_cpu();
        for (target, events) in std::mem::take(&mut self.prepared) {
            self.state.apply_batch(target, &events, Millis(0));
        }
        thread_cpu() - before
    }

    fn ask(&mut self, prompt: &[u64]) {
        self.prompt = prompt_of(prompt, self.block_size);
    }

    fn look_up(&mut self) {
        self.state.overlaps(&self.prompt, self.block_size, &mut self.found);
    }

    fn overlaps(&self) -> Vec<u32> {
        self.found.device().to_vec()
    }
}
