//! The component's side: from the wire of `wit/policy.wit` to the SDK's own types and back. wasm32 only.

use std::sync::{Mutex, OnceLock, PoisonError};

mod allocator;
#[expect(missing_docs, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "policy",
        pub_export_macro: true,
        export_macro_name: "export_component",
    });
}

#[expect(missing_docs, reason = "generated")]
pub mod scoring {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "scoring",
        with: { "rankwise:policy/types@0.1.0": crate::component::bindings::rankwise::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_scoring",
    });
}
#[expect(missing_docs, reason = "generated")]
pub mod learning {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "learning",
        pub_export_macro: true,
        export_macro_name: "export_learning",
    });
}

pub use bindings::export_component;
pub use bindings::exports::rankwise::policy::picker::Guest;
pub use bindings::rankwise::policy::types::{
    Decision as WireDecision, Needs as WireNeeds, Pool as WirePool, Ranks as WireRanks,
    Request as WireRequest,
};

pub use learning::export_learning;
pub use learning::exports::rankwise::policy::learner::Guest as LearnerGuest;
pub use scoring::export_scoring;
pub use scoring::exports::rankwise::policy::scorer::Guest as ScorerGuest;

use crate::ranks::Positions;
use crate::{Decision, Learner, Outcome, Phase, Policy, Pool, Ranks, Request, Scorer, settings};
use bindings::rankwise::policy::types::{Phase as WirePhase, Rejection as WireRejection};

/// The one policy of this component instance.
pub struct Instance<P>(OnceLock<(P, Positions)>);

impl<P: Policy> Instance<P> {
    /// Not configured yet.
    #[expect(clippy::new_without_default, reason = "a const for the static that export_policy! makes")]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Reads the settings, makes the policy and says what it needs.
    pub fn configure(&self, pool: WirePool, settings_json: &str) -> Result<WireNeeds, String> {
        let settings = settings::parse(settings_json)?;
        let pool = Pool { model: pool.model, block_size: pool.block_size.max(1) };
        let policy = P::configure(&pool, settings)?;
        let needs = policy.needs();
        if self.0.set((policy, Positions::of(&needs))).is_err() {
            return Err("an instance is configured once".to_owned());
        }
        let columns = needs.columns.iter().map(|&column| column as u32).collect();
        Ok(WireNeeds { columns, headers: needs.headers, prompt: needs.prompt })
    }

    /// Decides one request.
    pub fn pick(&self, request: WireRequest, ranks: WireRanks) -> Result<WireDecision, String> {
        let Some((policy, positions)) = self.0.get() else {
            return Err("pick before configure".to_owned());
        };
        let ranks = Ranks::new(ranks.rows, ranks.columns, *positions)?;
        policy.pick(&request.into(), &ranks).map(WireDecision::from)
    }
}

impl<P: Scorer> Instance<P> {
    /// Scores every row; nothing where the table or the order of calls is wrong.
    pub fn score(&self, request: WireRequest, ranks: WireRanks) -> Vec<f32> {
        let Some((policy, positions)) = self.0.get() else { return Vec::new() };
        let Ok(ranks) = Ranks::new(ranks.rows, ranks.columns, *positions) else { return Vec::new() };
        let costs = policy.score(&request.into(), &ranks);
        costs.as_slice().iter().map(|&cost| cost as f32).collect()
    }
}

/// What the instance that learns remembers.
pub struct Memory<P: Learner>(Mutex<Option<P::Memory>>);

impl<P: Learner> Memory<P> {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "a const for the static that export_policy! makes")]
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }
}

impl<P: Learner> Instance<P> {
    /// Learns; nothing where the order of calls is wrong.
    pub fn learn(&self, memory: &Memory<P>, targets: &[u32], outcomes: &[u64]) -> Vec<u32> {
        let Some((policy, _)) = self.0.get() else { return Vec::new() };
        let mut memory = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = memory.get_or_insert_with(P::Memory::default);
        policy.learn(memory, targets, &Outcome::all(outcomes))
    }
}

impl From<WireRequest> for Request {
    fn from(request: WireRequest) -> Self {
        Self {
            sequence: request.sequence,
            seed: request.seed,
            phase: match request.phase {
                WirePhase::Aggregated => Phase::Aggregated,
                WirePhase::Prefill => Phase::Prefill,
                WirePhase::Decode => Phase::Decode,
            },
            facts: request.facts,
            headers: request.text,
        }
    }
}

impl From<Decision> for WireDecision {
    fn from(decision: Decision) -> Self {
        match decision {
            Decision::Rank(row) => Self::Rank(row),
            Decision::Worker(worker) => Self::Worker(worker),
            Decision::Skip => Self::Skip,
            Decision::Wait(ms) => Self::Wait(ms),
            Decision::Reject(rejection) => Self::Reject(WireRejection {
                status: rejection.status,
                retry_after_s: rejection.retry_after_s,
                reason: rejection.reason,
            }),
        }
    }
}
