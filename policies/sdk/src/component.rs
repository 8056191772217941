//! The component's side: from the wire of `wit/policy.wit` to the SDK's own types and back. wasm32 only.

use std::sync::OnceLock;

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

pub use bindings::export_component;
pub use bindings::exports::rankwise::policy::picker::Guest;
pub use bindings::rankwise::policy::types::{
    Decision as WireDecision, Needs as WireNeeds, Pool as WirePool, Ranks as WireRanks,
    Request as WireRequest,
};

use crate::ranks::Positions;
use crate::{Decision, Phase, Policy, Pool, Ranks, Request, settings};
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
