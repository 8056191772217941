//! Pools and workers as written.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::located::Located;
use super::super::named::{BuiltInPolicy, EngineKind, Fallback, Lockstep, Role};
use super::super::value::{BaseUrl, Digest, EventEndpoint, duration, optional_duration};

/// Workers that serve the same models, and what chooses among them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Its name in the admin API and in metrics: letters, digits, `.`, `_` and `-`, at most 64.
    pub name: Located<String>,
    /// Models that it serves, as clients name them. Empty: whatever its workers say they serve.
    pub models: Vec<Located<String>>,
    /// What chooses the rank.
    pub policy: Policy,
    /// Folder with `tokenizer.json` and `tokenizer_config.json`. Default: that of a
    /// worker's model card if it can be read here and agrees with the worker, else the worker is asked for token ids.
    pub tokenizer: Option<Located<PathBuf>>,
    /// Which requests belong together, for policies that keep them together.
    pub sessions: Sessions,
    /// Where responses are kept that later requests refer to.
    pub responses: Responses,
    /// Its workers at the start; `discovery` and the admin API add and drain further ones.
    pub workers: Vec<Located<Worker>>,
    /// Where further workers are found, and looked for all the time.
    pub discovery: Discovery,
    /// What a rank must have room for to be in the policy's table.
    pub room: Room,
    /// What differs from the top-level `limits`.
    pub limits: PoolLimits,
    /// Further ranks that are tried when connecting failed or the request came back unsent; at most 16.
    pub retries: Located<u32>,
    /// Statuses of a worker that are retried like a failed connection, from 400 to 599.
    pub retry_statuses: Vec<Located<u16>>,
    /// Request headers that the policy is given if it asks for them; at most 16. Those that hold credentials are refused.
    pub policy_headers: Vec<Located<String>>,
    /// Whether vLLM is asked to report again the blocks that a request reuses, while the rank's early events are gone: such
    /// a request gets `vllm_xargs.kv_cache_report_mode` at the end of its body, unless it has a `vllm_xargs` of its own.
    pub heal_cold_roots: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            name: Located::nowhere("main".to_owned()),
            models: Vec::new(),
            policy: Policy::default(),
            tokenizer: None,
            sessions: Sessions::default(),
            responses: Responses::default(),
            workers: Vec::new(),
            discovery: Discovery::default(),
            room: Room::default(),
            limits: PoolLimits::default(),
            retries: Located::nowhere(2),
            retry_statuses: Vec::new(),
            policy_headers: Vec::new(),
            heal_cold_roots: false,
        }
    }
}

/// What chooses the rank: a built-in policy, a component file, or a component by its digest.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// A built-in policy: `round-robin`, `random`, `power-of-two`, `least-loaded`, `session-affinity`, `prefix-hash` or
    /// `kv`. Default: `kv`.
    pub name: Option<Located<BuiltInPolicy>>,
    /// A WebAssembly component. The file is watched: new content is checked, compiled, tried and activated; if anything
    /// is wrong with it nothing changes.
    pub file: Option<Located<PathBuf>>,
    /// The only component that is taken: `sha256:` and 64 hex digits. Without name and file: one that was uploaded
    /// before and kept in `state_dir`.
    pub digest: Option<Located<Digest>>,
    /// Handed to the policy as JSON; what it takes is the policy's own matter.
    pub settings: serde_json::Map<String, serde_json::Value>,
    /// What decides when the policy fails: `least-loaded` or `round-robin`.
    pub fallback: Fallback,
}

/// Which requests belong together: those of a session, and those whose prompts begin alike.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sessions {
    /// Header that names a request's session. Where it is not there, the first of `x-session-id`, `x-session-affinity`,
    /// `x-dynamo-session-id` and the body's `prompt_cache_key` does.
    pub header: Option<Located<String>>,
    /// Header that names the tenant. Equal sessions of different tenants are different ones.
    pub tenant_header: Option<Located<String>>,
    /// Sessions whose rank is remembered. Beyond it those not heard of for longest are forgotten.
    pub sessions_max: NonZeroUsize,
    /// How long the rank of a session is remembered after its last request.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub ttl: Duration,
    /// Tokens at a prompt's beginning that make its prefix key; no more than 1024 count.
    pub prefix_tokens: NonZeroU32,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            header: None,
            tenant_header: None,
            sessions_max: NonZeroUsize::MIN.saturating_add(99_999),
            ttl: Duration::from_secs(600),
            prefix_tokens: NonZeroU32::MIN.saturating_add(255),
        }
    }
}

