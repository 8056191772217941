//! Every bound and time of the data path, with its default. The same types in the document and at run time.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{byte_size, duration};

const fn count(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

const fn size(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(n) => n,
        None => NonZeroUsize::MIN,
    }
}

/// Bounds and times. A pool may set some of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of clients.
    pub listener: ListenerLimits,
    /// One request.
    pub request: RequestLimits,
    /// Requests that a policy told to wait.
    pub wait: WaitLimits,
    /// Decisions for other proxies, by the admin API.
    pub select: SelectLimits,
    /// Connections to workers.
    pub upstream: UpstreamLimits,
    /// When a rank is taken out, and how it comes back.
    pub health: HealthLimits,
    /// What is remembered of the engines' KV caches.
    pub index: IndexLimits,
    /// The engines' KV events.
    pub events: EventLimits,
    /// Prompt to tokens.
    pub tokenize: TokenizeLimits,
}

/// Bounds of client connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// Open client connections over all listeners. Further ones are not accepted until one closes.
    pub connections_max: NonZeroUsize,
    /// Concurrent HTTP/2 streams on one connection.
    pub streams_max: NonZeroU32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self { connections_max: size(10_000), streams_max: count(256) }
    }
}

/// Bounds of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestLimits {
    /// Largest request line and headers, in bytes. More is answered 431, and more than twice as much without a body.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub head_bytes_max: usize,
    /// Most header fields. More is answered 431.
    pub headers_max: NonZeroUsize,
    /// Largest request body, in bytes; it is held in memory. More is answered 413.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub body_bytes_max: usize,
    /// Memory that all request bodies in flight may hold together, in bytes, counted as they arrive; not less than
    /// `body_bytes_max`. Beyond it requests are answered 503.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub bodies_bytes_max: usize,
    /// Largest answer of a rank that computes a prompt for another one, in bytes; it may name every token of it.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub prefill_answer_bytes_max: usize,
    /// Requests in flight. Beyond it requests are answered 503.
    pub in_flight_max: NonZeroUsize,
    /// Most values of the pool's `policy_headers` that one decision is given.
    pub policy_headers_max: NonZeroUsize,
    /// Bytes of those values together. One that does not fit is left out.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub policy_headers_bytes_max: usize,
    /// Time from the start of a connection, or from the end of the reply before, to the end of the next head. Later the
    /// connection is closed; so it is also how long a connection may idle.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub head_timeout: Duration,
    /// Time the whole body may take to arrive. Later is answered 408.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub body_timeout: Duration,
    /// Time from the request's last byte sent upstream to the reply's first. Later is answered 504.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub first_byte_timeout: Duration,
    /// Time between two pieces of a reply. Later ends the stream with an error event.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub stream_idle_timeout: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 64 << 10,
            headers_max: size(128),
            body_bytes_max: 64 << 20,
            bodies_bytes_max: 1 << 30,
            prefill_answer_bytes_max: 16 << 20,
            in_flight_max: size(20_000),
            policy_headers_max: size(16),
            policy_headers_bytes_max: 4 << 10,
            head_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            first_byte_timeout: Duration::from_secs(600),
            stream_idle_timeout: Duration::from_secs(300),
        }
    }
}

/// Bounds of requests that wait because their policy said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WaitLimits {
    /// Requests of one pool that may wait at once. Further ones are answered 503.
    pub requests_max: NonZeroUsize,
    /// Longest time one request waits, over all its picks. Then it is answered 503.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub timeout: Duration,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { requests_max: size(1024), timeout: Duration::from_secs(30) }
    }
}

/// Bounds of decisions that the admin API makes for other proxies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectLimits {
    /// Bookings held at once. Beyond it a decision is answered 503.
    pub bookings_max: NonZeroUsize,
    /// Longest time a booking is held without its end being told, and what a decision gets that asks for no other.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub hold: Duration,
}

impl Default for SelectLimits {
    fn default() -> Self {
        Self { bookings_max: size(10_000), hold: Duration::from_secs(600) }
    }
}

/// Bounds of connections to workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Time to connect, for a request and for the proxy's own questions. After it the request is decided again, and all ranks of the worker
    /// are out until they have proven themselves.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub connect_timeout: Duration,
    /// Time after which an unused connection is closed; shorter than the engines' own (uvicorn: 5s), so that no
    /// request meets a closing connection.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub idle_timeout: Duration,
    /// Connections to one worker, over all threads. Beyond it requests are decided again, for another worker.
    pub connections_per_target_max: NonZeroUsize,
    /// Largest reply to the proxy's own questions (discovery, health, metrics), in bytes.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub probe_bytes_max: usize,
    /// Time such a question may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub probe_timeout: Duration,
    /// Time between two health checks of a worker.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub probe_interval: Duration,
    /// Time between two reads of a worker's load figures.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub load_interval: Duration,
    /// Workers of a pool, those added by the admin API included.
    pub workers_max: NonZeroUsize,
    /// Ranks of one worker, by config or by its own word. One that has more is not taken on.
    pub ranks_per_worker_max: NonZeroU32,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(3),
            connections_per_target_max: size(1024),
            probe_bytes_max: 8 << 20,
            probe_timeout: Duration::from_secs(5),
            probe_interval: Duration::from_secs(5),
            load_interval: Duration::from_secs(1),
            workers_max: size(1024),
            ranks_per_worker_max: count(256),
        }
    }
}

