//! A pool: the workers that serve the same models, what is known of them, and the policy that chooses among them.

mod health;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::BlockSize;
use rankwise_core::request::Prompt;
use rankwise_core::state::RoutingState;
use rankwise_policy_host::PoolInfo;
use rankwise_prompt::{Body, Hashing, RoutingFields};
use tokio::sync::Notify;

use crate::decisions::Decisions;
use crate::error::{ProxyError, Stage};
use crate::metrics::{Metrics, PoolMetrics};
use crate::parity::Parity;
use crate::policies::PoolPolicies;
use crate::prompts::PromptSource;
use crate::responses::KeptResponses;
use crate::sessions::PoolSessions;
use crate::upstream::SendLimits;
use crate::warm::WarmIndex;
use crate::workers::Workers;

/// Bounds of a pool.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Longest wait of a request because its policy said so.
    pub queue_time_max: Duration,
    /// Most requests waiting so at once.
    pub queue_requests_max: usize,
    /// Headers, lower case, that a policy may ask for.
    pub policy_headers: Vec<String>,
    /// Most values of such headers that one decision is given.
    pub policy_headers_max: usize,
    /// Most bytes of them.
    pub policy_headers_bytes_max: usize,
    /// For the head of an answer, once the request is written.
    pub first_byte_timeout: Duration,
    /// Longest silence within an answer.
    pub silence_max: Duration,
    /// Open connections to one of its workers, over all threads.
    pub connections_per_worker_max: usize,
    /// Decisions after the first, where nothing was sent.
    pub retries: u32,
    /// Statuses of an engine after which a request is decided again as if nothing had been sent.
    pub retry_statuses: Vec<StatusCode>,
}

impl PoolLimits {
    /// Those of sending.
    pub fn upstream(&self) -> SendLimits {
        SendLimits { first_byte: self.first_byte_timeout, connections_max: self.connections_per_worker_max }
    }

    /// Whether a request is decided again after this answer.
    pub fn is_retried(&self, status: StatusCode) -> bool {
        self.retry_statuses.contains(&status)
    }
}

/// One pool.
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Models it serves by config; empty: whatever its workers serve.
    pub models: Vec<String>,
    /// What each rank holds and how busy it is.
    pub state: Arc<RoutingState>,
    /// Its workers.
    pub workers: Workers,
    /// Its policy.
    pub policies: PoolPolicies,
    /// What it decided.
    pub decisions: Decisions,
    /// How prompts become token ids.
    pub prompts: PromptSource,
    /// Whether they are what its engines have.
    pub parity: Parity,
    /// The key of all block hashes.
    pub key: HashKey,
    /// What an earlier process knew of its ranks.
    pub warm: Arc<WarmIndex>,
    /// Which requests belong together.
    pub sessions: PoolSessions,
    /// Where responses are kept that later requests refer to.
    pub responses: KeptResponses,
    /// Whether ranks whose early events are gone are asked to report again what they hold.
    pub heal_cold_roots: bool,
    /// Bounds.
    pub limits: PoolLimits,
    /// Its counters.
    pub metrics: PoolMetrics,
    /// All counters.
    pub shared_metrics: Metrics,
    /// Woken when a booking ends.
    changed: Notify,
    unit_changed: Notify,
    queued: AtomicUsize,
}

/// A request's place in the queue.
pub struct Queued<'a>(&'a AtomicUsize);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// What a pool is made of.
pub struct PoolParts {
    /// Its name.
    pub name: String,
    /// Models by config.
    pub models: Vec<String>,
    /// Ledger and index.
    pub state: Arc<RoutingState>,
    /// Its policy.
    pub policies: PoolPolicies,
    /// What it decides.
    pub decisions: Decisions,
    /// How prompts become token ids.
    pub prompts: PromptSource,
    /// The key of all block hashes.
    pub key: HashKey,
    /// What an earlier process knew of its ranks.
    pub warm: Arc<WarmIndex>,
    /// Which requests belong together.
    pub sessions: PoolSessions,
    /// Where responses are kept that later requests refer to.
    pub responses: KeptResponses,
    /// Whether ranks whose early events are gone are asked to report again what they hold.
    pub heal_cold_roots: bool,
    /// Bounds.
    pub limits: PoolLimits,
    /// All counters.
    pub metrics: Metrics,
}

impl Pool {
    /// A pool without workers yet.
    pub fn new(parts: PoolParts) -> Self {
        Self {
            metrics: parts.metrics.pool(&parts.name),
            shared_metrics: parts.metrics,
            name: parts.name,
            models: parts.models,
            state: parts.state,
            workers: Workers::default(),
            policies: parts.policies,
            decisions: parts.decisions,
            prompts: parts.prompts,
            parity: Parity::default(),
            key: parts.key,
            warm: parts.warm,
            sessions: parts.sessions,
            responses: parts.responses,
            heal_cold_roots: parts.heal_cold_roots,
            limits: parts.limits,
            changed: Notify::new(),
            unit_changed: Notify::new(),
            queued: AtomicUsize::new(0),
        }
    }

    /// The unit of block figures.
    pub fn block_size(&self) -> BlockSize {
        self.state.pool_block_size()
    }

    /// A worker with this block size is joining. The first one's becomes the unit of the pool.
    pub fn first_block_size(&self, size: BlockSize) {
        if self.workers.current().is_empty() && size != self.block_size() {
            self.state.set_pool_block_size(size);
            self.unit_changed.notify_one();
        }
    }

