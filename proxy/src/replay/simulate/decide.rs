//! The proxy's part in a simulation: index, ledger, snapshot, policy, booking.

use std::sync::Arc;

use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::fallback;
use rankwise_core::hash::{EngineHash, HashKey, Namespace};
use rankwise_core::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use rankwise_core::policy::{Decision, Fact, Facts, PolicyRequest};
use rankwise_core::request::{PlacementRequest, Prompt};
use rankwise_core::sessions::stable_key;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::state::{Booking, Choice, RoutingState, StateConfig};
use rankwise_core::target::{Availability, Phases, TargetSpec};
use rankwise_policy_host::{Activation, ThreadPolicies};
use rankwise_sim::Micros;
use rankwise_sim::model::pool::CacheChange;
use rankwise_sim::model::sequence;

use super::FleetShape;
use super::engines::Engines;
use crate::replay::trace::TraceRequest;

/// Every prompt's: a trace knows no adapters and no salts.
const NAMESPACE: Namespace = Namespace(1);

/// Of the prefix key: the default of `sessions.prefix_tokens`.
const PREFIX_TOKENS: usize = 256;

pub(super) struct Decider {
    activation: Arc<Activation>,
    policies: ThreadPolicies,
    state: Arc<RoutingState>,
    targets: Vec<TargetId>,
    ranks: u32,
    key: HashKey,
    snapshot: Snapshot,
    random: fastrand::Rng,
    sequence: u64,
    failures: u64,
}

/// What is to become of a request.
pub(super) enum Decided<P> {
    /// It is booked on a rank; `prompt` makes of its answer what an engine takes.
    Placed {
        rank: usize,
        prompt: P,
        load: Load,
    },
    /// To be asked again after so many ms, or when the load has changed.
    Wait(u32),
    Rejected,
}

/// A request's load in the ledger.
pub(super) struct Load(Booking);

impl Load {
    pub(super) fn first_output(&self, at: Micros) {
        self.0.first_output(millis(at));
    }

    pub(super) fn finish(self, at: Micros) {
        self.0.finish(millis(at));
    }

    /// The engine did not take it.
    pub(super) fn refused(self, at: Micros) {
        self.0.fail_before_send(millis(at));
    }
}

fn millis(at: Micros) -> Millis {
    Millis(at.0 / 1000)
}

impl Decider {
    pub(super) fn new(activation: Arc<Activation>, fleet: &FleetShape) -> Self {
        let block_size = BlockSize(fleet.core.block_size);
        // As many as fit into the ranks, names and distinct blocks: the bound is the simulated engines' own.
        let blocks = fleet.ranks_in_all() * fleet.core.blocks as usize;
        let config = StateConfig { index_blocks_max: 4 * blocks, ..StateConfig::default() };
        let state = Arc::new(RoutingState::new(config, block_size));
        let target = |number: u32| {
            let (worker, rank) = (number / fleet.ranks, number % fleet.ranks);
            let target = state.add_target(TargetSpec {
                worker: WorkerId(worker),
                rank: DpRank(rank),
                group: GroupId(if fleet.lockstep { worker } else { number }),
                key: stable_key(&number.to_le_bytes()) as u32,
                block_size,
                capacity_blocks: fleet.core.blocks,
                pinnable: true,
                phases: Phases::WHOLE,
            });
            target.health.set_availability(Availability::Ready);
            target.feed.set_trusted(true);
            target.id
        };
        let targets = (0..fleet.workers * fleet.ranks).map(target).collect();
        Self {
            activation,
            policies: ThreadPolicies::new(),
            state,
            targets,
            ranks: fleet.ranks,
            key: HashKey::new([0; 32]),
            snapshot: Snapshot::new(),
            random: fastrand::Rng::with_seed(fleet.seed),
            sequence: 0,
            failures: 0,
        }
    }

