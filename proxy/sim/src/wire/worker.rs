//! One worker: its sockets, its ranks' feeds, its logs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrivals::{Arrival, Log, Served};
use super::clock::Clock;
use super::driver::{GroupDriver, Ticket};
use super::faults::{Fault, Faults};
use super::feed::RankFeed;
use super::io::{Breaker, Connection};
use super::text::Text;
use super::transfer::{Role, Transfers};
use super::{http, metrics, sockets};
use crate::EngineWire;
use crate::error::SimError;
use crate::model::core::{EngineCore, RankStats, Refusal};
use crate::model::pool::CachedBlock;
use crate::model::sequence::Prompt;
use crate::spec::FleetSpec;

/// How long a restarted worker tries to get its ports back.
const REBIND_ATTEMPTS: u32 = 200;
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// One worker of a fleet.
pub(crate) struct Worker {
    pub(super) index: usize,
    pub(super) spec: Arc<FleetSpec>,
    pub(super) clock: Clock,
    /// Who runs each rank, and its place there.
    ranks: Vec<(Arc<GroupDriver>, usize)>,
    pub(super) feeds: Vec<Arc<RankFeed>>,
    pub(super) faults: Arc<Faults>,
    pub(super) text: Arc<Text>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) arrivals: Log<Arrival>,
    pub(super) served: Log<Served>,
    pub(super) created: u64,
    arrivals_so_far: AtomicU64,
    next_rank: AtomicUsize,
    stale_metrics: Mutex<Option<String>>,
    ports: Mutex<Ports>,
    fleet: CancellationToken,
    refuse: watch::Sender<bool>,
    running: tokio::sync::Mutex<Option<Running>>,
}

/// What a worker is made of.
pub(super) struct WorkerParts {
    pub(super) index: usize,
    pub(super) spec: Arc<FleetSpec>,
    pub(super) clock: Clock,
    pub(super) ranks: Vec<(Arc<GroupDriver>, usize)>,
    pub(super) feeds: Vec<Arc<RankFeed>>,
    pub(super) faults: Arc<Faults>,
    pub(super) text: Arc<Text>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) fleet: CancellationToken,
}

/// Where a worker listens; 0 before its first start if any will do.
#[derive(Clone, Debug)]
struct Ports {
    http: u16,
    events: Vec<u16>,
    replays: Vec<u16>,
}

