//! What a vLLM worker is: its ranks, their event sockets, capacity, models; and which of its settings leave kv blind.

mod answers;
mod blindness;
mod endpoint;

use std::collections::BTreeMap;

use rankwise_core::ids::{BlockSize, DpRank};

pub use answers::{ModelCard, is_vllm};
pub use blindness::Blindness;

use crate::error::Error;
use answers::{CacheConfig, EventSource};

/// Paths to ask with GET, each once, in this order. Any may fail; [`Answers`] takes what came.
pub const PATHS: [&str; 4] = ["/v1/models", "/metrics", "/kv_event_sources", "/version"];

/// Bytes of an answer worth reading.
pub const ANSWER_BYTES_MAX: usize = super::load::PAGE_BYTES_MAX;

/// The bodies of the 200 answers to [`PATHS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers<'a> {
    /// `GET /v1/models`.
    pub models: Option<&'a [u8]>,
    /// `GET /metrics`.
    pub metrics: Option<&'a [u8]>,
    /// `GET /kv_event_sources`.
    pub event_sources: Option<&'a [u8]>,
    /// `GET /version`.
    pub version: Option<&'a [u8]>,
}

/// What config sets by hand; each wins over what is discovered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Number of ranks, counted from the first.
    pub ranks: Option<u32>,
    /// Tokens per block.
    pub block_size: Option<BlockSize>,
    /// Usable blocks per rank.
    pub capacity_blocks: Option<u32>,
    /// Whether every rank steps alone, as those of a dense model do. Not to be seen over HTTP; by default all ranks of a
    /// worker form one lockstep group.
    pub independent_ranks: bool,
}

/// A worker as discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerDescription {
    /// At least one, by global rank.
    pub ranks: Vec<RankDescription>,
    /// Tokens per block. `None`: unknown, and the worker's events cannot be indexed.
    pub block_size: Option<BlockSize>,
    /// Whether prefix caching is on, if told.
    pub prefix_caching: Option<bool>,
    /// Longest prompt and output, tokens.
    pub max_model_len: Option<u32>,
    /// The model and its LoRA adapters.
    pub models: Vec<ModelCard>,
    /// Where the engine loaded the model from: a folder if it starts with `/`, else a hub name.
    pub tokenizer_source: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// What leaves kv blind here.
    pub findings: Vec<Blindness>,
}

/// One rank as discovered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankDescription {
    /// What the pinning header takes, and the rank within the worker.
    pub header_rank: DpRank,
    /// What events, ports and metrics call it.
    pub global_rank: u32,
    /// Its lockstep group among the worker's ranks, from 0.
    pub group: u32,
    /// Usable KV blocks; 0 unknown.
    pub capacity_blocks: u32,
    /// Its event sockets, if it has any.
    pub events: Option<EventEndpoints>,
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

/// Puts together what the worker at `host` answered. `host` is a name, an IPv4 or an IPv6 address with or without brackets,
/// and stands in where the engine names a wildcard.
///
/// # Errors
/// If an answer that came is not of this shape, or no rank is to be found.
pub fn describe(
    host: &str,
    answers: &Answers<'_>,
    overrides: &Overrides,
) -> Result<WorkerDescription, Error> {
    let mut findings = Vec::new();
    let caches = answers.metrics.map(answers::cache_configs).unwrap_or_default();
    if caches.is_empty() {
        findings.push(Blindness::MetricsMissing);
    }
    let sources = answers.event_sources.map(answers::event_sources).transpose()?.unwrap_or_default();
    let models = answers.models.map(answers::models).transpose()?.unwrap_or_default();
    let numbers = rank_numbers(&caches, &sources, overrides)?;
    let block_size =
        overrides.block_size.or_else(|| caches.values().find_map(|cache| cache.block_size).map(BlockSize));
    if block_size.is_none() {
        findings.push(Blindness::BlockSizeUnknown);
    }
    let prefix_caching = caches.values().find_map(|cache| cache.prefix_caching);
    if prefix_caching == Some(false) {
        findings.push(Blindness::PrefixCachingOff);
    }
    if sources.values().all(|source| !source.enabled()) {
        findings.push(Blindness::EventsOff);
    }
    let events_on = !findings.contains(&Blindness::EventsOff);
    let mut ranks = Vec::with_capacity(numbers.len());
    for (local, global_rank) in (0..).zip(&numbers) {
        let events = sources.get(global_rank).filter(|source| source.enabled());
        if events.is_none() && events_on {
            findings.push(Blindness::RankWithoutEvents { global_rank: *global_rank });
        }
        ranks.push(RankDescription {
            header_rank: DpRank(local),
            global_rank: *global_rank,
            group: if overrides.independent_ranks { local } else { 0 },
            capacity_blocks: overrides.capacity_blocks.unwrap_or_else(|| {
                caches.get(global_rank).map_or(0, |cache| cache.usable_blocks(numbers.len(), block_size))
            }),
            events: events.and_then(|source| event_endpoints(host, *global_rank, source, &mut findings)),
        });
    }
    let base = models.iter().find(|card| card.parent.is_none());
    Ok(WorkerDescription {
        ranks,
        block_size,
        prefix_caching,
        max_model_len: base.and_then(|card| card.max_model_len),
        tokenizer_source: base.and_then(|card| card.root.clone()),
        models,
        version: answers.version.and_then(answers::version),
        findings,
    })
}

/// The global ranks behind this port, ascending. The header's rank is the place in this list: in hybrid mode a port serves
/// consecutive global ranks from its node's start rank on, and the header counts from 0.
///
/// The metrics name exactly the engines behind the port; the event sources stand in for them.
fn rank_numbers(
    caches: &BTreeMap<u32, CacheConfig>,
    sources: &BTreeMap<u32, EventSource>,
    overrides: &Overrides,
) -> Result<Vec<u32>, Error> {
    let mut numbers: Vec<u32> = caches.keys().copied().collect();
    if numbers.is_empty() {
        numbers = sources.keys().copied().collect();
    }
    if let Some(ranks) = overrides.ranks {
        if ranks == 0 || ranks as usize > super::load::RANKS_MAX {
            return Err(Error::Answer { path: "ranks", what: "not between 1 and 4096" });
        }
        let start = numbers.first().copied().unwrap_or(0);
        numbers = (0..ranks).map(|rank| start.saturating_add(rank)).collect();
    }
    if numbers.is_empty() {
        return Err(Error::Answer { path: "/metrics", what: "names no engine" });
    }
    Ok(numbers)
}

fn event_endpoints(
    host: &str,
    global_rank: u32,
    source: &EventSource,
    findings: &mut Vec<Blindness>,
) -> Option<EventEndpoints> {
    let Some(live) = endpoint::reachable(&source.endpoint, host) else {
        findings.push(Blindness::EndpointUnusable { global_rank, endpoint: source.endpoint.clone() });
        return None;
    };
    let replay = source.replay_endpoint.as_deref().and_then(|replay| endpoint::reachable(replay, host));
    if replay.is_none() {
        findings.push(match &source.replay_endpoint {
            Some(endpoint) => Blindness::EndpointUnusable { global_rank, endpoint: endpoint.clone() },
            None => Blindness::NoReplay { global_rank },
        });
    }
    Some(EventEndpoints { live, replay, topic: source.topic.clone() })
}

#[cfg(test)]
mod tests;
