//! What makes supervisors, for the workers of the config and for those added later.

use std::sync::Arc;
use std::time::Duration;

use super::describe::ProbeLimits;
use super::frontends::Seat;
use super::register::Numbers;
use super::status::WorkerStatus;
use super::supervise::Supervision;
use crate::config::{EventLimits, HealthLimits, Limits, UpstreamLimits, Worker};
use crate::feeds::PromiseSettings;
use crate::health::HealthSettings;
use crate::pool::Pool;

/// What all supervisors of a process have in common. Clones share their numbers.
#[derive(Clone)]
pub struct Supervisors {
    upstream: UpstreamLimits,
    health: HealthSettings,
    events: EventLimits,
    promises: PromiseSettings,
    drain_timeout: Duration,
    numbers: Arc<Numbers>,
}

impl Supervisors {
    /// With these bounds. `drain_timeout`: time that requests in flight have to end when a worker is taken out.
    pub fn new(limits: &Limits, drain_timeout: Duration) -> Self {
        Self {
            upstream: limits.upstream.clone(),
            health: settings(&limits.health),
            events: limits.events.clone(),
            promises: PromiseSettings {
                sample: limits.index.promises_sample.get(),
                broken_permille_max: limits.index.promises_broken_permille_max,
            },
            drain_timeout,
            numbers: Arc::default(),
        }
    }

    /// Most workers of a pool.
    pub(super) fn workers_max(&self) -> usize {
        self.upstream.workers_max.get()
    }

    /// A supervisor for a worker. `joins`: others serve already.
    pub(super) fn of(&self, pool: &Arc<Pool>, config: Worker, joins: bool) -> Supervision {
        Supervision {
            pool: Arc::clone(pool),
            // Before anybody asks, so that all entries of a config know of each other.
            seat: Seat::of(&self.numbers.frontends, &pool.name, &config).map(Arc::new),
            config,
            probe: ProbeLimits {
                bytes_max: self.upstream.probe_bytes_max,
                timeout: self.upstream.probe_timeout,
                connect_timeout: self.upstream.connect_timeout,
                ranks_max: self.upstream.ranks_per_worker_max.get(),
            },
            health_interval: self.upstream.probe_interval,
            load_interval: self.upstream.load_interval,
            health: self.health,
            joins,
            events: self.events.clone(),
            promises: self.promises,
            drain_timeout: self.drain_timeout,
            numbers: Arc::clone(&self.numbers),
            status: Arc::new(WorkerStatus::default()),
        }
    }
}

fn settings(limits: &HealthLimits) -> HealthSettings {
    HealthSettings {
        prove_ranks: limits.prove_ranks,
        proof_timeout: limits.proof_timeout,
        window: limits.window,
        failures_min: limits.failures_min.get(),
        slow_start: limits.slow_start,
    }
}