    /// Decisions that the fallback made because the policy failed.
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// What a rank's cache did, as its events would tell.
    pub(super) fn learn(&self, rank: usize, changes: &[CacheChange], at: Micros) {
        let Some(target) = self.targets.get(rank) else { return };
        let block_size = self.state.pool_block_size();
        let group = CacheGroup(0);
        let tier = |tier: &rankwise_sim::Tier| match tier {
            rankwise_sim::Tier::Device => Tier::Device,
            rankwise_sim::Tier::Host => Tier::Host,
        };
        let events: Vec<CacheEvent> = changes
            .iter()
            .map(|change| match change {
                CacheChange::Stored { tier: to, parent, blocks, tokens, .. } => CacheEvent::Stored {
                    parent: parent
                        .map_or(Parent::Root(NAMESPACE), |parent| Parent::Block(EngineHash(parent.0))),
                    blocks: blocks
                        .iter()
                        .zip(self.key.blocks(tokens, block_size))
                        .map(|(block, content)| StoredBlock { engine: EngineHash(block.0), content })
                        .collect(),
                    block_size,
                    tier: tier(to),
                    group,
                },
                CacheChange::Removed { tier: from, block } => {
                    CacheEvent::Removed { blocks: vec![EngineHash(block.0)], tier: tier(from), group }
                }
                CacheChange::Cleared => CacheEvent::Cleared,
            })
            .collect();
        self.state.apply_batch(*target, &events, millis(at));
    }

    /// Decides and books.
    pub(super) fn decide(
        &mut self,
        request: &TraceRequest,
        now: Micros,
        engines: &mut Engines,
    ) -> Decided<impl FnOnce(Vec<u32>) -> sequence::Prompt + use<>> {
        let tokens = request.tokens();
        let block_size = self.state.pool_block_size();
        let prompt = self.activation.needs().prompt.then(|| {
            let blocks = self.key.blocks(&tokens, block_size);
            let mut prompt = Prompt::new(NAMESPACE, request.prompt_tokens, block_size, blocks);
            let first = &tokens[..tokens.len().min(PREFIX_TOKENS)];
            let bytes: Vec<u8> = first.iter().flat_map(|token| token.to_le_bytes()).collect();
            prompt.prefix_key = stable_key(&bytes);
            prompt
        });
        let placement = PlacementRequest {
            prompt: prompt.as_ref(),
            prompt_tokens_estimate: request.prompt_tokens,
            ..PlacementRequest::default()
        };
        self.state.advance(millis(now));
        let choice = match self.pick(&placement, now) {
            Decision::Rank(row) => Choice::Row(row),
            Decision::Worker(worker) => Choice::Worker(WorkerId(worker)),
            Decision::Wait(ms) => return Decided::Wait(ms),
            Decision::Reject(_) | Decision::Skip => return Decided::Rejected,
        };
        let rank = match choice {
            Choice::Row(row) => {
                let row = self.snapshot.rows().get(row as usize);
                row.map(|row| (row.worker.0 * self.ranks + row.rank.0) as usize)
            }
            Choice::Worker(worker) => {
                let first = (worker.0 * self.ranks) as usize;
                Some(engines.least_loaded(first..first + self.ranks as usize))
            }
        };
        // Nobody else books: by force or not is the same.
        let booked = self.state.book(&self.snapshot, choice, &placement, true, millis(now));
        let Some((rank, booking)) = rank.zip(booked.ok()) else { return Decided::Rejected };
        let prompt = |answer: Vec<u32>| sequence::Prompt {
            tokens,
            answer: answer.into(),
            salt: None,
            transferred: false,
            report_hits: false,
            stops: true,
        };
        Decided::Placed { rank, prompt, load: Load(booking) }
    }

    /// The policy's decision; least-loaded where it fails, as in the proxy.
    fn pick(&mut self, placement: &PlacementRequest<'_>, now: Micros) -> Decision {
        let columns = &self.activation.needs().columns;
        self.state.snapshot(placement, columns, &mut |_| true, millis(now), &mut self.snapshot);
        let mut facts = Facts::default();
        let block_size = self.state.pool_block_size().0.max(1);
        if let Some(prompt) = placement.prompt {
            facts.set(Fact::PromptTokens, prompt.tokens.into());
            facts.set(Fact::PromptBlocks, (prompt.tokens / block_size).into());
            facts.set(Fact::PrefixKey, prompt.prefix_key);
        }
        facts.set(Fact::Sequences, 1);
        let request = PolicyRequest {
            sequence: self.sequence,
            seed: self.random.u64(..),
            facts,
            ..PolicyRequest::default()
        };
        self.sequence += 1;
        let rows = u32::try_from(self.snapshot.rows().len()).unwrap_or(u32::MAX);
        let snapshot = &self.snapshot;
        let has_worker = |worker: u32| snapshot.rows().iter().any(|row| row.worker.0 == worker);
        let picked = self.policies.pick(&self.activation, &request, rows, snapshot.packed(), has_worker);
        picked.unwrap_or_else(|_| {
            self.failures += 1;
            Decision::Rank(fallback::least_loaded(&self.snapshot, request.sequence).unwrap_or(0))
        })
    }
}
