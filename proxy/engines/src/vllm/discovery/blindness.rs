//! Settings of the engine that leave kv blind.

use std::fmt;

/// Something about a worker because of which kv routing sees less than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blindness {
    /// No rank publishes events.
    EventsOff,
    /// Others do, this one does not.
    RankWithoutEvents {
        /// Which.
        global_rank: u32,
    },
    /// Nothing is cached, or nothing is reused.
    PrefixCachingOff,
    /// What is missed of this rank is lost.
    NoReplay {
        /// Which.
        global_rank: u32,
    },
    /// Neither the engine nor the config tells the block size.
    BlockSizeUnknown,
    /// The rank publishes where nobody can connect to.
    EndpointUnusable {
        /// Which.
        global_rank: u32,
        /// As the engine says it.
        endpoint: String,
    },
    /// Neither load nor ranks are told.
    MetricsMissing,
}

impl Blindness {
    /// The name in JSON and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EventsOff => "events_off",
            Self::RankWithoutEvents { .. } => "rank_without_events",
            Self::PrefixCachingOff => "prefix_caching_off",
            Self::NoReplay { .. } => "no_replay",
            Self::BlockSizeUnknown => "block_size_unknown",
            Self::EndpointUnusable { .. } => "endpoint_unusable",
            Self::MetricsMissing => "metrics_missing",
        }
    }
}

impl fmt::Display for Blindness {
    /// What is wrong, and the setting that mends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventsOff => write!(
                f,
                "kv events are off: start vllm with --kv-events-config \
                 '{{\"enable_kv_cache_events\":true,\"endpoint\":\"tcp://*:5557\",\"replay_endpoint\":\"tcp://*:5657\"}}'"
            ),
            Self::RankWithoutEvents { global_rank } => write!(f, "rank {global_rank} publishes no kv events"),
            Self::PrefixCachingOff => {
                f.write_str("prefix caching is off: start vllm with --enable-prefix-caching")
            }
            Self::NoReplay { global_rank } => write!(
                f,
                "rank {global_rank} has no replay: set replay_endpoint in --kv-events-config, or a missed event \
                 empties the rank's index"
            ),
            Self::BlockSizeUnknown => f.write_str("block size unknown: set block_size for the worker"),
            Self::EndpointUnusable { global_rank, endpoint } => write!(
                f,
                "rank {global_rank} publishes on {endpoint}, which cannot be connected to: bind it, as tcp://*:PORT"
            ),
            Self::MetricsMissing => f.write_str("/metrics tells no engine: is it served on another address?"),
        }
    }
}