/// Where responses are kept: each by the server that made it, which is remembered for `previous_response_id` and
/// `/v1/responses/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Responses {
    /// Responses whose worker is remembered. Beyond it the oldest are forgotten, and what refers to them is answered with 400.
    pub remembered_max: NonZeroUsize,
    /// How long the worker of a response is remembered.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub ttl: Duration,
}

impl Default for Responses {
    fn default() -> Self {
        Self {
            remembered_max: NonZeroUsize::MIN.saturating_add(99_999),
            ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What a rank must have room for, whatever the policy. A request for which no rank has room waits, as one that the policy has wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Room {
    /// Whether the KV blocks that a request adds have to fit into those that no running request holds: one that does not can stall a
    /// whole lockstep group. `kv` has this rule of its own. What would not fit on an idle rank either may go to an idle rank.
    pub blocks: bool,
    /// Tokens of output that are expected of a sequence at most, however many it may have.
    pub output_tokens_max: u32,
    /// Prompts of which so many tokens are left to compute are long. Default: none are.
    pub long_prefill_tokens: Option<NonZeroU32>,
    /// So many long prompts a lockstep group computes at once.
    pub long_prefills_max: NonZeroU32,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            blocks: false,
            output_tokens_max: 1024,
            long_prefill_tokens: None,
            long_prefills_max: NonZeroU32::MIN,
        }
    }
}

/// Where workers are found that come and go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// A file with the field `workers`, as here. New content adds, drains and replaces workers; what is wrong with it is
    /// logged and changes nothing.
    pub file: Option<Located<PathBuf>>,
    /// Names that are looked up, such as headless services: each address is a worker, like the entry but for the host of its
    /// `url`, and named after its address, behind the entry's own `name` and `-` if it has one. An address is gone when two lookups
    /// in a row lack it; a lookup that fails changes nothing.
    pub dns: Vec<Located<Worker>>,
    /// Time between two looks.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub interval: Duration,
    /// A worker that is taken out or replaced stays until another may be picked, but no longer than this.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub handover_timeout: Duration,
}

impl Default for Discovery {
    fn default() -> Self {
        Self {
            file: None,
            dns: Vec::new(),
            interval: Duration::from_secs(5),
            handover_timeout: Duration::from_secs(60),
        }
    }
}

/// A file that [`Discovery::file`] names.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersFile {
    /// Workers as in [`Pool::workers`].
    pub workers: Vec<Located<Worker>>,
}

/// Limits of one pool. What is not set is taken from the top-level `limits`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoolLimits {
    /// Instead of `limits.request.first_byte_timeout`.
    #[serde(with = "optional_duration")]
    #[schemars(with = "optional_duration::Written")]
    pub first_byte_timeout: Option<std::time::Duration>,
    /// Instead of `limits.request.stream_idle_timeout`.
    #[serde(with = "optional_duration")]
    #[schemars(with = "optional_duration::Written")]
    pub stream_idle_timeout: Option<std::time::Duration>,
    /// Instead of `limits.wait.requests_max`.
    pub wait_requests_max: Option<NonZeroUsize>,
    /// Instead of `limits.wait.timeout`.
    #[serde(with = "optional_duration")]
    #[schemars(with = "optional_duration::Written")]
    pub wait_timeout: Option<std::time::Duration>,
    /// Instead of `limits.upstream.connections_per_target_max`.
    pub connections_per_target_max: Option<NonZeroUsize>,
    /// Instead of `limits.index.blocks_max`.
    pub index_blocks_max: Option<NonZeroUsize>,
}

