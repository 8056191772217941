//! The policy of one pool: in force, failing, replaced.

use std::sync::Arc;

use http::HeaderValue;
use parking_lot::RwLock;
use rankwise_core::ids::Millis;
use rankwise_policy_host::{
    Activation, Compiled, Current, HostError, PolicyFailure, PolicyLane, PoolInfo, Serving, Smoke,
};
use serde_json::Value;

use super::store::{PolicyStore, StoreError};
use crate::config::Fallback;
use crate::metrics::Metrics;

/// Earlier activations that a rollback can reach.
const HISTORY_MAX: usize = 4;

/// What decides in one pool, and how it came to.
pub struct PoolPolicies {
    pool: String,
    lane: PolicyLane,
    fallback: RwLock<Fallback>,
    metrics: Metrics,
    /// Instances to make ready: one per request thread.
    threads: usize,
}

/// Why a policy was not activated. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ActivateError(#[from] HostError);

/// Why a policy was not configured anew.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum ReconfigureError {
    /// It has been forgotten.
    Store(#[from] StoreError),
    /// It refuses.
    Activate(#[from] ActivateError),
}

impl PoolPolicies {
    /// A pool in which the fallback decides until something is activated.
    pub fn new(pool: &str, fallback: Fallback, metrics: Metrics, threads: usize) -> Self {
        Self {
            pool: pool.to_owned(),
            lane: PolicyLane::new(HISTORY_MAX),
            fallback: RwLock::new(fallback),
            metrics,
            threads,
        }
    }

    /// What decides now; nothing: the fallback.
    pub fn current(&self) -> Current {
        self.lane.current()
    }

    /// Whether the policy looks at prompts.
    pub fn needs_prompt(&self) -> bool {
        self.current().activation().is_some_and(|activation| activation.needs().prompt)
    }

    /// What answers when the policy fails.
    pub fn fallback(&self) -> Fallback {
        *self.fallback.read()
    }

    /// The fallback's name where a policy's would stand.
    pub fn fallback_label(&self) -> HeaderValue {
        match self.fallback() {
            Fallback::LeastLoaded => HeaderValue::from_static("fallback:least-loaded"),
            Fallback::RoundRobin => HeaderValue::from_static("fallback:round-robin"),
        }
    }

    /// Configures, tries and publishes a policy. Blocks: call it off the request threads. Every decision started after
    /// it returns uses the new one.
    ///
    /// # Errors
    /// When settings, needs or the trial do not fit; nothing has changed then.
    pub fn activate(
        &self,
        store: &PolicyStore,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
        fallback: Option<Fallback>,
        cause: &str,
    ) -> Result<Arc<Activation>, ActivateError> {
        let activation = self.prepare(store, compiled, info, settings)?;
        if let Some(fallback) = fallback {
            *self.fallback.write() = fallback;
        }
        self.publish(Arc::clone(&activation), cause);
        Ok(activation)
    }

    fn prepare(
        &self,
        store: &PolicyStore,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
    ) -> Result<Arc<Activation>, ActivateError> {
        Ok(store.host().activate(compiled, info, settings, &Smoke::example(), self.threads)?)
    }

    fn publish(&self, activation: Arc<Activation>, cause: &str) {
        self.metrics.policy_swaps.with_label_values(&[self.pool.as_str(), cause]).inc();
        tracing::info!(pool = self.pool, policy = %activation.version(), cause, "policy activated");
        self.lane.activate(activation);
    }

    /// Configures the chosen policy anew, as for another block size. Earlier ones, configured for the old, are forgotten.
    /// Blocks.
    ///
    /// # Errors
    /// When it refuses; then the fallback decides.
    pub fn reconfigure(&self, store: &PolicyStore, info: &PoolInfo) -> Result<(), ReconfigureError> {
        let Some(chosen) = self.lane.chosen() else { return Ok(()) };
        let compiled = store.find(&chosen.version().to_string())?;
        let settings = serde_json::from_str(chosen.settings_json()).unwrap_or_default();
        let activation = self.prepare(store, &compiled, info, &settings)?;
        self.lane.clear();
        self.publish(activation, "block_size");
        Ok(())
    }

    /// Back to the policy before. `None`: there is none, nothing changed.
    pub fn rollback(&self) -> Option<Arc<Activation>> {
        let activation = self.lane.rollback()?;
        self.metrics.policy_swaps.with_label_values(&[&self.pool, "rollback"]).inc();
        tracing::info!(pool = self.pool, policy = %activation.version(), "policy rolled back");
        Some(activation)
    }

    /// Counts a decision of the policy.
    pub fn succeeded(&self, activation: &Activation, now: Millis) {
        self.lane.record(activation, now, false);
    }

    /// Counts a failure, and takes the policy out of service if there were too many.
    pub fn failed(&self, activation: &Activation, failure: &PolicyFailure, now: Millis) {
        let policy = activation.version().to_string();
        let reason = failure.kind().name();
        self.metrics.policy_failures.with_label_values(&[&self.pool, &policy, reason]).inc();
        tracing::debug!(pool = self.pool, policy, %failure, "policy failed");
        if let Some(serving) = self.lane.record(activation, now, true) {
            self.metrics.policy_swaps.with_label_values(&[&self.pool, "failures"]).inc();
            tracing::error!(pool = self.pool, policy, %failure, ?serving, "policy taken out of service");
        }
    }

    /// Tries a policy again that has been out of service for long enough. Called every second or so.
    pub fn retry(&self, now: Millis) {
        if self.lane.retry(now) {
            self.metrics.policy_swaps.with_label_values(&[&self.pool, "rearmed"]).inc();
            tracing::info!(pool = self.pool, "policy back in service");
        }
    }

    /// The policy that was chosen, in service or not.
    pub fn chosen(&self) -> Option<Arc<Activation>> {
        self.lane.chosen()
    }

    /// What decides: the chosen one, the last good one, or the fallback.
    pub fn serving(&self) -> Serving {
        self.lane.serving()
    }

    /// What a rollback would go back to, the last one first.
    pub fn history(&self) -> Vec<Arc<Activation>> {
        self.lane.history()
    }
}
