//! What an SGLang worker is, by its `/server_info`, and which of its settings leave kv blind.

use rankwise_core::ids::{BlockSize, DpRank};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::disaggregation::Role;
use crate::discovery::{
    self, Answers, Blindness, EventEndpoints, LoadEndpoint, Overrides, RANKS_MAX, RankDescription,
    WorkerDescription,
};
use crate::error::Error;
use crate::pin::Pinning;

/// Paths to ask with GET besides the models. `/server_info` makes a round trip to the engine: not to be asked often.
pub const PATHS: [&str; 1] = [SERVER_INFO];

const SERVER_INFO: &str = "/server_info";

const EVENTS: &str = "start sglang with --kv-events-config \
    '{\"publisher\":\"zmq\",\"endpoint\":\"tcp://*:5557\",\"replay_endpoint\":\"tcp://*:5657\"}'";
const CACHING: &str = "start sglang without --disable-radix-cache";
const CACHED_TOKENS: &str = "start sglang with --enable-cache-report";

/// Pages below this are warned about; many backends have a page of one token by default.
const PAGE_TOKENS_MIN: u32 = 8;

/// What `kv_events` says when events are published.
#[derive(Deserialize)]
struct KvEvents {
    #[serde(default)]
    publisher: Option<String>,
    #[serde(default)]
    endpoint_host: String,
    endpoint_port_base: u16,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    block_size: Option<u32>,
    #[serde(default)]
    dp_size: Option<u32>,
    #[serde(default)]
    replay_endpoint_port_base: Option<u16>,
    #[serde(default)]
    load_endpoint_port_base: Option<u16>,
    #[serde(default)]
    load_topic: Option<String>,
}

/// What load is published under unless the engine says otherwise.
const LOAD_TOPIC: &str = "load";

/// Puts together what the worker at `host` answered; see [`crate::Engine::describe`].
///
/// # Errors
/// If `/server_info` is missing or not of this shape.
pub(crate) fn describe(
    host: &str,
    answers: &Answers<'_>,
    overrides: &Overrides,
) -> Result<WorkerDescription, Error> {
    let missing = Error::Answer { path: SERVER_INFO, what: "not answered: is this sglang 0.5.23 or later?" };
    let body = answers.get(SERVER_INFO).ok_or(missing)?;
    let info: Map<String, Value> =
        serde_json::from_slice(body).map_err(|source| Error::Json { path: SERVER_INFO, source })?;
    let models = answers.get("/v1/models").map(discovery::models).transpose()?.unwrap_or_default();
    let events = kv_events(&info)?;
    let (ranks, group_ranks) = rank_count(&info, events.as_ref(), overrides)?;
    let number = |name: &str| info.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let flag = |name: &str| info.get(name).and_then(Value::as_bool);
    let told = events.as_ref().and_then(|events| events.block_size).or_else(|| number("page_size"));
    let (block_size, finding) = overrides.block_size(told);
    let mut findings: Vec<_> = finding.into_iter().collect();
    if let Some(BlockSize(tokens)) = block_size.filter(|size| size.0 < PAGE_TOKENS_MIN) {
        findings.push(Blindness::SmallBlocks { tokens });
    }
    if flag("disable_radix_cache") == Some(true) {
        findings.push(Blindness::PrefixCachingOff { start: CACHING });
    }
    if events.is_none() {
        findings.push(Blindness::EventsOff { start: EVENTS });
    }
    if flag("enable_cache_report") == Some(false) {
        findings.push(Blindness::CachedTokensUntold { start: CACHED_TOKENS });
    }
    let capacity = overrides.capacity_blocks.unwrap_or_else(|| {
        let tokens = number("max_total_num_tokens").unwrap_or(0);
        block_size.and_then(|size| tokens.checked_div(size.0)).unwrap_or(0)
    });
    let ranks = (0..ranks)
        .map(|rank| RankDescription {
            header_rank: DpRank(rank),
            global_rank: rank,
            group: if overrides.independent_ranks { rank } else { rank / group_ranks },
            capacity_blocks: capacity,
            events: events.as_ref().and_then(|events| endpoints(host, rank, events, &mut findings)),
            load: events.as_ref().and_then(|events| load_endpoint(host, rank, group_ranks, events)),
        })
        .collect();
    let base = models.iter().find(|card| card.parent.is_none());
    let text = |name: &str| info.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(WorkerDescription {
        ranks,
        pinning: Pinning::HeaderAndField,
        block_size,
        prefix_caching: flag("disable_radix_cache").map(|off| !off),
        max_model_len: base.and_then(|card| card.max_model_len),
        role: role(&info),
        bootstrap_port: info
            .get("disaggregation_bootstrap_port")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok()),
        tokenizer_source: text("tokenizer_path").or_else(|| text("model_path")),
        models,
        version: discovery::version(body),
        drained: false,
        instances: Vec::new(),
        findings,
    })
}

