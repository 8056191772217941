//! A described worker becomes targets, feeds and a place in the table; and stops being all that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use rankwise_core::ids::{BlockSize, Millis, WorkerId};
use rankwise_core::target::{Availability, Condition, Phases, TargetSpec};
use rankwise_engines::Engine;
use rankwise_engines::disaggregation::{Role, Transfer};
use rankwise_engines::discovery::EventEndpoints;
use rankwise_engines::events::{Skipped, Translation};
use rankwise_engines::feed::{Feed, FeedConfig, FeedCounters};
use rankwise_engines::trtllm::drain::{Drain, DrainConfig};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::description::Description;
use super::frontends::Frontends;
use super::groups::{Groups, WorkerGroups};
use crate::clock;
use crate::config;
use crate::feeds::{
    self, ColdRank, DrainClaims, DrainFeed, DrainedTarget, EventFeed, EventSource, LastHeard, LoadFeed,
    NAMESPACE_MODEL, PromiseSettings, Promises,
};
use crate::health::{HealthSettings, RankHealth};
use crate::pool::Pool;
use crate::upstream::{KeptOrigin, Origin};
use crate::workers::{Rank, Worker};

/// What is running because of a worker.
pub(super) struct Registration {
    pub(super) worker: Arc<Worker>,
    pub(super) description: Description,
    feeds: JoinSet<()>,
    /// Tells each rank's feed that what it had indexed is gone.
    emptied: Vec<Arc<Notify>>,
    stop: CancellationToken,
    /// A shared group lives as long as a worker is in it.
    _groups: WorkerGroups,
}

/// Bounds of what is started because of a worker.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Of event feeds.
    pub(super) events: &'a config::EventLimits,
    /// Of its ranks' health.
    pub(super) health: &'a HealthSettings,
    /// When a rank's promises are broken too often.
    pub(super) promises: PromiseSettings,
}

/// What is never given twice in a process.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    workers: AtomicU32,
    groups: Groups,
    drains: Arc<DrainClaims>,
    /// Who is who behind Dynamo's frontends.
    pub(super) frontends: Arc<Frontends>,
}

impl Numbers {
    /// The next worker's.
    pub(super) fn worker(&self) -> WorkerId {
        WorkerId(self.workers.fetch_add(1, Relaxed))
    }
}

/// The label `dp_rank` of requests that were sent to a worker without naming a rank.
const ENGINE_CHOOSES: &str = "engine";

/// Tokens per block where neither engine nor config tell: only a unit for load figures then.
const BLOCK_SIZE_UNKNOWN: BlockSize = BlockSize(16);

