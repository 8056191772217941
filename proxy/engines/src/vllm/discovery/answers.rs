//! The answers of vLLM's endpoints, as far as they matter here.

use std::collections::BTreeMap;

use rankwise_core::ids::BlockSize;
use serde::Deserialize;

use crate::discovery::RANKS_MAX;
use crate::error::Error;
use crate::prometheus;
use crate::vllm::load;

/// One rank's entry in `/kv_event_sources`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct EventSource {
    #[serde(default)]
    enable_kv_cache_events: bool,
    #[serde(default)]
    publisher: Option<String>,
    #[serde(default)]
    pub(super) endpoint: String,
    #[serde(default)]
    pub(super) replay_endpoint: Option<String>,
    #[serde(default)]
    pub(super) topic: String,
}

impl EventSource {
    pub(super) fn enabled(&self) -> bool {
        self.enable_kv_cache_events && self.publisher.as_deref().is_none_or(|publisher| publisher == "zmq")
    }
}

/// One rank's `vllm:cache_config_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CacheConfig {
    pub(super) block_size: Option<u32>,
    pub(super) prefix_caching: Option<bool>,
    kv_cache_size_tokens: Option<u64>,
    num_gpu_blocks: Option<u64>,
}

impl CacheConfig {
    /// Blocks that requests can use; one is the null block. `kv_cache_size_tokens` is per rank, whereas `num_gpu_blocks` is
    /// the sum over all ranks under each rank's label (0.32, recorded).
    pub(super) fn usable_blocks(&self, ranks: usize, block_size: Option<BlockSize>) -> u32 {
        let by_tokens = self
            .kv_cache_size_tokens
            .zip(block_size)
            .and_then(|(tokens, size)| tokens.checked_div(size.0.into()));
        let blocks = by_tokens.or_else(|| self.num_gpu_blocks?.checked_div(ranks as u64)).unwrap_or(0);
        u32::try_from(blocks.saturating_sub(1)).unwrap_or(u32::MAX)
    }
}

/// By global rank; empty if events are off.
pub(super) fn event_sources(body: &[u8]) -> Result<BTreeMap<u32, EventSource>, Error> {
    let path = "/kv_event_sources";
    let mut sources: BTreeMap<u32, EventSource> =
        serde_json::from_slice(body).map_err(|source| Error::Json { path, source })?;
    if sources.len() > RANKS_MAX {
        return Err(Error::Bound { what: "/kv_event_sources, ranks", max: RANKS_MAX });
    }
    sources.retain(|_, source| !source.endpoint.is_empty());
    Ok(sources)
}

/// By global rank.
pub(super) fn cache_configs(page: &[u8]) -> BTreeMap<u32, CacheConfig> {
    prometheus::samples(page, &["vllm:cache_config_info"])
        .filter_map(|sample| {
            let number = |name| sample.label(name).and_then(|value| value.parse::<u64>().ok());
            let config = CacheConfig {
                block_size: number("block_size")
                    .and_then(|size| u32::try_from(size).ok())
                    .filter(|size| *size > 0),
                prefix_caching: match sample.label("enable_prefix_caching") {
                    Some("True") => Some(true),
                    Some("False") => Some(false),
                    _ => None,
                },
                kv_cache_size_tokens: number("kv_cache_size_tokens"),
                num_gpu_blocks: number("num_gpu_blocks"),
            };
            Some((load::rank(&sample)?, config))
        })
        .take(RANKS_MAX)
        .collect()
}
