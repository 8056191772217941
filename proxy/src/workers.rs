//! The workers of a pool: which there are and how they are spoken to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, HeaderValue};
use rankwise_core::ids::{BlockSize, WorkerId};
use rankwise_core::target::Target;
use rankwise_engines::disaggregation::{Field, Role};
use rankwise_prompt::Api;
use tokio::sync::Notify;

use crate::feeds::{ColdRank, FeedPosition, LastHeard, Promises};
use crate::health::RankHealth;
use crate::metrics::TargetMetrics;

/// One worker as the request path needs it. Replaced as a whole when the worker is discovered anew.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its number.
    pub id: WorkerId,
    /// Its name in config, metrics and headers.
    pub name: HeaderValue,
    /// `host:port` to connect to.
    pub address: String,
    /// The value of `host` on requests to it.
    pub authority: HeaderValue,
    /// Sent with every request to it, over the client's own.
    pub headers: HeaderMap,
    /// What speaks there.
    pub engine: rankwise_engines::Engine,
    /// What it does of a request.
    pub role: Role,
    /// What is written into a whole request, so that it is one.
    pub closed: Vec<Field>,
    /// Where its bootstrap server listens, if it has one.
    pub bootstrap: (String, u16),
    /// Its ranks.
    pub ranks: Vec<Rank>,
    /// What is written where the engine is to choose the rank.
    pub left_open: Pin,
    /// Models it serves, adapters included.
    pub models: Vec<String>,
    /// Those of them that are LoRA adapters.
    pub adapters: Vec<String>,
    /// Wakes the worker's supervisor.
    pub alarm: Arc<Notify>,
    /// Counters of requests whose rank its engine chose.
    pub metrics: TargetMetrics,
    /// Connections to it, over all threads.
    pub connections: Arc<AtomicUsize>,
}

/// One rank of a worker.
#[derive(Clone, Debug)]
pub struct Rank {
    /// Its target.
    pub target: Arc<Target>,
    /// Whether it may be picked.
    pub health: Arc<RankHealth>,
    /// Whether it tells KV events.
    pub has_events: bool,
    /// What is written so that it serves; where it cannot be named, what is written for its worker.
    pub pin: Pin,
    /// Its counters.
    pub metrics: TargetMetrics,
    /// Whether its roots are cold; none where they are left so.
    pub cold: Option<Arc<ColdRank>>,
    /// Where its feed stands; none where what it holds is not kept beyond the process.
    pub position: Option<Arc<FeedPosition>>,
    /// Whether it keeps what is promised of it.
    pub promises: Arc<Promises>,
    /// When it told its load by itself.
    pub heard: Arc<LastHeard>,
}

/// What is written into a request so that it goes where it was decided to.
#[derive(Clone, Debug, Default)]
pub struct Pin {
    /// A header; none where the worker has one rank, or is told otherwise.
    pub header: Option<(HeaderName, HeaderValue)>,
    /// Fields at the end of the body: name and JSON.
    pub fields: Vec<(&'static str, String)>,
}

impl From<rankwise_engines::pin::Pin> for Pin {
    fn from(pin: rankwise_engines::pin::Pin) -> Self {
        // A decimal number is a header value.
        let header = pin.header.and_then(|(name, value)| {
            Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
        });
        Self { header, fields: pin.fields }
    }
}

impl Worker {
    /// The name as text.
    pub fn name(&self) -> &str {
        self.name.to_str().unwrap_or_default()
    }

    /// Whether a request of this API is served by the rank that it names; that of the only rank always is.
    pub fn takes_rank(&self, api: Api) -> bool {
        let named = || self.ranks.iter().all(|rank| rank.target.spec.pinnable);
        self.ranks.len() == 1 || (self.engine.takes_rank_on(api.path()) && named())
    }

    /// Counts one more connection to it; `None` if there are `max` already.
    pub fn open_connection(&self, max: usize) -> Option<OpenConnection> {
        let open = OpenConnection(Arc::clone(&self.connections));
        (self.connections.fetch_add(1, Relaxed) < max).then_some(open)
    }

    /// Something went wrong there: have the supervisor look.
    pub fn look_after(&self) {
        self.alarm.notify_one();
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub struct OpenConnection(Arc<AtomicUsize>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// All workers of a pool, immutable: readers take the table as it is.
#[derive(Debug, Default)]
pub struct WorkerTable {
    /// By number.
    workers: Vec<Arc<Worker>>,
    block_sizes: Vec<BlockSize>,
    /// Only APIs and workers of which there are some.
    choosing: Vec<(Api, Vec<WorkerId>)>,
    prefills: bool,
}

impl WorkerTable {
    /// Of these.
    pub fn new(workers: impl IntoIterator<Item = Arc<Worker>>) -> Self {
        let mut workers: Vec<_> = workers.into_iter().collect();
        workers.sort_by_key(|worker| worker.id);
        let ranks = workers.iter().flat_map(|worker| &worker.ranks);
        let mut block_sizes: Vec<_> = ranks.map(|rank| rank.target.spec.block_size).collect();
        block_sizes.sort();
        block_sizes.dedup();
        let choosing = |api| {
            let choose = workers.iter().filter(|worker| !worker.takes_rank(api)).map(|worker| worker.id);
            (api, choose.collect::<Vec<_>>())
        };
        let choosing =
            Api::ALL.into_iter().map(choosing).filter(|(_, workers)| !workers.is_empty()).collect();
        let prefills = workers.iter().any(|worker| worker.role == Role::Prefill);
        Self { workers, block_sizes, choosing, prefills }
    }

    /// The workers that choose the rank themselves for requests of this API, whatever these name.
    pub fn choosing(&self, api: Api) -> &[WorkerId] {
        self.choosing.iter().find(|(known, _)| *known == api).map_or(&[], |(_, workers)| workers)
    }

    /// Whether one of them computes prompts for others.
    pub fn has_prefill(&self) -> bool {
        self.prefills
    }

    /// The block sizes in use, each once.
    pub fn block_sizes(&self) -> &[BlockSize] {
        &self.block_sizes
    }

    /// Whether one of them serves a LoRA adapter of this name.
    pub fn has_adapter(&self, name: &str) -> bool {
        self.workers.iter().any(|worker| worker.adapters.iter().any(|adapter| adapter == name))
    }

    /// One of them.
    pub fn get(&self, id: WorkerId) -> Option<&Arc<Worker>> {
        let at = self.workers.binary_search_by_key(&id, |worker| worker.id).ok()?;
        self.workers.get(at)
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Worker>> {
        self.workers.iter().find(|worker| worker.name() == name)
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
}

/// The table that discovery publishes.
#[derive(Debug, Default)]
pub struct Workers(ArcSwap<WorkerTable>);

impl Workers {
    /// As it is now.
    pub fn current(&self) -> arc_swap::Guard<Arc<WorkerTable>> {
        self.0.load()
    }

    /// Adds a worker, or replaces the one with its number.
    pub fn put(&self, worker: Arc<Worker>) {
        self.0.rcu(|table| {
            let others = table.iter().filter(|other| other.id != worker.id).cloned();
            WorkerTable::new(others.chain([Arc::clone(&worker)]))
        });
    }

    /// Takes one out.
    pub fn remove(&self, id: WorkerId) {
        self.0.rcu(|table| WorkerTable::new(table.iter().filter(|other| other.id != id).cloned()));
    }
}
