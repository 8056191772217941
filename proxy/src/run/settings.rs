//! From the config's words to what the parts are made with.

use std::sync::Arc;
use std::time::Duration;

use rankwise_core::hash::HashKey;
use rankwise_policy_host::{FailureThresholds, HostConfig, ThreadPolicies};
use rankwise_prompt::PromptCache;

use crate::config::{AccessLog, Config};
use crate::listen::{ConnectionLimits, RequestThreads};
use crate::policies::StateDir;
use crate::prompts::{PromptWork, WorkLimits};
use crate::request::{Proxy, Settings, Shared};
use crate::upstream::{UpstreamPool, UpstreamTimes};
use crate::warm::WarmIndex;

/// Bounds and switches of the request path.
pub(super) fn requests(config: &Config) -> Settings {
    let request = &config.limits.request;
    Settings {
        head_bytes_max: request.head_bytes_max,
        headers_max: request.headers_max.get(),
        body_bytes_max: request.body_bytes_max,
        body_timeout: request.body_timeout,
        in_flight_max: request.in_flight_max.get(),
        bodies_bytes_max: request.bodies_bytes_max,
        prefill_answer_bytes_max: request.prefill_answer_bytes_max,
        expose_decision: config.expose_decision,
        access_log: config.access_log == AccessLog::Stderr,
    }
}

/// What an earlier process knew of the ranks, with its secret; or else a new one.
pub(super) fn warm_index(config: &Config, state_dir: Option<&Arc<StateDir>>) -> anyhow::Result<WarmIndex> {
    /// What a name takes in the file, the prefix that it stands for included, and then some.
    const NAME_BYTES: u64 = 32;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("system randomness: {error}"))?;
    let names: u64 = config.pools.iter().map(|pool| pool.limits.index_blocks_max.get() as u64).sum();
    let bytes_max = names.saturating_mul(NAME_BYTES).saturating_add(1 << 20);
    Ok(WarmIndex::open(state_dir.cloned(), secret, bytes_max))
}

/// What reading prompts shares.
pub(super) fn prompt_work(config: &Config, key: HashKey) -> PromptWork {
    let tokenize = &config.limits.tokenize;
    let cache = PromptCache::new(tokenize.prefix_cache_bytes_max, key);
    let limits = WorkLimits {
        running_max: tokenize.long_prompts_max.get(),
        waiting_max: tokenize.long_prompts_waiting_max.get(),
        timeout: tokenize.timeout,
    };
    PromptWork::new(cache, limits)
}

/// Bounds of what policies may do and take.
pub(super) fn policy_host(config: &Config) -> HostConfig {
    /// Active, previous, spares and history, for each pool and thread.
    const INSTANCES_PER_THREAD: usize = 4;
    let host = &config.policy_host;
    let failures = &host.failures;
    let instances = (config.threads.get() * INSTANCES_PER_THREAD + 16) * config.pools.len().max(1);
    HostConfig {
        cpu_budget: host.cpu_budget,
        memory_bytes_max: host.memory_bytes_max,
        component_bytes_max: host.component_bytes_max,
        baseline_bytes_min: host.baseline_bytes_min,
        instances_max: u32::try_from(instances).unwrap_or(u32::MAX).clamp(64, 1024),
        failures: FailureThresholds {
            failures: failures.count.get(),
            permille: failures.permille.get(),
            window_ms: millis(failures.window),
            rearm_ms: millis(failures.rearm_after),
            rest_ms: millis(failures.rest),
        },
        ..HostConfig::default()
    }
}

/// Starts the threads that serve requests, each with its own upstream connections and policy instances.
pub(super) fn start_threads(config: &Config, shared: &Shared) -> anyhow::Result<RequestThreads> {
    let request = &config.limits.request;
    let limits = ConnectionLimits {
        head_bytes_max: request.head_bytes_max,
        headers_max: request.headers_max.get(),
        head_timeout: request.head_timeout,
        streams_max: config.limits.listener.streams_max.get(),
    };
    let upstream = &config.limits.upstream;
    let times = UpstreamTimes { connect: upstream.connect_timeout, idle: upstream.idle_timeout };
    let idle_max = upstream.connections_per_target_max.get();
    let shared = shared.clone();
    let make = move |_| Proxy::new(shared.clone(), UpstreamPool::new(idle_max, times), ThreadPolicies::new());
    let connections_max = config.limits.listener.connections_max.get();
    Ok(RequestThreads::start(config.threads.get(), connections_max, limits, make)?)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
