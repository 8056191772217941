//! The composition root: from a config to a running proxy, and back down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::BlockSize;
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_policy_host::{FailureThresholds, HostConfig, PolicyHost, PoolInfo, ThreadPolicies};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::clock;
use crate::config::{AccessLog, Config, PolicySource};
use crate::discovery::{Roster, Supervision, WorkerStatus};
use crate::listen::{ConnectionLimits, Listener, RequestThreads};
use crate::metrics::Metrics;
use crate::policies::{BuiltIn, PolicyStore, PoolPolicies};
use crate::pool::{Pool, PoolLimits, PoolParts, Pools};
use crate::prompts::{PromptLimits, PromptMode, PromptSource};
use crate::request::{Proxy, Settings, Shared};
use crate::status::{self, Readiness};
use crate::upstream::{UpstreamPool, UpstreamTimes};

/// A proxy that runs until it is stopped.
pub struct Running {
    /// Where clients connect, in the order of the config.
    pub addresses: Vec<SocketAddr>,
    /// Where it is scraped.
    pub status_address: SocketAddr,
    /// Where it is administered.
    pub admin_address: SocketAddr,
    pools: Arc<Pools>,
    rosters: Arc<Vec<(Arc<Pool>, Roster)>>,
    threads: Arc<RequestThreads>,
    readiness: Arc<Readiness>,
    accepting: CancellationToken,
    tasks: JoinSet<()>,
    drain_timeout: Duration,
}

/// Between two looks at what only time changes: grace periods, policies out of service.
const TICK: Duration = Duration::from_millis(20);

/// Starts a proxy on the calling runtime and its own request threads.
///
/// # Errors
/// When an address cannot be bound, a policy does not fit or a tokenizer cannot be loaded.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    clock::now();
    let metrics = Metrics::new()?;
    let threads = config.threads.get();
    let host = PolicyHost::new(host_config(config, threads))?;
    let store = Arc::new(PolicyStore::new(host, config.policy_host.versions_max.get()));
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| anyhow::anyhow!("system randomness: {error}"))?;
    let key = HashKey::new(secret);
    let mut pools = Vec::with_capacity(config.pools.len());
    for pool in &config.pools {
        pools.push(Arc::new(make_pool(config, pool, &metrics, &key, threads)));
    }
    for (pool, config) in pools.iter().zip(&config.pools) {
        activate(pool, config, &store).await.with_context(|| format!("pool {}: policy", pool.name))?;
    }
    let pools = Arc::new(Pools::new(pools));
    let shared = Shared {
        pools: Arc::clone(&pools),
        admission: Arc::default(),
        settings: Arc::new(settings(config)),
        metrics: metrics.clone(),
    };
    let accepting = CancellationToken::new();
    let mut tasks = JoinSet::new();

    let mut listeners = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        listeners.push(Listener::bind(listener.address).await?);
    }
    let status_listener = Listener::bind(config.status.address).await?;
    let admin_listener = Listener::bind(config.admin.address).await?;
    let addresses: Vec<_> = listeners.iter().map(Listener::address).collect();
    let (status_address, admin_address) = (status_listener.address(), admin_listener.address());

    let threads = Arc::new(start_threads(config, &shared)?);
    for listener in listeners {
        tasks.spawn(listener.run(Arc::clone(&threads), accepting.clone()));
    }
    let rosters: Arc<Vec<_>> = Arc::new(
        pools
            .iter()
            .map(|pool| (Arc::clone(pool), Roster::new(config.limits.upstream.workers_max.get())))
            .collect(),
    );
    let supervise = Supervise::new(config);
    for ((pool, roster), config) in rosters.iter().zip(&config.pools) {
        for worker in &config.workers {
            roster.add(supervise.worker(pool, worker.clone()))?;
        }
    }
    let readiness = Arc::new(Readiness::new(Arc::clone(&rosters)));
    let scrape =
        status::Scrape { metrics: metrics.clone(), pools: Arc::clone(&pools), threads: Arc::clone(&threads) };
    tasks.spawn(status::serve(status_listener, scrape, Arc::clone(&readiness), accepting.clone()));
    let admin = Admin {
        pools: Arc::clone(&pools),
        rosters: Arc::clone(&rosters),
        store: Arc::clone(&store),
        supervise,
        address: admin_address,
        token: config.admin.token.clone(),
        component_bytes_max: config.policy_host.component_bytes_max,
    };
    tasks.spawn(admin::serve(admin_listener, admin, accepting.clone()));
    tasks.spawn(tick(Arc::clone(&pools), accepting.clone()));
    for pool in pools.iter() {
        tasks.spawn(follow_unit(Arc::clone(pool), Arc::clone(&store)));
    }
    for (pool, config) in pools.iter().zip(&config.pools) {
        if let Some(folder) = config.tokenizer.clone() {
            // Until it is loaded, requests are routed by load.
            tasks.spawn(load_tokenizer(Arc::clone(pool), folder));
        }
    }
    Ok(Running {
        addresses,
        status_address,
        admin_address,
        pools,
        rosters,
        threads,
        readiness,
        accepting,
        tasks,
        drain_timeout: config.shutdown.drain_timeout,
    })
}