impl Registration {
    /// Adds the worker to the pool and starts its feeds. It may not be picked yet.
    pub(super) fn new(
        pool: &Arc<Pool>,
        numbers: &Numbers,
        id: WorkerId,
        config: &config::Worker,
        description: Description,
        alarm: Arc<Notify>,
        Bounds { events, health, promises }: Bounds<'_>,
    ) -> Self {
        let stop = CancellationToken::new();
        let block_size = description.block_size.unwrap_or(BLOCK_SIZE_UNKNOWN);
        pool.first_block_size(block_size);
        let count = u32::try_from(description.ranks.len()).unwrap_or(u32::MAX);
        let groups = numbers.groups.of(&pool.name, config.group.as_ref(), count);
        let transfer = description.engine.transfer();
        let closed = transfer.filter(|_| description.role != Role::Aggregated).map(Transfer::closed);
        let phases = transfer.map_or(Phases::WHOLE, |transfer| transfer.phases(description.role));
        let mut feeds = JoinSet::new();
        let mut emptied = Vec::new();
        let mut ranks = Vec::with_capacity(description.ranks.len());
        for rank in &description.ranks {
            let pin = description.pinning.pin(rank.header_rank, count);
            let key = format!("{}/{}", config.name, rank.header_rank);
            let target = pool.state.add_target(TargetSpec {
                worker: id,
                rank: rank.header_rank,
                group: groups.number(rank.group),
                key: twox_hash::XxHash3_64::oneshot(key.as_bytes()) as u32,
                block_size,
                capacity_blocks: rank.capacity_blocks,
                pinnable: pin.is_some(),
                phases,
            });
            let lag_max = u64::try_from(events.lag_max.as_millis()).unwrap_or(u64::MAX);
            target.feed.set_late_after_ms(lag_max);
            let metrics = pool.shared_metrics.target(&pool.name, &config.name, &rank.header_rank.to_string());
            let mut condition = if pin.is_none() { Condition::NOT_PINNABLE } else { Condition::default() };
            let mut has_events = false;
            let mut position = None;
            let promises = Arc::new(Promises::new(promises));
            let heals = pool.heal_cold_roots && description.engine == Engine::Vllm && rank.events.is_some();
            let cold = heals.then(|| Arc::new(ColdRank::new()));
            if let (Some(sockets), Some(block_size)) = (&rank.events, description.block_size) {
                let translation =
                    Translation { key: pool.key.clone(), model: NAMESPACE_MODEL.to_owned(), block_size };
                let settings = feed_config(rank.global_rank, sockets, events);
                let mut feed = Feed::new(settings, translation, clock::now());
                let kept = pool.warm.take(&pool.name, &config.name, rank.header_rank.0);
                let kept = kept.filter(|kept| kept.image.block_size() == block_size);
                if let Some(kept) = &kept {
                    feed.resume(&kept.checkpoint);
                }
                position = pool.warm.is_on().then(Arc::default);
                let told_emptied = Arc::<Notify>::default();
                emptied.push(Arc::clone(&told_emptied));
                let feed = EventFeed {
                    pool: Arc::clone(pool),
                    target: Arc::clone(&target),
                    source: EventSource {
                        endpoint: sockets.live.clone(),
                        replay: sockets.replay.clone(),
                        topic: sockets.topic.clone(),
                    },
                    feed,
                    kept: kept.map(|kept| kept.image),
                    position: position.clone(),
                    metrics: metrics.clone(),
                    place: format!("worker {} rank {}", config.name, rank.header_rank),
                    connect_timeout: events.timeout,
                    reported: FeedCounters::default(),
                    reported_skips: Skipped::default(),
                    cold: cold.clone(),
                    copies_counted: true,
                    promises: Arc::clone(&promises),
                    emptied: told_emptied,
                    alarm: Arc::clone(&alarm),
                    late: false,
                };
                has_events = true;
                feeds.spawn(feeds::run(feed, stop.clone()));
            } else if description.drained_in().is_some() {
                has_events = true;
            } else {
                // Nothing tells what it holds, so that is learned from what it is sent.
                pool.state.learn_from_bookings(target.id);
                condition = condition.and(Condition::APPROXIMATE);
                target.feed.set_trusted(true);
            }
            let heard = Arc::<LastHeard>::default();
            if let Some(source) = rank.load.clone() {
                let feed = LoadFeed {
                    target: Arc::clone(&target),
                    source,
                    heard: Arc::clone(&heard),
                    metrics: metrics.clone(),
                    place: format!("worker {} rank {}", config.name, rank.header_rank),
                    connect_timeout: events.timeout,
                };
                feeds.spawn(feeds::run_load(feed, stop.clone()));
            }
            let pin = pin.unwrap_or_else(|| description.pinning.left_open());
            let weight = config.weight_permille.get();
            let health = RankHealth::new(Arc::clone(&target), weight, condition, health, clock::now());
            ranks.push(Rank {
                target,
                health: Arc::new(health),
                has_events,
                pin: pin.into(),
                metrics,
                cold,
                position,
                promises,
                heard,
            });
        }
        if let Some(block_size) = description.drained_in() {
            let claims = Arc::clone(&numbers.drains);
            let feed = drain_feed(pool, config, &ranks, block_size, claims, Arc::clone(&alarm), events);
            feeds.spawn(feeds::run_drain(feed, stop.clone()));
        }
        let worker = Arc::new(Worker {
            id,
            name: header_value(&config.name),
            address: config.url.authority(),
            authority: header_value(&config.url.authority()),
            headers: config.headers.iter().cloned().chain(description.headers()).collect::<HeaderMap>(),
            engine: description.engine,
            role: description.role,
            closed: closed.unwrap_or_default(),
            bootstrap: (config.url.host().to_owned(), description.bootstrap_port),
            left_open: description.pinning.left_open().into(),
            ranks,
            models: description.models.clone(),
            adapters: description.adapters.clone(),
            alarm,
            metrics: pool.shared_metrics.target(&pool.name, &config.name, ENGINE_CHOOSES),
            connections: Arc::default(),
        });
        pool.workers.put(Arc::clone(&worker));
        Self { worker, description, feeds, emptied, stop, _groups: groups }
    }

    /// Says how it stands with it. `slowly`: its ranks come to their share over time.
    pub(super) fn set_availability(&self, pool: &Pool, availability: Availability, slowly: bool) {
        for rank in &self.worker.ranks {
            rank.health.worker_is(availability, slowly, clock::now());
        }
        // Somebody may be waiting for a rank to come back.
        pool.load_changed();
    }

    /// The engine's process is gone, as far as can be seen: nothing that was booked or cached there exists. Should it be there all the
    /// same, behind a port that was closed for a moment, what it holds is read again; where it is drained nothing can be, and the
    /// events tell themselves by which process they are.
    pub(super) fn restarted(&self, pool: &Pool) {
        let is_drained = self.description.drained_in().is_some();
        for rank in &self.worker.ranks {
            if is_drained {
                pool.state.void_bookings(rank.target.id);
            } else {
                pool.state.restart_target(rank.target.id);
            }
            rank.target.engine.forget();
            rank.health.restarted(clock::now());
        }
        for feed in &self.emptied {
            feed.notify_one();
        }
    }

