use std::path::PathBuf;

use rankwise_prompt::Dialect;

use crate::error::SimError;
use crate::model::time::Timing;

/// Whose wire the workers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineWire {
    /// vLLM 0.32's.
    #[default]
    Vllm,
    /// SGLang 0.5.23's.
    Sglang,
    /// That of TensorRT-LLM, behind rankwise's shim or bare.
    Trtllm,
    /// That of a worker behind Dynamo's frontend in direct mode, as its mocker speaks: requests name worker and rank, and who it is
    /// stands in no answer.
    Dynamo,
    /// That of a server which knows the OpenAI API and nothing else: no events, no load, no way to name a rank.
    Generic,
}

impl EngineWire {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vllm, Self::Sglang, Self::Trtllm, Self::Dynamo, Self::Generic];

    /// The engine's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
            Self::Dynamo => "dynamo",
            Self::Generic => "generic",
        }
    }

    /// How it reads chats.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Sglang => Dialect::Sglang,
            Self::Vllm | Self::Trtllm | Self::Dynamo | Self::Generic => Dialect::Vllm,
        }
    }
}

/// How a TensorRT-LLM server is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrtllmServer {
    /// By rankwise's shim.
    #[default]
    Shim,
    /// Bare: it chooses the rank.
    Bare,
    /// Bare, a build that takes a rank in the body.
    BareWithRankFields,
}

/// How KV events are laid out in msgpack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventLayout {
    /// Maps with a `type`, as vLLM 0.24 and later send.
    #[default]
    Maps,
    /// Positional arrays, as vLLM up to 0.20 sent.
    Arrays,
}

/// A fleet to simulate.
///
/// # Defaults
/// vLLM's wire, 2 workers of 4 lockstep ranks, 2,049 blocks of 16 tokens per rank and none behind them, 64 running requests and 2,048 batched tokens per
/// rank, model `sim`, speed 1, seed 0, a free port for everything.
#[derive(Clone, Debug)]
pub struct FleetSpec {
    /// Whose wire they speak.
    pub engine: EngineWire,
    /// Workers: HTTP endpoints.
    pub workers: usize,
    /// dp ranks per worker.
    pub ranks: usize,
    /// KV blocks per rank. One of them is the engine's null block and holds nothing.
    pub blocks_per_rank: u32,
    /// Blocks of each rank's host tier, to which the device's blocks go when they are evicted; 0: they are gone.
    pub host_blocks: u32,
    /// Whether vLLM's events of that tier carry token ids, as with `self_describing_kv_events`.
    pub describes_host_blocks: bool,
    /// Tokens per block.
    pub block_size: u32,
    /// Whether ranks step together (attention DP) or each for itself (dense models).
    pub lockstep: bool,
    /// Workers per lockstep group; more than one as in vLLM's hybrid and external modes.
    pub workers_per_group: usize,
    /// So many workers, the first ones, compute prompts for the others, which answer; 0: each does both.
    pub prefill_workers: usize,
    /// Whether events, metrics and event sources number the ranks of a lockstep group throughout, as vLLM does in its hybrid and
    /// external modes; requests name them from 0 on each worker all the same.
    pub global_ranks: bool,
    /// Whether a request that does not fit keeps its whole group from admitting others (as TensorRT-LLM does) rather
    /// than only its own rank (vLLM). Means nothing without lockstep.
    pub misfit_stalls_group: bool,
    /// What a step costs.
    pub timing: Timing,
    /// Simulated seconds per second of the wall clock.
    pub speed: f64,
    /// Decides the answers' words, and nothing else.
    pub seed: u64,
    /// The served model's name.
    pub model_name: String,
    /// Requests that run at the same time on one rank.
    pub max_running: usize,
    /// Requests that wait on one rank; more are answered 503.
    pub max_waiting: usize,
    /// Tokens that one rank computes in one step.
    pub max_batched_tokens: u32,
    /// Tokens of prompt and answer together; `None`: what the cache can hold.
    pub max_model_len: Option<u32>,
    /// Length of an answer when the request names none, tokens.
    pub default_output_tokens: u32,
    /// Whether KV events are told.
    pub publish_events: bool,
    /// Whether ranks of SGLang publish their load besides, on ports of their own.
    pub publish_load: bool,
    /// How TensorRT-LLM is run.
    pub trtllm: TrtllmServer,
    /// Whether a bare TensorRT-LLM's events are those of a model with sliding windows on its newest version: blocks are named by
    /// digests, runs end with a block that is not full, and a shorter attention window tells of the same blocks.
    pub varied_events: bool,
    /// Whether TensorRT-LLM keeps a conversation on the rank of its first turn where no rank is named.
    pub keeps_conversations: bool,
    /// Whether Dynamo's workers share one frontend, which goes on while workers come and go and takes part in no fault; else each
    /// has its own.
    pub one_frontend: bool,
    /// Whether servers keep responses for later requests to refer to.
    pub stores_responses: bool,
    /// How vLLM lays them out.
    pub layout: EventLayout,
    /// Their topic.
    pub topic: String,
    /// Batches kept for replay per rank; of TensorRT-LLM without the shim, events kept until they are drained.
    pub buffer_steps: usize,
    /// Whether every rank names the same tokens differently.
    pub hash_per_rank: bool,
    /// First port; worker `w` takes `1 + 2 * ranks` ports from `ports + w * (1 + 2 * ranks)`: HTTP, then the events of each
    /// rank, then their replays; `1 + 3 * ranks` if they publish their load too. One frontend takes the first one's HTTP port, and the
    /// workers have none. `None`: whatever is free.
    pub ports: Option<u16>,
    /// Where the tokenizer's files are written, so that the model card can name them; `None`: a fresh folder
    /// under the system's folder for temporary files, removed with the fleet.
    pub state_dir: Option<PathBuf>,
    /// Requests kept in each worker's log of arrivals; the oldest are dropped.
    pub arrivals_max: usize,
    /// Bytes of each body kept there.
    pub arrival_body_bytes_max: usize,
    /// Longest request body, bytes.
    pub body_bytes_max: usize,
    /// Connections per worker.
    pub connections_max: usize,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self {
            engine: EngineWire::default(),
            workers: 2,
            ranks: 4,
            blocks_per_rank: 2049,
            host_blocks: 0,
            describes_host_blocks: true,
            block_size: 16,
            lockstep: true,
            workers_per_group: 1,
            prefill_workers: 0,
            global_ranks: false,
            misfit_stalls_group: true,
            timing: Timing::default(),
            speed: 1.0,
            seed: 0,
            model_name: "sim".to_owned(),
            max_running: 64,
            max_waiting: 4096,
            max_batched_tokens: 2048,
            max_model_len: None,
            default_output_tokens: 64,
            publish_events: true,
            publish_load: false,
            trtllm: TrtllmServer::default(),
            varied_events: false,
            keeps_conversations: false,
            one_frontend: false,
            stores_responses: false,
            layout: EventLayout::default(),
            topic: "kv-events".to_owned(),
            buffer_steps: 10_000,
            hash_per_rank: false,
            ports: None,
            state_dir: None,
            arrivals_max: 10_000,
            arrival_body_bytes_max: 64 * 1024,
            body_bytes_max: 16 * 1024 * 1024,
            connections_max: 4096,
        }
    }
}