/// `null`, as text, where it takes whole requests.
fn role(info: &Map<String, Value>) -> Role {
    match info.get("disaggregation_mode").and_then(Value::as_str) {
        Some("prefill") => Role::Prefill,
        Some("decode") => Role::Decode,
        _ => Role::Aggregated,
    }
}

/// `None` while nothing is published.
fn kv_events(info: &Map<String, Value>) -> Result<Option<KvEvents>, Error> {
    let Some(told) = info.get("kv_events").filter(|told| !told.is_null()) else { return Ok(None) };
    let events = KvEvents::deserialize(told).map_err(|source| Error::Json { path: SERVER_INFO, source })?;
    Ok(Some(events).filter(|events| events.publisher.as_deref().is_none_or(|publisher| publisher == "zmq")))
}

/// How many ranks there are, and how many of them step together.
///
/// `--dp-size N --enable-dp-attention` resolves to `attn_dp_size` N and `dp_size` 1: the product tells, `dp_size` alone
/// never. Ranks of plain data parallelism are servers of their own.
fn rank_count(
    info: &Map<String, Value>,
    events: Option<&KvEvents>,
    overrides: &Overrides,
) -> Result<(u32, u32), Error> {
    let size = |name: &str| {
        let size = info.get(name).and_then(Value::as_u64).and_then(|size| u32::try_from(size).ok());
        size.unwrap_or(1).max(1)
    };
    let (plain, attention) = (size("dp_size"), size("attn_dp_size"));
    let attention_on =
        attention > 1 || info.get("enable_dp_attention").and_then(Value::as_bool) == Some(true);
    let told = plain.saturating_mul(attention);
    let published = events.and_then(|events| events.dp_size).unwrap_or(1);
    let ranks = overrides.ranks()?.unwrap_or_else(|| told.max(published));
    if ranks as usize > RANKS_MAX {
        return Err(Error::Bound { what: "/server_info, ranks", max: RANKS_MAX });
    }
    let group = match attention_on {
        true if attention > 1 => attention,
        true => ranks,
        false => 1,
    };
    Ok((ranks, group))
}

impl KvEvents {
    /// The host that the sockets are bound to; it may be a wildcard.
    fn bound(&self) -> &str {
        if self.endpoint_host.is_empty() { "*" } else { &self.endpoint_host }
    }
}

/// A socket of this rank: the ranks' ports of a kind follow each other from its base.
fn socket(host: &str, rank: u32, events: &KvEvents, base: u16) -> Option<String> {
    let endpoint = discovery::offset(&format!("tcp://{}:{base}", events.bound()), rank)?;
    discovery::reachable(&endpoint, host)
}

/// Only with `--load-publish-endpoint`.
fn load_endpoint(host: &str, rank: u32, group_ranks: u32, events: &KvEvents) -> Option<LoadEndpoint> {
    let live = socket(host, rank, events, events.load_endpoint_port_base?)?;
    let topic = events.load_topic.clone().unwrap_or_else(|| LOAD_TOPIC.to_owned());
    Some(LoadEndpoint { live, topic, rank: rank % group_ranks.max(1) })
}

fn endpoints(
    host: &str,
    rank: u32,
    events: &KvEvents,
    findings: &mut Vec<Blindness>,
) -> Option<EventEndpoints> {
    let socket = |base| socket(host, rank, events, base);
    let Some(live) = socket(events.endpoint_port_base) else {
        let endpoint = format!("tcp://{}:{}", events.bound(), events.endpoint_port_base);
        findings.push(Blindness::EndpointUnusable { global_rank: rank, endpoint });
        return None;
    };
    let replay = events.replay_endpoint_port_base.and_then(socket);
    if replay.is_none() {
        findings.push(Blindness::NoReplay { global_rank: rank });
    }
    Some(EventEndpoints { live, replay, topic: events.topic.clone() })
}

#[cfg(test)]
mod tests;