    /// Whatever its ranks have shown, they have to show it again.
    pub(super) fn unproven(&self) {
        for rank in &self.worker.ranks {
            rank.health.restarted(clock::now());
        }
    }

    /// Has those ranks prove themselves whose events do not tell of what they were sent: it may go elsewhere.
    pub(super) fn doubt_unconfirmed(&self, pool: &Pool) {
        for rank in self.worker.ranks.iter().filter(|rank| rank.has_events) {
            if pool.state.pending_report(rank.target.id).is_some_and(|report| report.weight_zeroed) {
                rank.health.doubt(clock::now());
            }
        }
    }

    /// Takes the models that it serves now: adapters are loaded and unloaded while it runs.
    pub(super) fn take_models(&self, pool: &Pool, description: &Description) {
        let known = pool.workers.current().get(self.worker.id).cloned();
        let is_news = |known: &Arc<Worker>| {
            (&known.models, &known.adapters) != (&description.models, &description.adapters)
        };
        if let Some(known) = known.filter(is_news) {
            tracing::info!(pool = pool.name, worker = known.name(), models = ?description.models, "models changed");
            let (models, adapters) = (description.models.clone(), description.adapters.clone());
            pool.workers.put(Arc::new(Worker { models, adapters, ..Worker::clone(&known) }));
        }
    }

    /// Takes the engine's report of each rank that does not tell by itself, and sooner.
    pub(super) fn take_load(&self, page: &[u8], now: Millis) {
        let reports = self.description.engine.load_reports(page);
        for (rank, description) in self.worker.ranks.iter().zip(&self.description.ranks) {
            if rank.heard.is_recent(now) {
                continue;
            }
            if let Some(report) = reports.get(&description.global_rank) {
                rank.target.engine.set(*report, now);
            }
        }
    }

    /// Lets requests in flight end; new ones go elsewhere.
    pub(super) async fn drain(&self, pool: &Pool, within: Duration) {
        for rank in &self.worker.ranks {
            rank.health.worker_is(Availability::Draining, false, clock::now());
        }
        let busy = || self.worker.connections.load(Relaxed) > 0 && self.is_booked(pool);
        let ended = async {
            while busy() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!(
                pool = pool.name,
                worker = self.worker.name(),
                "taken out with requests in flight"
            );
        }
    }

    fn is_booked(&self, pool: &Pool) -> bool {
        let running = |rank: &Rank| {
            let load = pool.state.load(rank.target.id).unwrap_or_default();
            load.running + load.worker_running > 0
        };
        self.worker.ranks.iter().any(running)
    }

    /// Takes the worker out: no target, booking, index entry or series of it is left.
    pub(super) async fn end(mut self, pool: &Pool) {
        self.stop.cancel();
        while self.feeds.join_next().await.is_some() {}
        pool.workers.remove(self.worker.id);
        for rank in &self.worker.ranks {
            pool.state.remove_target(rank.target.id);
            pool.shared_metrics.forget_target(
                &pool.name,
                self.worker.name(),
                &rank.target.spec.rank.to_string(),
            );
        }
        pool.shared_metrics.forget_target(&pool.name, self.worker.name(), ENGINE_CHOOSES);
        pool.load_changed();
    }
}

/// One feed for all ranks of a worker.
fn drain_feed(
    pool: &Arc<Pool>,
    config: &config::Worker,
    ranks: &[Rank],
    block_size: BlockSize,
    claims: Arc<DrainClaims>,
    alarm: Arc<Notify>,
    limits: &config::EventLimits,
) -> DrainFeed {
    let translation = Translation { key: pool.key.clone(), model: NAMESPACE_MODEL.to_owned(), block_size };
    let drain = DrainConfig {
        capacities: ranks.iter().map(|rank| rank.target.spec.capacity_blocks).collect(),
        translation,
        // Together no more than the index, which would forget them anyway.
        held_max: pool.state.config().index_blocks_max / ranks.len().max(1),
    };
    let origin = Origin {
        address: config.url.authority(),
        headers: config.headers.iter().cloned().collect(),
        connect_timeout: limits.timeout,
    };
    DrainFeed {
        pool: Arc::clone(pool),
        ranks: ranks
            .iter()
            .map(|rank| {
                DrainedTarget::new(Arc::clone(&rank.target), rank.metrics.clone(), Arc::clone(&rank.promises))
            })
            .collect(),
        address: origin.address.clone(),
        origin: KeptOrigin::new(origin),
        claims,
        drain: Drain::new(&drain, clock::now()),
        place: format!("worker {}", config.name),
        limits: limits.clone(),
        alarm,
    }
}

fn feed_config(global_rank: u32, sockets: &EventEndpoints, limits: &config::EventLimits) -> FeedConfig {
    let mut settings = FeedConfig::new(global_rank, &sockets.topic, sockets.replay.is_some());
    settings.replay_timeout_ms = u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX);
    settings.buffered_messages_max = limits.batches_max.get();
    settings.limits.payload_bytes_max = limits.message_bytes_max;
    settings
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unnamed"))
}
