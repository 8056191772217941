//! The composition root: from a config to a running proxy, and back down.

mod background;
mod pools;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rankwise_policy_host::PolicyHost;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::clock;
use crate::config::Config;
use crate::decisions::Observer;
use crate::discovery::{self, Roster, Source, Supervisors, WorkerSet};
use crate::listen::{Listener, ListenerOptions, RequestThreads};
use crate::metrics::Metrics;
use crate::policies::{PolicyStore, StateDir};
use crate::pool::Pools;
use crate::request::{Admission, Selector, Shared};
use crate::signals::Signals;
use crate::status::{self, Readiness};
use crate::warm::WarmIndex;

/// A proxy that runs until it is stopped.
pub struct Running {
    /// Where clients connect, in the order of the config.
    pub addresses: Vec<SocketAddr>,
    /// Where it is scraped.
    pub status_address: SocketAddr,
    /// Where it is administered.
    pub admin_address: SocketAddr,
    pools: Arc<Pools>,
    warm: Arc<WarmIndex>,
    rosters: Arc<[Roster]>,
    threads: Arc<RequestThreads>,
    readiness: Arc<Readiness>,
    accepting: CancellationToken,
    tasks: JoinSet<()>,
    drain_timeout: Duration,
    /// Dropped last: it takes what the others still have to tell.
    _observer: Observer,
}

/// Starts a proxy on the calling runtime and its own request threads.
///
/// # Errors
/// When an address cannot be bound or a policy does not fit.
pub async fn start(config: &Config) -> anyhow::Result<Running> {
    clock::now();
    let metrics = Metrics::new()?;
    let host = PolicyHost::new(settings::policy_host(config))?;
    let state_dir =
        config.state_dir.as_deref().map(StateDir::open).transpose().context("state_dir")?.map(Arc::new);
    let store = Arc::new(PolicyStore::new(host, config.policy_host.versions_max.get(), state_dir));
    let observer = Observer::start(config.decisions.queue_max.get()).context("start a thread")?;
    let warm = Arc::new(settings::warm_index(config, store.state())?);
    let prompts = Arc::new(settings::prompt_work(config, warm.key()));
    let common = pools::Shared {
        store: &store,
        observer: &observer,
        metrics: &metrics,
        prompts: &prompts,
        warm: &warm,
    };
    let pools = Arc::new(pools::make(config, &common).await?);
    let shared = Shared {
        pools: Arc::clone(&pools),
        admission: Arc::new(Admission::new(metrics.clone())),
        prompts: Arc::clone(&prompts),
        settings: Arc::new(settings::requests(config)),
        metrics: metrics.clone(),
    };

    let mut listeners = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        listeners.push(Listener::bind(listener.address).await?);
    }
    let status_listener = Listener::bind(config.status.address).await?;
    let admin_listener = Listener::bind(config.admin.address).await?;
    let addresses: Vec<_> = listeners.iter().map(Listener::address).collect();
    let (status_address, admin_address) = (status_listener.address(), admin_listener.address());

    let accepting = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let threads = Arc::new(settings::start_threads(config, &shared)?);
    for (listener, config) in listeners.into_iter().zip(&config.listeners) {
        let options = ListenerOptions { trust_pins: config.trust_pins };
        tasks.spawn(listener.run(Arc::clone(&threads), options, accepting.clone()));
    }
    let rosters = supervise(config, &pools);
    let readiness = Arc::new(Readiness::new(Arc::clone(&rosters)));
    let scrape = status::Scrape {
        metrics: metrics.clone(),
        pools: Arc::clone(&pools),
        threads: Arc::clone(&threads),
        prompts,
    };
    tasks.spawn(status::serve(status_listener, scrape, Arc::clone(&readiness), accepting.clone()));
    let admin = Admin {
        pools: Arc::clone(&pools),
        rosters: Arc::clone(&rosters),
        store: Arc::clone(&store),
        address: admin_address,
        token: config.admin.token.clone(),
        component_bytes_max: config.policy_host.component_bytes_max,
        selector: Selector::start(shared.clone(), config.limits.select.bookings_max.get())
            .context("start a thread")?,
        select_hold: config.limits.select.hold,
        body_bytes_max: config.limits.request.body_bytes_max,
    };
    tasks.spawn(admin::serve(admin_listener, admin, accepting.clone()));
    for (at, pool) in config.pools.iter().enumerate() {
        tasks.spawn(discovery::follow(Arc::clone(&rosters), at, pool.discovery.clone(), accepting.clone()));
    }
    background::start(config, &pools, &store, &warm, &accepting, &mut tasks);
    Ok(Running {
        addresses,
        status_address,
        admin_address,
        pools,
        warm,
        rosters,
        threads,
        readiness,
        accepting,
        tasks,
        drain_timeout: config.shutdown.drain_timeout,
        _observer: observer,
    })
}

/// A roster for each pool, with the config's workers.
fn supervise(config: &Config, pools: &Pools) -> Arc<[Roster]> {
    let supervisors = Supervisors::new(&config.limits, config.shutdown.drain_timeout);
    let mut rosters = Vec::with_capacity(config.pools.len());
    for (pool, config) in pools.iter().zip(&config.pools) {
        let roster = Roster::new(Arc::clone(pool), supervisors.clone());
        roster.begin(WorkerSet { source: Source::Config, workers: config.workers.clone() });
        rosters.push(roster);
    }
    rosters.into()
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
        // While the workers are still known.
        background::keep_index(&self.warm, &self.pools).await;
        for roster in self.rosters.iter() {
            roster.stop().await;
        }
        self.tasks.shutdown().await;
    }
}

/// Runs a proxy until a signal ends it. A second signal cuts what is still in flight.
///
/// # Errors
/// When it cannot start.
pub async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let running = tokio::select! {
        started = start(config) => started?,
        () = signals.next() => return Ok(()),
    };
    for address in &running.addresses {
        tracing::info!(%address, "serving");
    }
    tracing::info!(status = %running.status_address, admin = %running.admin_address, "listening");
    signals.next().await;
    tracing::info!(within = ?running.drain_timeout, "draining");
    running.stop(signals.next()).await;
    Ok(())
}