impl FleetSpec {
    pub(crate) fn check(&self) -> Result<(), SimError> {
        let at_least_one =
            [self.workers, self.ranks, self.workers_per_group, self.max_running, self.max_waiting];
        let problem = if at_least_one.contains(&0) {
            "workers, ranks, workers_per_group, max_running and max_waiting must not be 0"
        } else if self.ranks > 4096 || self.workers > 4096 {
            "at most 4096 workers of 4096 ranks"
        } else if self.block_size == 0 || self.max_batched_tokens == 0 || self.blocks_per_rank < 2 {
            "block_size and max_batched_tokens must not be 0, blocks_per_rank at least 2"
        } else if self.prefill_workers > 0 && self.prefill_workers >= self.workers {
            "prefill_workers must leave workers that answer"
        } else if !(self.speed.is_finite() && self.speed > 0.0) {
            "speed must be positive"
        } else if self.ports.is_some_and(|first| {
            usize::from(first) + self.workers * self.ports_per_worker() > usize::from(u16::MAX) + 1
        }) {
            "ports beyond 65535"
        } else {
            return Ok(());
        };
        Err(SimError::Spec(problem))
    }

    /// Tokens that one rank's cache can hold.
    pub fn tokens_per_rank(&self) -> u32 {
        (self.blocks_per_rank - 1).saturating_mul(self.block_size)
    }

    /// Tokens of prompt and answer together.
    pub fn model_len(&self) -> u32 {
        self.max_model_len.unwrap_or(u32::MAX).min(self.tokens_per_rank())
    }

    /// What a worker's first rank is called where ranks have global numbers.
    pub(crate) fn start_rank(&self, worker: usize) -> usize {
        if self.global_ranks { worker % self.workers_per_group * self.ranks } else { 0 }
    }

    /// Whether it is TensorRT-LLM without the shim, which tells its events to whoever asks first.
    pub(crate) fn is_bare(&self) -> bool {
        self.engine == EngineWire::Trtllm && self.trtllm != TrtllmServer::Shim
    }

    /// Whether ranks tell what happens to their caches.
    pub(crate) fn tells_events(&self) -> bool {
        self.publish_events && self.engine != EngineWire::Generic
    }

    /// Whether they do so by sockets.
    pub(crate) fn publishes(&self) -> bool {
        self.tells_events() && !self.is_bare()
    }

    /// Whether ranks tell their load by themselves.
    pub(crate) fn publishes_load(&self) -> bool {
        self.publish_load && self.engine == EngineWire::Sglang && self.publishes()
    }

    /// Whether all workers are behind one server.
    pub(crate) fn has_frontend(&self) -> bool {
        self.one_frontend && self.engine == EngineWire::Dynamo
    }

    pub(crate) fn ports_per_worker(&self) -> usize {
        1 + self.sockets_per_rank() * self.ranks
    }

    pub(crate) fn sockets_per_rank(&self) -> usize {
        2 + usize::from(self.publishes_load())
    }
}