    /// Resolves when the unit has changed.
    pub async fn unit_changes(&self) {
        self.unit_changed.notified().await;
    }

    /// Its first model name, empty while none is known.
    pub fn model(&self) -> String {
        let by_worker = || self.workers.current().iter().find_map(|worker| worker.models.first().cloned());
        self.models.first().cloned().or_else(by_worker).unwrap_or_default()
    }

    /// What a policy is configured for.
    pub fn info(&self) -> PoolInfo {
        PoolInfo { model: self.model(), block_size: self.block_size().0 }
    }

    /// Says that a booking ended.
    pub fn load_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Resolves at the next end of a booking after this call.
    pub fn load_changes(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// A place in the queue.
    ///
    /// # Errors
    /// 503 when it is full.
    pub fn enter_queue(&self) -> Result<Queued<'_>, ProxyError> {
        if self.queued.fetch_add(1, Relaxed) >= self.limits.queue_requests_max {
            self.queued.fetch_sub(1, Relaxed);
            return Err(ProxyError::new(Stage::Queue, "too many requests are waiting"));
        }
        Ok(Queued(&self.queued))
    }

    /// Requests waiting because their policy said so.
    pub fn queued(&self) -> usize {
        self.queued.load(Relaxed)
    }

    /// From a body to the hashes of its blocks. `None` where the ids cannot be known: routed by load.
    ///
    /// # Errors
    /// 400 for a prompt that no engine would take.
    pub async fn prompt(&self, body: &Body, fields: &RoutingFields) -> Result<Option<Prompt>, ProxyError> {
        if fields.previous_response_id.is_some() {
            // What the server puts before it only the server knows.
            self.shared_metrics.prompts.with_label_values(&[self.name.as_str(), "none"]).inc();
            return Ok(None);
        }
        let started = Instant::now();
        let workers = self.workers.current();
        let namespace = self.namespace(&fields.model, fields.cache_salt.as_deref());
        let hashing = Hashing { namespace, sizes: workers.block_sizes() };
        let (source, hashes) = self.prompts.hashes(&self.workers, body, hashing).await?;
        self.shared_metrics.prompts.with_label_values(&[self.name.as_str(), source]).inc();
        let Some(hashes) = hashes else { return Ok(None) };
        self.metrics.prompt_tokens_reused.inc_by(hashes.reused.into());
        self.metrics.prompt_tokens_encoded.inc_by(hashes.tokens.saturating_sub(hashes.reused).into());
        let prefix_key = self.sessions.prefix_key(&hashes.head);
        let prompt = Prompt { namespace, tokens: hashes.tokens, prefix_key, blocks: hashes.blocks };
        self.metrics.prompt.observe(started.elapsed().as_secs_f64());
        Ok(Some(prompt))
    }

    /// The namespace of a request's blocks. An adapter is served under a model name of its own; its blocks carry its
    /// name, the base model's carry none.
    fn namespace(&self, model: &str, salt: Option<&str>) -> rankwise_core::hash::Namespace {
        let lora = self.workers.current().has_adapter(model);
        self.key.namespace(crate::feeds::NAMESPACE_MODEL, lora.then_some(model), salt)
    }
}

/// All pools.
pub struct Pools(Vec<Arc<Pool>>);

impl Pools {
    /// These, in the order of the config.
    pub fn new(pools: Vec<Arc<Pool>>) -> Self {
        Self(pools)
    }

    /// One by one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.0.iter()
    }

    /// The one of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Pool>> {
        self.0.iter().find(|pool| pool.name == name)
    }

    /// The pool that serves a model: by config, else by what workers say.
    ///
    /// # Errors
    /// 404 for a model that nobody serves, 503 while that cannot be known because a pool has no worker yet.
    pub fn serving(&self, model: &str) -> Result<Arc<Pool>, ProxyError> {
        let by_config = self.0.iter().find(|pool| pool.models.iter().any(|name| name == model));
        let serves = |pool: &&Arc<Pool>| {
            pool.models.is_empty()
                && pool.workers.current().iter().any(|worker| worker.models.iter().any(|name| name == model))
        };
        if let Some(pool) = by_config.or_else(|| self.0.iter().find(serves)) {
            return Ok(Arc::clone(pool));
        }
        if self.0.iter().any(|pool| pool.models.is_empty() && pool.workers.current().is_empty()) {
            return Err(ProxyError::new(Stage::Decision, "no worker yet"));
        }
        Err(ProxyError::new(Stage::Model, format!("the model `{model}` is not served here"))
            .parameter(Some("model".to_owned())))
    }

    /// The pool of a request that names no model, as the engines' own APIs allow: clear where there is one.
    ///
    /// # Errors
    /// 404 where there are several.
    pub fn only(&self) -> Result<Arc<Pool>, ProxyError> {
        match self.0.as_slice() {
            [only] => Ok(Arc::clone(only)),
            _ => Err(ProxyError::new(Stage::Model, "there are several pools: name a model")
                .parameter(Some("model".to_owned()))),
        }
    }

    /// Every model, once.
    pub fn models(&self) -> Vec<String> {
        let mut models: Vec<String> = Vec::new();
        for pool in &self.0 {
            models.extend(pool.models.iter().cloned());
            if pool.models.is_empty() {
                let workers = pool.workers.current();
                models.extend(workers.iter().flat_map(|worker| worker.models.iter().cloned()));
            }
        }
        models.sort();
        models.dedup();
        models
    }
}
