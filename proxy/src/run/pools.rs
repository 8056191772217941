//! Pools, each with its policy in force, and no worker yet.

use std::sync::Arc;

use anyhow::Context;
use rankwise_core::ids::BlockSize;
use rankwise_core::snapshot::RoomRule;
use rankwise_core::state::{RoutingState, StateConfig};

use super::settings::millis;
use crate::config::{self, Config, Recording};
use crate::decisions::recording::{Recorder, RecordingLimits};
use crate::decisions::{Decisions, DecisionsParts, Observer};
use crate::metrics::Metrics;
use crate::policies::{self, PolicyParts, PolicyStore, PoolPolicies};
use crate::pool::{Pool, PoolLimits, PoolParts, Pools};
use crate::prompts::{PromptLimits, PromptSource, PromptWork};
use crate::responses::KeptResponses;
use crate::sessions::PoolSessions;
use crate::warm::WarmIndex;

/// The unit of block figures until the first worker tells its own.
const BLOCK_SIZE: BlockSize = BlockSize(16);

/// All pools of the config.
///
/// # Errors
/// When a pool's policy does not fit.
pub(super) async fn make(config: &Config, shared: &Shared<'_>) -> anyhow::Result<Pools> {
    let mut pools = Vec::with_capacity(config.pools.len());
    for pool in &config.pools {
        let made = Arc::new(make_pool(config, pool, shared));
        activate(&made, pool, shared.store).await.with_context(|| format!("pool {}: policy", made.name))?;
        pools.push(made);
    }
    Ok(Pools::new(pools))
}

/// What all pools have in common.
pub(super) struct Shared<'a> {
    pub(super) store: &'a Arc<PolicyStore>,
    pub(super) observer: &'a Observer,
    pub(super) metrics: &'a Metrics,
    pub(super) prompts: &'a Arc<PromptWork>,
    pub(super) warm: &'a Arc<WarmIndex>,
}

fn make_pool(config: &Config, pool: &config::Pool, shared: &Shared<'_>) -> Pool {
    let Shared { store, observer, metrics, prompts, warm } = *shared;
    let index = &config.limits.index;
    let room = RoomRule {
        blocks: pool.room.blocks,
        output_tokens_max: pool.room.output_tokens_max,
        long_prefill_tokens: pool.room.long_prefill_tokens,
        long_prefills_max: pool.room.long_prefills_max.get(),
    };
    let state = StateConfig {
        room,
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
    let state = Arc::new(RoutingState::new(state, block_size));
    Pool::new(PoolParts {
        name: pool.name.to_string(),
        models: pool.models.iter().map(ToString::to_string).collect(),
        state: Arc::clone(&state),
        policies: PoolPolicies::new(PolicyParts {
            pool: pool.name.to_string(),
            fallback: pool.policy.fallback,
            host: store.host().clone(),
            state,
            state_dir: store.state().cloned(),
            metrics: metrics.clone(),
            threads: config.threads.get(),
        }),
        decisions: Decisions::new(DecisionsParts {
            queue: observer.queue(),
            sample_permille: config.decisions.sample_permille,
            receipts_max: config.decisions.receipts_max.get(),
            recorder: config.decisions.recording.as_ref().map(|recording| recorder(recording, &pool.name)),
            metrics: metrics.decisions.pool(&pool.name),
        }),
        prompts: PromptSource::new(
            PromptLimits {
                timeout: tokenize.timeout,
                entries_max: tokenize.cache_entries_max.get(),
                answer_bytes_max: config.limits.upstream.probe_bytes_max,
                prompt_bytes_max: tokenize.prompt_bytes_max,
            },
            Arc::clone(prompts),
            pool.tokenizer.is_some(),
        ),
        key: prompts.cache.key().clone(),
        warm: Arc::clone(warm),
        sessions: PoolSessions::new(&pool.sessions, prompts.cache.key()),
        responses: KeptResponses::new(&pool.responses, prompts.cache.key()),
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

fn recorder(recording: &Recording, pool: &str) -> Recorder {
    let limits = RecordingLimits {
        file_bytes_max: recording.file_bytes_max,
        files_max: recording.files_max.get(),
        per_second_max: recording.per_second_max.get(),
    };
    Recorder::new(recording.folder.clone(), pool.to_owned(), limits)
}

async fn activate(pool: &Arc<Pool>, config: &config::Pool, store: &Arc<PolicyStore>) -> anyhow::Result<()> {
    let (pool, choice, store) = (Arc::clone(pool), config.policy.clone(), Arc::clone(store));
    let start = move || policies::activate_at_start(&pool.policies, &pool.info(), &choice, &store);
    tokio::task::spawn_blocking(start).await?
}
