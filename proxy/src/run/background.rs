//! What goes on beside the requests: time passing, block sizes becoming known, tokenizers being loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rankwise_policy_host::PoolInfo;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::Config;
use crate::discovery;
use crate::policies::PolicyStore;
use crate::pool::{Pool, Pools};
use crate::prompts::PromptMode;

/// Between two looks at what only time changes: grace periods, policies out of service.
const TICK: Duration = Duration::from_millis(20);

/// Starts all of it.
pub(super) fn start(
    config: &Config,
    pools: &Arc<Pools>,
    store: &Arc<PolicyStore>,
    stop: &CancellationToken,
    tasks: &mut JoinSet<()>,
) {
    tasks.spawn(tick(Arc::clone(pools), stop.clone()));
    for (pool, config) in pools.iter().zip(&config.pools) {
        tasks.spawn(follow_unit(Arc::clone(pool), Arc::clone(store)));
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
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = interval.tick() => {}
        }
        for pool in pools.iter() {
            pool.state.advance(clock::now());
            pool.policies.retry(clock::now());
        }
    }
}

/// Policies are configured with the pool's block size, which the first worker tells.
async fn follow_unit(pool: Arc<Pool>, store: Arc<PolicyStore>) {
    loop {
        pool.unit_changes().await;
        let (pool, store) = (Arc::clone(&pool), Arc::clone(&store));
        let reconfigured = tokio::task::spawn_blocking(move || {
            let info = PoolInfo { model: pool.model(), block_size: pool.block_size().0 };
            pool.policies.reconfigure(&store, &info)
        });
        if let Ok(Err(error)) = reconfigured.await {
            tracing::error!(%error, "policy not configured for the workers' block size");
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