/// One HTTP endpoint with one or more dp ranks. What is not set is discovered where the engine tells.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Its name in the admin API, in metrics and in target keys: letters, digits and `._:-[]`, at most 128. Default:
    /// host and port.
    #[serde(default)]
    pub name: Option<Located<String>>,
    /// `http://HOST:PORT`, without a path.
    pub url: Located<BaseUrl>,
    /// `auto` (asked of the worker), `vllm`, `sglang`, `trtllm`, `dynamo`, or `generic` for any OpenAI-compatible server. `dynamo` is a
    /// worker behind `dynamo.frontend --router-mode direct`: set `ranks`, `block_size` and `events`, by which several of
    /// them that share a URL are told apart; `x-worker-instance-id` under `headers` says which it is instead.
    #[serde(default)]
    pub engine: EngineKind,
    /// What it does of a request: `aggregated` (all of it), `prefill`, `decode`, or `auto`, which only SGLang answers. Where a pool
    /// has workers that prefill, chats and completions of one answer are decided and sent in two legs; see `engines.md`.
    #[serde(default)]
    pub role: Role,
    /// Port of an SGLang prefill worker's bootstrap server. Default: discovered, else 8998.
    #[serde(default)]
    pub bootstrap_port: Option<NonZeroU16>,
    /// Number of dp ranks that this URL reaches. Default: discovered.
    #[serde(default)]
    pub ranks: Option<Located<NonZeroU32>>,
    /// Which of its ranks step together: `worker` (all), `rank` (each alone), or `auto`.
    #[serde(default)]
    pub lockstep: Lockstep,
    /// Name of a lockstep group that reaches over several workers, as in vLLM's hybrid and external load balancing: all ranks
    /// of all workers of the pool that give the same name step together. Default: the worker's ranks are among themselves.
    #[serde(default)]
    pub group: Option<Located<String>>,
    /// Tokens per KV block. Default: discovered.
    #[serde(default)]
    pub block_size: Option<NonZeroU32>,
    /// Usable KV blocks of each rank. Default: discovered.
    #[serde(default)]
    pub blocks: Option<NonZeroU32>,
    /// KV event sockets, one per rank in rank order. `[]`: none, and the policy knows of no overlap there.
    /// Default: discovered.
    #[serde(default)]
    pub events: Option<Located<Vec<EventSource>>>,
    /// For `engine: trtllm` without the shim: whether its KV events are read from it, with `POST /kv_cache_events`. The server tells each
    /// event once, so nobody else may read them: no second rankwise, monitor or router. Needs `block_size`, and `ranks` where the
    /// server has several. Not for versions up to 1.2 that get `cache_salt` or LoRA adapters, which their events do not tell. Default: its
    /// events are left alone.
    #[serde(default)]
    pub drain_events: Option<Located<bool>>,
    /// Share of the load against the other workers, in thousandths.
    #[serde(default = "default_weight")]
    pub weight: NonZeroU32,
    /// Headers set on every request to it, such as an API key. They replace the client's.
    #[serde(default)]
    pub headers: BTreeMap<String, Located<String>>,
}

impl Worker {
    /// A worker of which nothing is known but its URL.
    pub fn at(url: BaseUrl) -> Self {
        Self {
            name: None,
            url: Located::nowhere(url),
            engine: EngineKind::default(),
            role: Role::default(),
            bootstrap_port: None,
            ranks: None,
            lockstep: Lockstep::default(),
            group: None,
            block_size: None,
            blocks: None,
            events: None,
            drain_events: None,
            weight: default_weight(),
            headers: BTreeMap::new(),
        }
    }
}

fn default_weight() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(999)
}

/// Where one rank publishes its KV events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSource {
    /// The publishing socket: `tcp://HOST:PORT`.
    pub endpoint: EventEndpoint,
    /// The replay socket: `tcp://HOST:PORT`. Default: none, and a gap clears the rank's index.
    #[serde(default)]
    pub replay: Option<EventEndpoint>,
    /// The topic.
    #[serde(default)]
    pub topic: String,
}
