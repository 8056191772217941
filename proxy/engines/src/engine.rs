//! The engines by name, and the questions whose answers are a table.

use std::fmt;
use std::str::FromStr;

use rankwise_core::ids::{BlockSize, DpRank};

use crate::api::{self, Route};
use crate::vllm;

/// Which engine a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Engine {
    /// vLLM: ranks, events, replay and load are read from it.
    Vllm,
    /// Any server of the OpenAI API: no events, and its ranks, if it has any, cannot be named.
    Generic,
}

/// How a request is pinned to a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RankPin {
    /// By this header, the only one of its name.
    Header {
        /// In lower case.
        name: &'static str,
        /// A clean decimal number.
        value: String,
    },
    /// The worker has one rank; nothing is sent.
    OnlyRank,
    /// The engine cannot be told.
    Impossible,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Vllm, Self::Generic];

    /// The name in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Generic => "generic",
        }
    }

    /// The engine that gave this answer to `GET /v1/models`.
    pub fn detect(models: &[u8]) -> Self {
        if vllm::discovery::is_vllm(models) { Self::Vllm } else { Self::Generic }
    }

    /// How `rank` of a worker with `ranks` ranks is named to the engine.
    ///
    /// A worker with one rank is never sent a header: vLLM's ranks in external mode have global numbers but accept only 0.
    pub fn pin(self, rank: DpRank, ranks: u32) -> RankPin {
        match self {
            Self::Vllm if rank.0 >= ranks => RankPin::Impossible,
            Self::Vllm if ranks == 1 => RankPin::OnlyRank,
            Self::Vllm => {
                let (name, value) = vllm::pin::rank_header(rank);
                RankPin::Header { name, value }
            }
            Self::Generic => RankPin::Impossible,
        }
    }

    /// Headers of the client that must not reach the engine, in lower case.
    pub fn stripped_headers(self) -> &'static [&'static str] {
        &vllm::pin::CLIENT_RANK_HEADERS
    }

    /// What becomes of a client's request. `path` is without its query.
    pub fn route(self, method: &str, path: &str) -> Route {
        match self {
            Self::Vllm | Self::Generic => api::route(method, path),
        }
    }

    /// The path that tells whether the worker lives: 200 when it does.
    pub fn health_path(self) -> &'static str {
        match self {
            Self::Vllm => "/health",
            Self::Generic => "/v1/models",
        }
    }

    /// The `cached_tokens` the engine should report for a prompt whose first `overlap_blocks` blocks are on the rank.
    pub fn expected_cached_tokens(
        self,
        overlap_blocks: u32,
        block_size: BlockSize,
        prompt_tokens: u32,
    ) -> u32 {
        match self {
            Self::Vllm | Self::Generic => {
                vllm::pin::expected_cached_tokens(overlap_blocks, block_size, prompt_tokens)
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
#[error("unknown engine, expected vllm or generic")]
pub struct UnknownEngine;

#[cfg(test)]
mod tests;
