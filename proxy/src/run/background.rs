//! What goes on beside the requests: time passing, block sizes becoming known, tokenizers being loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::discovery;
use crate::policies::{PolicyFile, PolicyStore};
use crate::pool::{Pool, Pools};
use crate::prompts::PromptMode;
use crate::warm::{Keepable, WarmIndex};

/// Between two looks at what only time changes: grace periods, policies out of service.
const TICK: Duration = Duration::from_millis(20);
/// Between two lessons of policies that learn.
const LESSON: Duration = Duration::from_millis(250);

/// Ticks between two looks at whether predictions come true: all ranks are asked.
const PARITY_TICKS: u32 = 10;

/// Starts all of it.
pub(super) fn start(
    config: &Config,
    pools: &Arc<Pools>,
    store: &Arc<PolicyStore>,
    warm: &Arc<WarmIndex>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    let watch_interval = config.policy_host.watch_interval;
    tasks.spawn(tick(Arc::clone(pools), stop.clone()));
    tasks.spawn(teach(Arc::clone(pools)));
    if warm.is_on() {
        tasks.spawn(keep_index_often(Arc::clone(warm), Arc::clone(pools), config.limits.index.save_interval));
    }
    for (pool, config) in pools.iter().zip(&config.pools) {
        tasks.spawn(follow_unit(Arc::clone(pool)));
        if let Some(file) = PolicyFile::of(&config.policy) {
            tasks.spawn(follow_file(Arc::clone(pool), Arc::clone(store), file, watch_interval));
        }
        if let Some(folder) = config.tokenizer.clone() {
            // Until it is loaded, requests are routed by load.
            tasks.spawn(load_tokenizer(Arc::clone(pool), folder));
        }
    }
}

/// What only time changes.
async fn tick(pools: Arc<Pools>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for ticks in (0..PARITY_TICKS).cycle() {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        for pool in pools.iter() {
            pool.state.advance(clock::now());
            pool.policies.retry(clock::now());
            if ticks == 0 {
                pool.parity.look(&pool.name, &pool.workers.current(), &pool.state);
            }
        }
    }
}

/// Tells policies that learn how requests ended.
async fn teach(pools: Arc<Pools>) {
    let mut interval = tokio::time::interval(LESSON);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let pools = Arc::clone(&pools);
        let teach = move || pools.iter().for_each(|pool| pool.policies.teach());
        if tokio::task::spawn_blocking(teach).await.is_err() {
            tracing::error!("teaching policies panicked");
        }
    }
}

/// What the index knows outlives a process that is killed.
async fn keep_index_often(warm: Arc<WarmIndex>, pools: Arc<Pools>, every: Duration) {
    let mut interval = tokio::time::interval_at(Instant::now() + every, every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        keep_index(&warm, &pools).await;
    }
}

/// Writes down what the index knows now.
pub(super) async fn keep_index(warm: &Arc<WarmIndex>, pools: &Arc<Pools>) {
    let (warm, pools) = (Arc::clone(warm), Arc::clone(pools));
    let saved = tokio::task::spawn_blocking(move || {
        warm.save(pools.iter().map(|pool| Keepable {
            name: &pool.name,
            workers: &pool.workers,
            state: &pool.state,
        }))
    });
    if let Ok(Err(error)) = saved.await {
        tracing::error!(%error, "the index is not kept");
    }
}

/// Policies are configured with the pool's block size, which the first worker tells.
async fn follow_unit(pool: Arc<Pool>) {
    loop {
        pool.unit_changes().await;
        let pool = Arc::clone(&pool);
        let reconfigured = tokio::task::spawn_blocking(move || pool.policies.reconfigure(&pool.info()));
        if let Ok(Err(error)) = reconfigured.await {
            tracing::error!(%error, "policy not configured for the workers' block size");
        }
    }
}

/// Looks now and then at the policy file that the config names.
async fn follow_file(pool: Arc<Pool>, store: Arc<PolicyStore>, mut file: PolicyFile, every: Duration) {
    let mut interval = tokio::time::interval(every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let (pool, store) = (Arc::clone(&pool), Arc::clone(&store));
        let look = move || {
            file.look(&pool.policies, &pool.info(), &store);
            file
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(looked_at) => file = looked_at,
            Err(_) => return,
        }
    }
}

async fn load_tokenizer(pool: Arc<Pool>, folder: PathBuf) {
    match discovery::load_tokenizer(folder.clone()).await {
        Ok(encoder) => {
            discovery::log_tokenizer(&pool.name, &encoder, &folder);
            pool.prompts.set(PromptMode::Local { encoder, folder });
        }
        Err(error) => {
            tracing::error!(pool = pool.name, folder = %folder.display(), error, "tokenizer");
            // Still an obstacle to readiness: what config asks for is not there.
            let reason = "the tokenizer cannot be loaded, the log says why";
            pool.prompts.set(PromptMode::None { reason, undecided: true });
        }
    }
}