/// The sockets of a started worker and the tasks behind them.
struct Running {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Worker {
    pub(super) fn new(parts: WorkerParts) -> Self {
        let WorkerParts { index, spec, clock, ranks, feeds, faults, text, transfers, fleet } = parts;
        let first = spec.ports.map(|first| usize::from(first) + index * spec.ports_per_worker());
        // In range: the spec was checked.
        let port = |at: usize| first.map_or(0, |first| (first + at) as u16);
        let ports = Ports {
            http: port(0),
            events: (0..spec.ranks).map(|rank| port(1 + rank)).collect(),
            replays: (0..spec.ranks).map(|rank| port(1 + spec.ranks + rank)).collect(),
        };
        Self {
            index,
            arrivals: Log::new(spec.arrivals_max),
            served: Log::new(spec.arrivals_max),
            spec,
            clock,
            ranks,
            feeds,
            faults,
            text,
            transfers,
            created: super::feed::unix_seconds() as u64,
            arrivals_so_far: AtomicU64::new(0),
            next_rank: AtomicUsize::new(0),
            stale_metrics: Mutex::default(),
            ports: Mutex::new(ports),
            fleet,
            refuse: watch::channel(false).0,
            running: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn next_arrival(&self) -> u64 {
        self.arrivals_so_far.fetch_add(1, Relaxed)
    }

    pub(super) fn role(&self) -> Role {
        match self.spec.prefill_workers {
            0 => Role::Whole,
            first if self.index < first => Role::Prefill,
            _ => Role::Decode,
        }
    }

    /// Where SGLang says that its bootstrap server listens; nobody does here.
    pub(super) fn bootstrap_port(&self) -> u16 {
        8998 + self.index as u16
    }

    pub(super) fn http_port(&self) -> u16 {
        self.ports.lock().http
    }

    pub(super) fn event_port(&self, rank: usize) -> Option<u16> {
        self.ports.lock().events.get(rank).copied()
    }

    pub(super) fn replay_port(&self, rank: usize) -> Option<u16> {
        self.ports.lock().replays.get(rank).copied()
    }

    /// What its first rank is called where ranks have global numbers.
    pub(super) fn start_rank(&self) -> usize {
        self.spec.start_rank(self.index)
    }

    pub(super) fn fingerprint(&self) -> String {
        format!("vllm-0.32.0-dp{}-{:08x}", self.spec.ranks, self.spec.seed as u32)
    }

    /// The engine's own balancer: fewest requests, in turn among equals.
    pub(super) fn least_loaded_rank(&self) -> usize {
        let stats = self.stats();
        let start = self.next_rank.fetch_add(1, Relaxed);
        (0..stats.len())
            .map(|offset| (start + offset) % stats.len())
            .min_by_key(|&rank| stats[rank].running + stats[rank].waiting)
            .unwrap_or(0)
    }

    pub(super) fn submit(&self, rank: usize, prompt: Prompt) -> Result<Ticket, Refusal> {
        let (driver, place) = self.ranks.get(rank).ok_or(Refusal::Full)?;
        driver.submit(*place, prompt)
    }

    pub(super) fn stats(&self) -> Vec<RankStats> {
        let stats = |(driver, place): &(Arc<GroupDriver>, usize)| driver.rank(*place, EngineCore::stats);
        self.ranks.iter().map(|rank| stats(rank).unwrap_or_default()).collect()
    }

    pub(super) fn cache(&self, rank: usize) -> Vec<CachedBlock> {
        let cache = self.ranks.get(rank).and_then(|(driver, place)| driver.rank(*place, EngineCore::cache));
        cache.unwrap_or_default()
    }

    /// Clears every idle rank; false if one was not idle.
    pub(super) fn clear_caches(&self) -> bool {
        // Every rank is asked, whatever the others answer.
        self.ranks.iter().filter(|(driver, place)| !driver.clear_cache(*place)).count() == 0
    }

    pub(super) fn stale_metrics(&self) -> Option<String> {
        self.stale_metrics.lock().clone()
    }

    pub(super) fn fault(&self, fault: Fault) {
        if self.faults.set(fault) {
            return;
        }
        match fault {
            Fault::RefuseConnections => {
                self.refuse.send_replace(true);
            }
            Fault::DropEvents(batches) => self.feeds.iter().for_each(|feed| feed.drop_next(batches)),
            Fault::StaleMetrics => {
                let page = metrics::page(&self.spec, self.start_rank(), &self.stats());
                *self.stale_metrics.lock() = Some(page);
            }
            _ => {}
        }
    }

    pub(super) fn heal(&self) {
        self.faults.heal();
        self.refuse.send_replace(false);
        self.feeds.iter().for_each(|feed| feed.drop_next(0));
        *self.stale_metrics.lock() = None;
    }

    pub(super) fn event_sources(&self) -> Value {
        let mut sources = Map::new();
        if self.spec.publishes() {
            let ports = self.ports.lock().clone();
            for (rank, (events, replay)) in ports.events.iter().zip(&ports.replays).enumerate() {
                let source = json!({
                    "enable_kv_cache_events": true, "publisher": "zmq",
                    "endpoint": format!("tcp://127.0.0.1:{events}"),
                    "replay_endpoint": format!("tcp://127.0.0.1:{replay}"),
                    "buffer_steps": self.spec.buffer_steps, "hwm": super::feed::QUEUE_BATCHES,
                    "max_queue_size": super::feed::QUEUE_BATCHES, "topic": self.spec.topic,
                });
                sources.insert((self.start_rank() + rank).to_string(), source);
            }
        }
        sources.into()
    }

    /// Opens the sockets; nothing if they are open. A second start takes the same ports.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(), SimError> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let started = Running { cancel: self.fleet.child_token(), tasks: TaskTracker::new() };
        let mut ports = self.ports.lock().clone();
        let what = format!("worker {}", self.index);
        let http = listen_again(&mut ports.http, &what).await?;
        if self.spec.engine != EngineWire::Vllm {
            // Their caches are made by clearing them, which the first batch tells.
            self.clear_caches();
        }
        if self.spec.publishes() {
            let listeners = self.event_listeners(&mut ports, &what).await?;
            for (feed, listeners) in self.feeds.iter().zip(listeners) {
                self.start_feed(&started, feed, listeners).await?;
            }
        }
        *self.ports.lock() = ports;
        let failed = |source| SimError::Io { what: format!("{what}: listen"), source };
        http.set_nonblocking(true).map_err(failed)?;
        let http = TcpListener::from_std(http).map_err(failed)?;
        let (worker, tasks, cancel) = (Arc::clone(self), started.tasks.clone(), started.cancel.clone());
        started.spawn(async move { worker.accept(http, tasks, cancel).await });
        *running = Some(started);
        Ok(())
    }

    /// Per rank the listeners of its events and of its replays.
    async fn event_listeners(
        &self,
        ports: &mut Ports,
        what: &str,
    ) -> Result<Vec<(std::net::TcpListener, std::net::TcpListener)>, SimError> {
        let ranks = self.spec.ranks;
        if self.spec.engine != EngineWire::Vllm && ports.events.contains(&0) {
            // They tell the first port of each kind: the others follow.
            let (mut events, first) = sockets::listen_in_a_row(2 * ranks, what)?;
            for rank in 0..ranks as u16 {
                ports.events[usize::from(rank)] = first + rank;
                ports.replays[usize::from(rank)] = first + ranks as u16 + rank;
            }
            let replays = events.split_off(ranks);
            return Ok(events.into_iter().zip(replays).collect());
        }
        let mut listeners = Vec::with_capacity(ranks);
        for (events, replay) in ports.events.iter_mut().zip(&mut ports.replays) {
            listeners.push((listen_again(events, what).await?, listen_again(replay, what).await?));
        }
        Ok(listeners)
    }

    async fn start_feed(
        &self,
        started: &Running,
        feed: &Arc<RankFeed>,
        (events, replay): (std::net::TcpListener, std::net::TcpListener),
    ) -> Result<(), SimError> {
        let what = format!("worker {} rank {}", self.index, feed.rank());
        let topic = Bytes::from(self.spec.topic.clone());
        let publisher = sockets::publisher(events, &what).await?;
        let replayer = sockets::replayer(replay, &what).await?;
        started.spawn(sockets::publish(publisher, feed.connect(), topic.clone()));
        started.spawn(sockets::replay(replayer, Arc::clone(feed), Arc::clone(&self.faults), topic));
        Ok(())
    }

    /// The process ends: connections break, sequences and caches are lost, sequence numbers begin anew.
    pub(super) async fn stop(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        running.cancel.cancel();
        running.tasks.close();
        running.tasks.wait().await;
        for ((driver, place), feed) in self.ranks.iter().zip(&self.feeds) {
            driver.restart(*place);
            feed.restart();
        }
    }

    async fn accept(self: Arc<Self>, first: TcpListener, tasks: TaskTracker, cancel: CancellationToken) {
        let mut refuse = self.refuse.subscribe();
        let places = Arc::new(Semaphore::new(self.spec.connections_max));
        let mut listener = Some(first);
        loop {
            if *refuse.borrow_and_update() {
                listener = None;
            } else if listener.is_none() {
                listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, self.http_port())).await.ok();
                if listener.is_none() {
                    tokio::time::sleep(REBIND_PAUSE).await;
                    continue;
                }
            }
            let Some(open) = &listener else {
                if refuse.changed().await.is_err() {
                    return;
                }
                continue;
            };
            let stream = tokio::select! {
                accepted = open.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::debug!(%error, "connection not accepted");
                        tokio::time::sleep(REBIND_PAUSE).await;
                        continue;
                    }
                },
                changed = refuse.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY not set");
            }
            let worker = Arc::clone(&self);
            let served = async move {
                let breaker = Breaker::default();
                let io = TokioIo::new(Connection::new(stream, breaker.clone()));
                let service =
                    service_fn(move |request| http::handle(Arc::clone(&worker), breaker.clone(), request));
                if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
                    tracing::debug!(%error, "connection ended");
                }
                drop(place);
            };
            let cancel = cancel.clone();
            tasks.spawn(async move { cancel.run_until_cancelled(served).await });
        }
    }
}

impl Running {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move { cancel.run_until_cancelled(task).await });
    }
}

/// Listens on a port, waiting for a socket of a former life to let go of it; port 0 becomes the one that was free.
async fn listen_again(port: &mut u16, what: &str) -> Result<std::net::TcpListener, SimError> {
    let mut attempts = 0;
    loop {
        match sockets::listen(*port, what) {
            Ok((listener, bound)) => {
                *port = bound;
                return Ok(listener);
            }
            Err(_) if attempts < REBIND_ATTEMPTS => {
                attempts += 1;
                tokio::time::sleep(REBIND_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
