//! Every family of the proxy that is written while it works; `gauges` reads the rest from their owners.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::builder::{Builder, ENGINE_BUCKETS};
use super::decisions::DecisionFamilies;
use super::outcome::Outcome;
use super::pools::{PoolFamilies, PoolMetrics};
use super::targets::{TargetFamilies, TargetMetrics};
use crate::error::Stage;

/// Every family of the proxy.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) registry: Registry,
    targets: TargetFamilies,
    pools: PoolFamilies,
    errors: IntCounterVec,
    request: HistogramVec,
    /// Failures of policies by pool, policy and reason.
    pub policy_failures: IntCounterVec,
    /// Activations by pool and what caused them.
    pub policy_swaps: IntCounterVec,
    /// Policies not taken, by pool and what would have activated them.
    pub policy_refusals: IntCounterVec,
    /// Lanes, shadows, receipts, recordings.
    pub decisions: DecisionFamilies,
    /// Prompts by pool and how their token ids were found.
    pub prompts: IntCounterVec,
    /// Requests in flight.
    pub in_flight: IntGauge,
    /// Memory of their bodies.
    pub body_bytes: IntGauge,
    /// Bytes read from clients.
    pub bytes_received: IntCounter,
    /// Bytes written to clients.
    pub bytes_sent: IntCounter,
}

impl Metrics {
    /// Registers all families.
    ///
    /// # Errors
    /// When two of them have one name: a fault of the code.
    pub fn new() -> Result<Self, prometheus::Error> {
        let new = Builder(Registry::new());
        let bytes = new.counters(
            "rankwise_client_bytes_total",
            "Body bytes read from and written to clients.",
            &["direction"],
        )?;
        Ok(Self {
            targets: TargetFamilies::new(&new)?,
            pools: PoolFamilies::new(&new)?,
            errors: new.counters(
                "rankwise_errors_total",
                "Requests that the proxy answered with an error of its own, by the stage at which they failed.",
                &["stage"],
            )?,
            request: new.histograms(
                "rankwise_request_seconds",
                "From a request's head to the end of its answer.",
                &["api"],
                ENGINE_BUCKETS,
            )?,
            policy_failures: new.counters(
                "rankwise_policy_failures_total",
                "Decisions that the fallback made because the policy failed.",
                &["pool", "policy", "reason"],
            )?,
            policy_swaps: new.counters(
                "rankwise_policy_activations_total",
                "Activations of a policy, by what caused them.",
                &["pool", "cause"],
            )?,
            policy_refusals: new.counters(
                "rankwise_policy_refusals_total",
                "Policies that were not taken, by what would have activated them; nothing changed.",
                &["pool", "cause"],
            )?,
            decisions: DecisionFamilies::new(&new)?,
            prompts: new.counters(
                "rankwise_prompts_total",
                "Prompts by how their token ids were found.",
                &["pool", "source"],
            )?,
            in_flight: new.gauge("rankwise_requests_in_flight", "Requests that were let in and have not ended.")?,
            body_bytes: new.gauge("rankwise_request_body_bytes", "Memory of the bodies of requests in flight.")?,
            bytes_received: bytes.with_label_values(&["received"]),
            bytes_sent: bytes.with_label_values(&["sent"]),
            registry: new.0,
        })
    }

    /// The handles of one pool.
    pub fn pool(&self, pool: &str) -> PoolMetrics {
        self.pools.pool(pool, self.decisions.lanes(pool))
    }

    /// The handles of one target.
    pub fn target(&self, pool: &str, worker: &str, rank: &str) -> TargetMetrics {
        self.targets.target(pool, worker, rank)
    }

    /// Forgets the series of a target that is gone.
    pub fn forget_target(&self, pool: &str, worker: &str, rank: &str) {
        self.targets.forget_target(pool, worker, rank);
    }

    /// Counts a request that ended so and that no target had; `pool` is empty where it never came to one.
    pub fn unplaced_request(&self, pool: &str, outcome: Outcome) {
        self.targets.unplaced_request(pool, outcome);
    }

    /// Counts an answer of the proxy's own.
    pub fn error(&self, stage: Stage) {
        self.errors.with_label_values(&[stage.name()]).inc();
    }

    /// The time of whole requests to one API.
    pub fn request_seconds(&self, api: &str) -> Histogram {
        self.request.with_label_values(&[api])
    }
}
