//! What a worker was found to be.

use http::{HeaderName, HeaderValue};
use rankwise_core::ids::BlockSize;
use rankwise_engines::Engine;
use rankwise_engines::disaggregation::Role;
use rankwise_engines::discovery::{Blindness, RankDescription};
use rankwise_engines::dynamo::INSTANCE_HEADER;
use rankwise_engines::pin::Pinning;

/// What a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What speaks there.
    pub engine: Engine,
    /// At least one.
    pub ranks: Vec<RankDescription>,
    /// How it is told a rank.
    pub pinning: Pinning,
    /// What it does of a request.
    pub role: Role,
    /// Port of its bootstrap server, if it has one.
    pub bootstrap_port: u16,
    /// Tokens per block; unknown: its cache cannot be indexed.
    pub block_size: Option<BlockSize>,
    /// Models it serves, adapters included.
    pub models: Vec<String>,
    /// Those of them that are LoRA adapters.
    pub adapters: Vec<String>,
    /// Where the engine loaded its model from.
    pub tokenizer_source: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// What leaves kv blind there.
    pub findings: Vec<Blindness>,
    /// Whether its events are drained.
    pub drained: bool,
    /// The worker's id behind a Dynamo frontend, where config does not say it and [`identify`](super::identify) has found it.
    pub instance: Option<u64>,
    /// Ids of the workers one of which it is, until that is found.
    pub instances: Vec<u64>,
    /// What a probe showed of ranks in the body, if there was one.
    pub takes_rank_fields: Option<bool>,
}

impl Description {
    /// Tokens per block of what is drained from it, if it is drained and that is known.
    pub(super) fn drained_in(&self) -> Option<BlockSize> {
        self.block_size.filter(|_| self.drained)
    }

    /// What is sent with every request to it besides what config says.
    pub(super) fn headers(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let id = self.instance.map(HeaderValue::from);
        id.into_iter().map(|id| (HeaderName::from_static(INSTANCE_HEADER), id))
    }

    /// Whether all that its targets are made of is the same.
    pub(super) fn is_same_worker(&self, other: &Self) -> bool {
        self.engine == other.engine
            && self.ranks == other.ranks
            && self.pinning == other.pinning
            && self.role == other.role
            && self.bootstrap_port == other.bootstrap_port
            && self.block_size == other.block_size
            && self.drained == other.drained
            && self.instance == other.instance
    }
}
