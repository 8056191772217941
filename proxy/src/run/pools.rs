//! Pools, each with its policy in force, and no worker yet.

use std::sync::Arc;

use anyhow::Context;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::BlockSize;
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_policy_host::PoolInfo;

use super::settings::millis;
use crate::config::{self, Config, PolicySource};
use crate::metrics::Metrics;
use crate::policies::{BuiltIn, PolicyStore, PoolPolicies};
use crate::pool::{Pool, PoolLimits, PoolParts, Pools};
use crate::prompts::{PromptLimits, PromptSource};
use crate::sessions::PoolSessions;

/// The unit of block figures until the first worker tells its own.
const BLOCK_SIZE: BlockSize = BlockSize(16);

/// All pools of the config.
///
/// # Errors
/// When a pool's policy does not fit.
pub(super) async fn make(
    config: &Config,
    metrics: &Metrics,
    store: &Arc<PolicyStore>,
) -> anyhow::Result<Pools> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("system randomness: {error}"))?;
    let key = HashKey::new(secret);
    let mut pools = Vec::with_capacity(config.pools.len());
    for pool in &config.pools {
        let made = Arc::new(make_pool(config, pool, metrics, &key));
        activate(&made, pool, store).await.with_context(|| format!("pool {}: policy", made.name))?;
        pools.push(made);
    }
    Ok(Pools::new(pools))
}

fn make_pool(config: &Config, pool: &config::Pool, metrics: &Metrics, key: &HashKey) -> Pool {
    let index = &config.limits.index;
    let state = StateConfig {
        index_blocks_max: pool.limits.index_blocks_max.get(),
        pending_grace_ms_min: millis(index.pending_grace_min),
        pending_grace_ms_max: millis(index.pending_grace_max),
        ..StateConfig::default()
    };
    let block_size = pool
        .workers
        .iter()
        .find_map(|worker| worker.block_size)
        .map_or(BLOCK_SIZE, |size| BlockSize(size.get()));
    let tokenize = &config.limits.tokenize;
    Pool::new(PoolParts {
        name: pool.name.to_string(),
        models: pool.models.iter().map(ToString::to_string).collect(),
        state: Arc::new(RoutingState::new(state, block_size)),
        policies: PoolPolicies::new(&pool.name, pool.policy.fallback, metrics.clone(), config.threads.get()),
        prompts: PromptSource::new(
            PromptLimits {
                timeout: tokenize.timeout,
                entries_max: tokenize.cache_entries_max.get(),
                answer_bytes_max: config.limits.upstream.probe_bytes_max,
                prompt_bytes_max: tokenize.prompt_bytes_max,
            },
            pool.tokenizer.is_some(),
        ),
        key: key.clone(),
        sessions: PoolSessions::new(&pool.sessions, key),
        heal_cold_roots: pool.heal_cold_roots,
        limits: PoolLimits {
            queue_time_max: pool.limits.wait_timeout,
            queue_requests_max: pool.limits.wait_requests_max.get(),
            policy_headers: pool.policy_headers.clone(),
            policy_headers_max: config.limits.request.policy_headers_max.get(),
            policy_headers_bytes_max: config.limits.request.policy_headers_bytes_max,
            first_byte_timeout: pool.limits.first_byte_timeout,
            silence_max: pool.limits.stream_idle_timeout,
            connections_per_worker_max: pool.limits.connections_per_target_max.get(),
            retries: pool.retries,
            retry_statuses: pool.retry_statuses.clone(),
        },
        metrics: metrics.clone(),
    })
}

async fn activate(pool: &Arc<Pool>, config: &config::Pool, store: &Arc<PolicyStore>) -> anyhow::Result<()> {
    let (pool, store, choice) = (Arc::clone(pool), Arc::clone(store), config.policy.clone());
    let model = config.models.first().map(ToString::to_string).unwrap_or_default();
    tokio::task::spawn_blocking(move || {
        let compiled = match &choice.source {
            PolicySource::BuiltIn(policy) => store.find(BuiltIn::from(*policy).name)?,
            PolicySource::File(path) => {
                let wasm = std::fs::read(path).with_context(|| path.display().to_string())?;
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                store.add(&name.unwrap_or_default(), &wasm)?
            }
        };
        let info = PoolInfo { model, block_size: pool.block_size().0 };
        let settings = serde_json::from_str(&choice.settings_json)?;
        pool.policies.activate(&store, &compiled, &info, &settings, None, "config")?;
        Ok(())
    })
    .await?
}
