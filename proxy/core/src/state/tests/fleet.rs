//! A few targets, and short ways to say what happens to them.

use std::sync::Arc;

use crate::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use crate::hash::{BlockHash, EngineHash, Namespace};
use crate::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use crate::index::Applied;
use crate::policy::Column;
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::{Overlap, Snapshot};
use crate::state::{Booking, Choice, RoutingState, StateConfig};
use crate::target::{Phases, TargetSpec};

pub(super) const SIZE: BlockSize = BlockSize(16);
pub(super) const SPACE: Namespace = Namespace(7);

pub(super) struct Fleet {
    pub(super) state: Arc<RoutingState>,
    pub(super) ids: Vec<TargetId>,
}

pub(super) fn spec(worker: u32, rank: u32, block_size: BlockSize) -> TargetSpec {
    TargetSpec {
        worker: WorkerId(worker),
        rank: DpRank(rank),
        group: GroupId(worker),
        key: worker * 100 + rank,
        block_size,
        capacity_blocks: 100,
        pinnable: true,
        phases: Phases::WHOLE,
    }
}

pub(super) fn prompt(blocks: &[u64], tail: u32) -> Prompt {
    let contents = blocks.iter().map(|block| BlockHash(*block));
    Prompt::new(SPACE, blocks.len() as u32 * SIZE.0 + tail, SIZE, contents)
}

pub(super) fn request(prompt: &Prompt) -> PlacementRequest<'_> {
    PlacementRequest { prompt: Some(prompt), ..PlacementRequest::default() }
}

/// An event that stores (engine, content) pairs behind the engine's `parent`, or at the root.
pub(super) fn stored(parent: Option<u64>, blocks: &[(u64, u64)], tier: Tier) -> CacheEvent {
    let parent = parent.map_or(Parent::Root(SPACE), |engine| Parent::Block(EngineHash(engine)));
    let blocks = blocks
        .iter()
        .map(|(engine, content)| StoredBlock { engine: EngineHash(*engine), content: BlockHash(*content) })
        .collect();
    CacheEvent::Stored { parent, blocks, block_size: SIZE, tier, group: CacheGroup(0) }
}

impl Fleet {
    /// Workers with two ranks each.
    pub(super) fn new(workers: u32, config: StateConfig) -> Self {
        let state = Arc::new(RoutingState::new(config, SIZE));
        let ids = (0..workers * 2).map(|n| state.add_target(spec(n / 2, n % 2, SIZE)).id).collect();
        Self { state, ids }
    }

    /// Applies [`stored`].
    pub(super) fn store(&self, at: usize, parent: Option<u64>, blocks: &[(u64, u64)], tier: Tier) -> Applied {
        self.state.apply(self.ids[at], &stored(parent, blocks, tier), Millis(0))
    }

    pub(super) fn remove(&self, at: usize, engines: &[u64], tier: Tier) -> Applied {
        let blocks = engines.iter().map(|engine| EngineHash(*engine)).collect();
        let event = CacheEvent::Removed { blocks, tier, group: CacheGroup(0) };
        self.state.apply(self.ids[at], &event, Millis(0))
    }

    pub(super) fn snapshot(&self, request: &PlacementRequest<'_>) -> Snapshot {
        let mut snapshot = Snapshot::new();
        self.state.snapshot(request, &Column::ALL, &mut |_| true, Millis(0), &mut snapshot);
        snapshot
    }

    pub(super) fn overlap(&self, at: usize, blocks: &[u64]) -> Overlap {
        self.snapshot(&request(&prompt(blocks, 0))).rows()[at].overlap
    }

    pub(super) fn device(&self, at: usize, blocks: &[u64]) -> u32 {
        self.overlap(at, blocks).device
    }

    pub(super) fn figure(&self, at: usize, request: &PlacementRequest<'_>, column: Column) -> u32 {
        self.snapshot(request).column(column).unwrap()[at]
    }

    pub(super) fn book(&self, at: usize, prompt: &Prompt, now: u64) -> Booking {
        self.book_request(at, &request(prompt), now)
    }

    pub(super) fn book_request(&self, at: usize, request: &PlacementRequest<'_>, now: u64) -> Booking {
        let snapshot = self.snapshot(request);
        self.state.book(&snapshot, Choice::Row(at as u32), request, false, Millis(now)).unwrap()
    }

    pub(super) fn prefill(&self, at: usize) -> u64 {
        self.state.load(self.ids[at]).unwrap().prefill_tokens
    }

    /// Nothing is booked or pending anywhere.
    pub(super) fn assert_idle(&self) {
        for id in &self.ids {
            let Some(load) = self.state.load(*id) else { continue };
            assert_eq!(
                (load.prefill_tokens, load.active_blocks, load.running, load.pending_blocks),
                (0, 0, 0, 0)
            );
            assert_eq!((load.worker_prefill_tokens, load.worker_blocks, load.worker_running), (0, 0, 0));
        }
    }
}
