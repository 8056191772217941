//! What a worker is, in one vocabulary for all engines.

mod answers;
mod blindness;
mod endpoint;

use rankwise_core::ids::{BlockSize, DpRank};

use crate::disaggregation::Role;
use crate::pin::Pinning;
pub use answers::{Answers, ModelCard};
pub(crate) use answers::{models, owner, version};
pub use blindness::Blindness;
pub(crate) use endpoint::{offset, reachable};

/// Most ranks of one worker.
pub const RANKS_MAX: usize = 4096;

/// What config sets by hand; each wins over what is discovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Number of ranks, counted from the first.
    pub ranks: Option<u32>,
    /// Tokens per block.
    pub block_size: Option<BlockSize>,
    /// Usable blocks per rank.
    pub capacity_blocks: Option<u32>,
    /// Whether every rank steps alone, as those of a dense model do. vLLM does not tell over HTTP; by default all
    /// ranks of a worker form one lockstep group.
    pub independent_ranks: bool,
    /// Whether the events of a worker that tells each of them once may be taken from it.
    pub drain_events: bool,
    /// Which of the workers behind a Dynamo frontend it is.
    pub instance: Option<u64>,
    /// What a probe of [`Engine::rank_probe`](crate::Engine::rank_probe) showed.
    pub takes_rank_fields: Option<bool>,
}

impl Overrides {
    /// The block size that counts, beside what the engine tells, and what is wrong with it.
    pub(crate) fn block_size(&self, told: Option<u32>) -> (Option<BlockSize>, Option<Blindness>) {
        let told = told.filter(|size| *size > 0).map(BlockSize);
        let finding = match (self.block_size, told) {
            (None, None) => Some(Blindness::BlockSizeUnknown),
            (Some(BlockSize(config)), Some(BlockSize(engine))) if config != engine => {
                Some(Blindness::BlockSizeMismatch { config, engine })
            }
            _ => None,
        };
        (self.block_size.or(told), finding)
    }

    /// The number of ranks by config, within bounds.
    ///
    /// # Errors
    /// If there are none or too many.
    pub(crate) fn ranks(&self) -> Result<Option<u32>, crate::Error> {
        match self.ranks {
            Some(ranks) if ranks == 0 || ranks as usize > RANKS_MAX => {
                Err(crate::Error::Answer { path: "ranks", what: "not between 1 and 4096" })
            }
            ranks => Ok(ranks),
        }
    }
}

/// A worker as discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerDescription {
    /// At least one, by global rank.
    pub ranks: Vec<RankDescription>,
    /// How it is told a rank.
    pub pinning: Pinning,
    /// Tokens per block. `None`: unknown, and the worker's events cannot be indexed.
    pub block_size: Option<BlockSize>,
    /// Whether prefix caching is on, if told.
    pub prefix_caching: Option<bool>,
    /// Longest prompt and output, tokens.
    pub max_model_len: Option<u32>,
    /// What it does of a request, by its own word: only SGLang tells.
    pub role: Role,
    /// Port of its bootstrap server, by the same word.
    pub bootstrap_port: Option<u16>,
    /// The model and its LoRA adapters.
    pub models: Vec<ModelCard>,
    /// Where the engine loaded the model from: a folder if it starts with `/`, else a hub name.
    pub tokenizer_source: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// Whether the events of all its ranks are to be had by draining them: see [`crate::trtllm::drain`].
    pub drained: bool,
    /// Ids of the workers behind a Dynamo frontend, one of which it is, where config does not say which. Sorted.
    pub instances: Vec<u64>,
    /// What leaves kv blind here.
    pub findings: Vec<Blindness>,
}

/// One rank as discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankDescription {
    /// What the pin names, and the rank within the worker.
    pub header_rank: DpRank,
    /// What events, ports and metrics call it.
    pub global_rank: u32,
    /// Its lockstep group among the worker's ranks, from 0.
    pub group: u32,
    /// Usable KV blocks; 0 unknown.
    pub capacity_blocks: u32,
    /// Its event sockets, if it has any.
    pub events: Option<EventEndpoints>,
    /// Where it publishes its load, if it does.
    pub load: Option<LoadEndpoint>,
}

/// Where a rank publishes its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEndpoints {
    /// To connect a SUB socket to.
    pub live: String,
    /// To connect DEALER sockets to.
    pub replay: Option<String>,
    /// To subscribe to.
    pub topic: String,
}

/// Where a rank publishes its load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadEndpoint {
    /// To connect a SUB socket to.
    pub live: String,
    /// To subscribe to.
    pub topic: String,
    /// What it calls itself there: its place among the ranks that step with it.
    pub rank: u32,
}

#[cfg(test)]
mod tests;