impl Running {
    /// The pools.
    pub fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    /// Takes no new connections, lets requests in flight end, and ends everything. `cut` ends the waiting.
    pub async fn stop(mut self, cut: impl Future<Output = ()>) {
        self.readiness.drain();
        self.accepting.cancel();
        tokio::select! {
            () = self.threads.drain(self.drain_timeout) => {}
            () = cut => self.threads.cut(),
        }
        for (_, roster) in self.rosters.iter() {
            roster.stop().await;
        }
        self.tasks.shutdown().await;
    }

    /// Resolves when every worker has been tried once.
    pub async fn settled(&self) {
        while !self.rosters.iter().all(|(_, roster)| roster.is_settled()) {
            tokio::time::sleep(TICK).await;
        }
    }
}

/// Runs a proxy until a signal ends it. A second signal cuts what is still in flight.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    let running = start(config).await?;
    for address in &running.addresses {
        tracing::info!(%address, "serving");
    }
    tracing::info!(status = %running.status_address, admin = %running.admin_address, "listening");
    signal().await?;
    tracing::info!(within = ?running.drain_timeout, "draining");
    running
        .stop(async {
            if signal().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
        .await;
    Ok(())
}

/// Resolves at SIGINT or SIGTERM.
///
/// # Errors
/// When the handler cannot be installed.
pub async fn signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// What supervisors are made with; also for workers that the admin API adds.
#[derive(Clone)]
pub struct Supervise {
    upstream: crate::config::UpstreamLimits,
    events: crate::config::EventLimits,
    drain_timeout: Duration,
    numbers: Arc<crate::discovery::Numbers>,
}

impl Supervise {
    fn new(config: &Config) -> Self {
        Self {
            upstream: config.limits.upstream.clone(),
            events: config.limits.events.clone(),
            drain_timeout: config.shutdown.drain_timeout,
            numbers: Arc::default(),
        }
    }

    /// A supervisor for a worker.
    pub fn worker(&self, pool: &Arc<Pool>, config: crate::config::Worker) -> Supervision {
        Supervision {
            pool: Arc::clone(pool),
            config,
            probe: crate::discovery::ProbeLimits {
                bytes_max: self.upstream.probe_bytes_max,
                timeout: self.upstream.probe_timeout,
            },
            health_interval: self.upstream.probe_interval,
            load_interval: self.upstream.load_interval,
            events: self.events.clone(),
            drain_timeout: self.drain_timeout,
            numbers: Arc::clone(&self.numbers),
            status: Arc::new(WorkerStatus::default()),
        }
    }
}

fn make_pool(
    config: &Config,
    pool: &crate::config::Pool,
    metrics: &Metrics,
    key: &HashKey,
    threads: usize,
) -> Pool {
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
        policies: PoolPolicies::new(&pool.name, pool.policy.fallback, metrics.clone(), threads),
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
        limits: PoolLimits {
            queue_time_max: pool.limits.wait_timeout,
            queue_requests_max: pool.limits.wait_requests_max.get(),
            policy_headers: Vec::new(),
            first_byte_timeout: pool.limits.first_byte_timeout,
            silence_max: pool.limits.stream_idle_timeout,
            connections_per_worker_max: pool.limits.connections_per_target_max.get(),
            retries: pool.retries,
            retry_statuses: pool.retry_statuses.clone(),
        },
        metrics: metrics.clone(),
    })
}

/// The unit of block figures until the first worker tells its own.
const BLOCK_SIZE: BlockSize = BlockSize(16);

async fn activate(
    pool: &Arc<Pool>,
    config: &crate::config::Pool,
    store: &Arc<PolicyStore>,
) -> anyhow::Result<()> {
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

async fn load_tokenizer(pool: Arc<Pool>, folder: std::path::PathBuf) {
    match crate::discovery::load_tokenizer(folder.clone()).await {
        Ok(encoder) => {
            crate::discovery::log_tokenizer(&pool.name, &encoder, &folder);
            pool.prompts.set(PromptMode::Local { encoder, folder });
        }
        Err(error) => tracing::error!(pool = pool.name, folder = %folder.display(), error, "tokenizer"),
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

fn start_threads(config: &Config, shared: &Shared) -> anyhow::Result<RequestThreads> {
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

fn settings(config: &Config) -> Settings {
    let request = &config.limits.request;
    Settings {
        body_bytes_max: request.body_bytes_max,
        body_timeout: request.body_timeout,
        in_flight_max: request.in_flight_max.get(),
        bodies_bytes_max: request.bodies_bytes_max,
        expose_decision: config.expose_decision,
        access_log: config.access_log == AccessLog::Stderr,
    }
}

fn host_config(config: &Config, threads: usize) -> HostConfig {
    /// Active, previous, spares and history, for each pool and thread.
    const INSTANCES_PER_THREAD: usize = 4;
    let host = &config.policy_host;
    let failures = &host.failures;
    let instances = (threads * INSTANCES_PER_THREAD + 16) * config.pools.len().max(1);
    HostConfig {
        cpu_budget: host.cpu_budget,
        memory_bytes_max: host.memory_bytes_max,
        component_bytes_max: host.component_bytes_max,
        instances_max: u32::try_from(instances).unwrap_or(u32::MAX).clamp(64, 1024),
        failures: FailureThresholds {
            failures: failures.count.get(),
            permille: failures.permille.get(),
            window_ms: millis(failures.window),
            rearm_ms: millis(failures.rearm_after),
        },
        ..HostConfig::default()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
