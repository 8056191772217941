//! The engines by name, and which adapter answers for each.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rankwise_core::ids::BlockSize;
use rankwise_core::target::EngineReport;

use crate::disaggregation::Transfer;
use crate::discovery::{self, Answers, Overrides, WorkerDescription};
use crate::error::Error;
use crate::{dynamo, generic, pin, sglang, trtllm, vllm};

/// Which engine a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// vLLM: ranks, events, replay and load are read from it.
    Vllm,
    /// SGLang: the same, from its own endpoints.
    Sglang,
    /// TensorRT-LLM: behind rankwise's shim as the others are, bare without events and load, and with ranks only if a probe shows that it
    /// takes them.
    Trtllm,
    /// A worker behind `dynamo.frontend --router-mode direct`: what it is stands in the config.
    Dynamo,
    /// Any server of the OpenAI API: no events, and its ranks, if it has any, cannot be named.
    Generic,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Vllm, Self::Sglang, Self::Trtllm, Self::Dynamo, Self::Generic];

    /// The name in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Trtllm => "trtllm",
            Self::Dynamo => "dynamo",
            Self::Generic => "generic",
        }
    }

    /// The engine that gave this answer to `GET /v1/models`, by who is said to own the models. A Dynamo frontend does not
    /// tell which worker is meant, so it is generic unless config says more.
    pub fn detect(models: &[u8]) -> Self {
        match discovery::owner(models).as_deref() {
            Some("vllm") => Self::Vllm,
            Some("sglang") => Self::Sglang,
            Some("tensorrt_llm") => Self::Trtllm,
            _ => Self::Generic,
        }
    }

    /// Paths to ask with GET, besides `/v1/models`, before [`describe`](Self::describe). Any may fail.
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Self::Vllm => &vllm::discovery::PATHS,
            Self::Sglang => &sglang::discovery::PATHS,
            Self::Trtllm => &trtllm::discovery::PATHS,
            Self::Dynamo => &dynamo::PATHS,
            Self::Generic => &[],
        }
    }

    /// What shows whether the worker takes a rank in the body, where its answers do not tell and it may.
    pub fn rank_probe(self, answers: &Answers<'_>, overrides: &Overrides) -> Option<trtllm::RankProbe> {
        match self {
            Self::Trtllm => trtllm::RankProbe::of(answers, overrides),
            Self::Vllm | Self::Sglang | Self::Dynamo | Self::Generic => None,
        }
    }

    /// Puts together what the worker at `host` answered. `host` is a name, an IPv4 or an IPv6 address with or without
    /// brackets, and stands in where the engine names a wildcard.
    ///
    /// # Errors
    /// If an answer that came is not of its shape, or no rank is to be found.
    pub fn describe(
        self,
        host: &str,
        answers: &Answers<'_>,
        overrides: &Overrides,
    ) -> Result<WorkerDescription, Error> {
        match self {
            Self::Vllm => vllm::discovery::describe(host, answers, overrides),
            Self::Sglang => sglang::discovery::describe(host, answers, overrides),
            Self::Trtllm => trtllm::discovery::describe(host, answers, overrides),
            Self::Dynamo => dynamo::describe(answers, overrides),
            Self::Generic => Ok(generic::describe(answers, overrides)),
        }
    }

    /// The path that tells whether the worker lives: 200 when it does.
    pub fn health_path(self) -> &'static str {
        match self {
            Self::Vllm | Self::Trtllm | Self::Dynamo => "/health",
            // Its /health generates a token.
            Self::Sglang => "/ready",
            Self::Generic => "/v1/models",
        }
    }

    /// Whether the answer of [`health_path`](Self::health_path), though it is 200, says that this worker is not there: behind a
    /// Dynamo frontend others may be.
    pub fn lacks_worker(self, health: &[u8], instance: Option<u64>) -> bool {
        let there = || dynamo::instances(health);
        self == Self::Dynamo && instance.zip(there()).is_some_and(|(id, there)| !there.contains(&id))
    }

    /// The path that tells the load of every rank, if one does.
    pub fn load_path(self) -> Option<&'static str> {
        match self {
            Self::Vllm => Some(vllm::load::PATH),
            Self::Sglang => Some(sglang::load::PATH),
            Self::Trtllm => Some(trtllm::load::PATH),
            Self::Dynamo | Self::Generic => None,
        }
    }

    /// What the answer of [`load_path`](Self::load_path) says about each global rank.
    pub fn load_reports(self, body: &[u8]) -> BTreeMap<u32, EngineReport> {
        match self {
            Self::Vllm => vllm::load::reports(body),
            Self::Sglang => sglang::load::reports(body),
            Self::Trtllm => trtllm::load::reports(body),
            Self::Dynamo | Self::Generic => BTreeMap::new(),
        }
    }

    /// Whether the answer of [`load_path`](Self::load_path) says that the engine sleeps: it answers, and serves nothing.
    pub fn is_asleep(self, body: &[u8]) -> bool {
        self == Self::Vllm && vllm::load::is_asleep(body)
    }

    /// Whether a request to this path is served by the rank that it names.
    ///
    /// As their sources have it: vLLM 0.32 hands no rank on from `/v1/responses` (measured: the rank that serves is its
    /// own choice) and `/v1/embeddings`, SGLang 0.5.23 none from `/v1/embeddings`. TensorRT-LLM's shim names it whatever the path.
    pub fn takes_rank_on(self, path: &str) -> bool {
        match self {
            Self::Vllm => !matches!(path, "/v1/responses" | "/v1/embeddings"),
            Self::Sglang => path != "/v1/embeddings",
            Self::Trtllm | Self::Dynamo | Self::Generic => true,
        }
    }

    /// Whether what `/v1/responses` answers may be kept for later requests to refer to: in its server, for all of the worker's ranks.
    /// Dynamo's frontends keep nothing; of other servers it is not known, and some pass over what is referred to.
    pub fn keeps_responses(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang | Self::Trtllm)
    }

    /// The header by which it knows the turns of a conversation, where it chooses the rank itself and may keep them on one.
    pub fn conversation_header(self) -> Option<&'static str> {
        (self == Self::Trtllm).then_some(trtllm::CONVERSATION_HEADER)
    }

    /// How KV gets from one of its workers to another. `None`: not by what clients say.
    pub fn transfer(self) -> Option<Transfer> {
        match self {
            Self::Vllm => Some(Transfer::KvTransferParams),
            Self::Sglang => Some(Transfer::BootstrapRoom),
            Self::Trtllm => Some(Transfer::DisaggregatedParams),
            Self::Dynamo | Self::Generic => None,
        }
    }

    /// Whether `POST /tokenize` tells the token ids of a prompt or of messages.
    pub fn tells_token_ids(self) -> bool {
        matches!(self, Self::Vllm | Self::Sglang)
    }

    /// The `cached_tokens` the engine should report for a prompt whose first `overlap_blocks` blocks are on the rank.
    pub fn expected_cached_tokens(
        self,
        overlap_blocks: u32,
        block_size: BlockSize,
        prompt_tokens: u32,
    ) -> u32 {
        match self {
            Self::Vllm | Self::Sglang | Self::Trtllm | Self::Dynamo | Self::Generic => {
                pin::expected_cached_tokens(overlap_blocks, block_size, prompt_tokens)
            }
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|engine| engine.name() == name).ok_or(UnknownEngine)
    }
}

/// No engine has this name.
#[derive(Debug, thiserror::Error)]
#[error("unknown engine, expected vllm, sglang, trtllm, dynamo or generic")]
pub struct UnknownEngine;

#[cfg(test)]
mod tests;