/// When a rank is taken out, and how it comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthLimits {
    /// Whether a rank has to serve a request of one token, of the proxy's own, before it is picked for the first time and after
    /// a failure: pinned to it, on a prompt of random token ids of one KV block. Otherwise its worker's health check decides.
    pub prove_ranks: bool,
    /// Time such a request may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub proof_timeout: Duration,
    /// The first failure of a request takes its rank out until it has proven itself. For so long after that, failures are taken
    /// for the requests' own, unless there are too many.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub window: Duration,
    /// Failures within that time that are too many, if they are half of the rank's answers.
    pub failures_min: NonZeroU32,
    /// Time over which a rank that joins or comes back comes to its full share of the load.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub slow_start: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            prove_ranks: true,
            proof_timeout: Duration::from_secs(10),
            window: Duration::from_secs(10),
            failures_min: count(5),
            slow_start: Duration::from_secs(10),
        }
    }
}

/// Bounds of the KV index, per pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IndexLimits {
    /// (block, rank) pairs that the index holds, about 26 bytes each. Beyond it the coldest are forgotten.
    pub blocks_max: NonZeroUsize,
    /// Shortest time that a block of an ended request counts as pending while the engine's event is awaited. Between
    /// this and `pending_grace_max` it is twice the rank's own p99 event lag.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub pending_grace_min: Duration,
    /// Longest such time.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub pending_grace_max: Duration,
    /// Answers for which cached tokens were promised of a rank, after which it is judged by them.
    pub promises_sample: NonZeroU32,
    /// Of 1000 such answers so many may say that less was cached. If more do, the rank is emptied, `untrusted`, and its events are read
    /// again after a pause that doubles, up to a minute, while that goes on. `1000`: never.
    pub promises_broken_permille_max: u32,
    /// With `state_dir`: how often what the index knows is written there, for the next process to go on from. It is also when
    /// the proxy stops. What was kept of ranks that do not show up within this time of the start is forgotten.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub save_interval: Duration,
}

impl Default for IndexLimits {
    fn default() -> Self {
        Self {
            blocks_max: size(8_000_000),
            pending_grace_min: Duration::from_millis(100),
            pending_grace_max: Duration::from_secs(2),
            promises_sample: count(32),
            promises_broken_permille_max: 500,
            save_interval: Duration::from_secs(60),
        }
    }
}

/// Bounds of one rank's event feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventLimits {
    /// Batches of one rank that may wait for a replay to end. Beyond it the replay is started again.
    pub batches_max: NonZeroUsize,
    /// Largest message that is read, in bytes. A larger one empties its rank, as what it removed is not known.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub message_bytes_max: usize,
    /// Time to connect to an event socket, and to wait for the next piece of a replay.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub timeout: Duration,
    /// Longest time that an event may be due and missing, because a replay does not come or the rank is not connected. After it the
    /// rank is `untrusted` and nothing is promised of it, until the event has come.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub lag_max: Duration,
    /// Longest pause between two reads of a worker with `drain_events` that has nothing to tell. After events pauses begin at 5 ms
    /// and double up to this. What the engine tells meanwhile waits in its own buffer, which may overflow.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub drain_interval: Duration,
    /// Longest wait for one such read. Older versions take 2 s to say that there is nothing.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub drain_timeout: Duration,
    /// Largest answer to one such read, in bytes. A larger one is lost, and the worker's ranks are emptied.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub drain_bytes_max: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self {
            batches_max: size(4096),
            message_bytes_max: 16 << 20,
            timeout: Duration::from_secs(5),
            lag_max: Duration::from_secs(2),
            drain_interval: Duration::from_millis(20),
            drain_timeout: Duration::from_secs(10),
            drain_bytes_max: 256 << 20,
        }
    }
}

/// Bounds of tokenizing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenizeLimits {
    /// Prompts, per pool, whose token ids are remembered where a worker is asked for them.
    pub cache_entries_max: NonZeroUsize,
    /// Memory, over all pools, for what is known of how earlier prompts begin. 0 remembers nothing.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub prefix_cache_bytes_max: usize,
    /// Long prompts that are tokenized at once, beside the request threads.
    pub long_prompts_max: NonZeroUsize,
    /// Long prompts that wait for their turn. Beyond it they are routed by load alone.
    pub long_prompts_waiting_max: NonZeroUsize,
    /// Longest prompt that is tokenized, in bytes of text. A longer one is routed by load alone.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub prompt_bytes_max: usize,
    /// Longest time. Then the request is routed by load alone.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub timeout: Duration,
}

impl Default for TokenizeLimits {
    fn default() -> Self {
        Self {
            cache_entries_max: size(16_384),
            prefix_cache_bytes_max: 256 << 20,
            long_prompts_max: size(4),
            long_prompts_waiting_max: size(256),
            prompt_bytes_max: 8 << 20,
            timeout: Duration::from_secs(2),
        }
    }
}
