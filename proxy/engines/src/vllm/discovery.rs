//! What a vLLM worker is: its ranks, their event sockets, capacity, models; and which of its settings leave kv blind.

mod answers;

use std::collections::BTreeMap;

use rankwise_core::ids::DpRank;

use crate::disaggregation::Role;
use crate::discovery::{
    self, Answers, Blindness, EventEndpoints, Overrides, RankDescription, WorkerDescription,
};
use crate::error::Error;
use crate::pin::Pinning;
use answers::{CacheConfig, EventSource};

/// Paths to ask with GET besides the models. Any may fail: the findings say what is missing.
pub const PATHS: [&str; 3] = ["/metrics", "/kv_event_sources", "/version"];

/// How to start it so that events are published.
const EVENTS: &str = "start vllm with --kv-events-config \
    '{\"enable_kv_cache_events\":true,\"endpoint\":\"tcp://*:5557\",\"replay_endpoint\":\"tcp://*:5657\"}'";
const CACHING: &str = "start vllm with --enable-prefix-caching";

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
    let caches = answers.get("/metrics").map(answers::cache_configs).unwrap_or_default();
    if caches.is_empty() {
        findings.push(Blindness::MetricsMissing);
    }
    let sources =
        answers.get("/kv_event_sources").map(answers::event_sources).transpose()?.unwrap_or_default();
    let models = answers.get("/v1/models").map(discovery::models).transpose()?.unwrap_or_default();
    let numbers = rank_numbers(&caches, &sources, overrides)?;
    let told = caches.values().find_map(|cache| cache.block_size);
    let (block_size, finding) = overrides.block_size(told);
    findings.extend(finding);
    let prefix_caching = caches.values().find_map(|cache| cache.prefix_caching);
    if prefix_caching == Some(false) {
        findings.push(Blindness::PrefixCachingOff { start: CACHING });
    }
    let events_on = sources.values().any(EventSource::enabled);
    if !events_on {
        findings.push(Blindness::EventsOff { start: EVENTS });
    }
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
            load: None,
        });
    }
    let base = models.iter().find(|card| card.parent.is_none());
    Ok(WorkerDescription {
        ranks,
        pinning: Pinning::Header,
        block_size,
        prefix_caching,
        max_model_len: base.and_then(|card| card.max_model_len),
        role: Role::Aggregated,
        bootstrap_port: None,
        tokenizer_source: base.and_then(|card| card.root.clone()),
        models,
        version: answers.get("/version").and_then(discovery::version),
        drained: false,
        instances: Vec::new(),
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
    if let Some(ranks) = overrides.ranks()? {
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
    let Some(live) = discovery::reachable(&source.endpoint, host) else {
        findings.push(Blindness::EndpointUnusable { global_rank, endpoint: source.endpoint.clone() });
        return None;
    };
    let replay = source.replay_endpoint.as_deref().and_then(|replay| discovery::reachable(replay, host));
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
