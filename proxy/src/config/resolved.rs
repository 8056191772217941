//! What the proxy runs on: every default filled in, everything parsed.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use super::decisions::Decisions;
use super::file::{Responses, Room};
use super::host::PolicyHost;
use super::limits::Limits;
use super::named::{AccessLog, BuiltInPolicy, EngineKind, Fallback, Lockstep, Role};
use super::value::{BaseUrl, Digest, EventEndpoint, Secret};

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Health and metrics.
    pub status: Status,
    /// The admin API.
    pub admin: Admin,
    /// At least one; names and models are unique.
    pub pools: Vec<Pool>,
    /// Bounds and times.
    pub limits: Limits,
    /// Bounds of the policies' host.
    pub policy_host: PolicyHost,
    /// What is kept of decisions.
    pub decisions: Decisions,
    /// Whether each request leaves a line.
    pub access_log: AccessLog,
    /// Whether replies say who served them.
    pub expose_decision: bool,
    /// Threads that serve requests.
    pub threads: NonZeroUsize,
    /// How the proxy ends.
    pub shutdown: Shutdown,
    /// Where uploads and activations are kept; a private folder.
    pub state_dir: Option<PathBuf>,
}

/// A place where clients connect.
#[derive(Clone, Debug)]
pub struct Listener {
    /// IP and port; port 0 is any free one.
    pub address: SocketAddr,
    /// Whether its clients may name worker and rank.
    pub trust_pins: bool,
}

/// Health and metrics.
#[derive(Clone, Debug)]
pub struct Status {
    /// IP and port.
    pub address: SocketAddr,
}

/// The admin API, on a loopback address.
#[derive(Clone, Debug)]
pub struct Admin {
    /// IP and port.
    pub address: SocketAddr,
    /// What a caller must present.
    pub token: Option<Secret>,
}

/// Workers that serve the same models.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name; unique.
    pub name: Arc<str>,
    /// Models as clients name them; empty: whatever its workers serve.
    pub models: Vec<Arc<str>>,
    /// What chooses the rank.
    pub policy: PolicyChoice,
    /// Folder with `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
    /// Which requests belong together.
    pub sessions: Sessions,
    /// Where responses are kept.
    pub responses: Responses,
    /// Its workers at the start; names and URLs are unique within the pool.
    pub workers: Vec<Worker>,
    /// Where further ones are found.
    pub discovery: Discovery,
    /// What its ranks must have room for.
    pub room: Room,
    /// Its limits, the top-level ones where it sets none.
    pub limits: PoolLimits,
    /// Further picks after a failed connection.
    pub retries: u32,
    /// Statuses that are retried like one.
    pub retry_statuses: Vec<StatusCode>,
    /// Whether vLLM is asked to report again blocks whose events are gone.
    pub heal_cold_roots: bool,
    /// Headers, lower case, that its policy may ask for.
    pub policy_headers: Vec<String>,
}

/// Where workers are found that come and go.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// A file that names them; it existed when the config was read.
    pub file: Option<PathBuf>,
    /// Workers whose host is a name that stands for several.
    pub dns: Vec<Worker>,
    /// Between two looks.
    pub interval: Duration,
    /// How long a worker that leaves waits for another to take its place.
    pub handover_timeout: Duration,
}

impl Discovery {
    /// Whether there is anything to find workers by.
    pub fn finds_some(&self) -> bool {
        self.file.is_some() || !self.dns.is_empty()
    }
}

/// Which requests belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// Names the session, before the headers that do so anywhere.
    pub header: Option<HeaderName>,
    /// Names the tenant.
    pub tenant_header: Option<HeaderName>,
    /// Sessions whose rank is remembered.
    pub sessions_max: NonZeroUsize,
    /// For so long after the last request.
    pub ttl: Duration,
    /// Tokens that make a prompt's prefix key.
    pub prefix_tokens: NonZeroU32,
}

/// A policy with its settings.
#[derive(Clone, Debug)]
pub struct PolicyChoice {
    /// The component.
    pub source: PolicySource,
    /// The only component that is taken.
    pub digest: Option<Digest>,
    /// A JSON object, `{}` when nothing is set.
    pub settings_json: String,
    /// What decides when it fails.
    pub fallback: Fallback,
}

/// Where a policy's component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// Part of the binary.
    BuiltIn(BuiltInPolicy),
    /// A file that existed when the config was read.
    File(PathBuf),
    /// One that was uploaded before: [`PolicyChoice::digest`] says which.
    Kept,
}

/// Limits of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Time to the reply's first byte.
    pub first_byte_timeout: Duration,
    /// Time between two pieces of a reply.
    pub stream_idle_timeout: Duration,
    /// Requests that may wait at once.
    pub wait_requests_max: NonZeroUsize,
    /// Longest wait of one request.
    pub wait_timeout: Duration,
    /// Connections to one target, over all threads.
    pub connections_per_target_max: NonZeroUsize,
    /// (block, rank) pairs of the KV index.
    pub index_blocks_max: NonZeroUsize,
}

/// One HTTP endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// Its name; unique within the pool.
    pub name: Arc<str>,
    /// Where it is.
    pub url: BaseUrl,
    /// What serves it.
    pub engine: EngineKind,
    /// What it does of a request.
    pub role: Role,
    /// Port of its bootstrap server; `None`: discovered.
    pub bootstrap_port: Option<NonZeroU16>,
    /// Number of dp ranks; `None`: discovered.
    pub ranks: Option<NonZeroU32>,
    /// Which of its ranks step together.
    pub lockstep: Lockstep,
    /// The lockstep group that it shares with other workers.
    pub group: Option<Arc<str>>,
    /// Tokens per KV block; `None`: discovered.
    pub block_size: Option<NonZeroU32>,
    /// Usable KV blocks of each rank; `None`: discovered.
    pub blocks: Option<NonZeroU32>,
    /// Where its ranks publish KV events.
    pub events: Events,
    /// Whether they are taken from a server that tells each of them once.
    pub drain_events: bool,
    /// Share of the load, permille.
    pub weight_permille: NonZeroU32,
    /// Set on every request to it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// Where a worker's ranks publish KV events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events {
    /// Asked of the engine.
    Discover,
    /// Nowhere.
    Off,
    /// By rank; as many as the worker has ranks.
    At(Vec<EventSource>),
}

/// Where one rank publishes its KV events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSource {
    /// The publishing socket.
    pub endpoint: EventEndpoint,
    /// The replay socket.
    pub replay: Option<EventEndpoint>,
    /// The topic; may be empty.
    pub topic: String,
}

/// How the proxy ends.
#[derive(Clone, Debug)]
pub struct Shutdown {
    /// Time that requests in flight have to end.
    pub drain_timeout: Duration,
}
