//! Settings of an engine that leave kv blind.

use std::fmt;

/// Something about a worker because of which kv routing sees less than it could.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Blindness {
    /// No rank publishes events.
    EventsOff {
        /// How to start the engine so that they do.
        start: &'static str,
    },
    /// Others do, this one does not.
    RankWithoutEvents {
        /// Which.
        global_rank: u32,
    },
    /// Nothing is cached, or nothing is reused.
    PrefixCachingOff {
        /// How to start the engine so that it is.
        start: &'static str,
    },
    /// What is missed of this rank is lost.
    NoReplay {
        /// Which.
        global_rank: u32,
    },
    /// Neither the engine nor the config tells the block size.
    BlockSizeUnknown,
    /// Config says another block size than the engine does: its events fit no prompt.
    BlockSizeMismatch {
        /// Tokens per block by config.
        config: u32,
        /// By the engine.
        engine: u32,
    },
    /// Blocks are so small that events and index grow large: every block is an entry of its own.
    SmallBlocks {
        /// Tokens per block.
        tokens: u32,
    },
    /// The rank publishes where nobody can connect to.
    EndpointUnusable {
        /// Which.
        global_rank: u32,
        /// As the engine says it.
        endpoint: String,
    },
    /// Neither load nor ranks are told.
    MetricsMissing,
    /// The engine chooses the rank itself.
    RankNotTaken {
        /// How to start the engine so that it takes one.
        start: &'static str,
    },
    /// The engine takes a rank, and may have another one serve the request.
    RankOverruled {
        /// The setting by which it does.
        setting: String,
    },
    /// It told of events that cannot be read: what they were of is not in the index.
    EventsUnreadable {
        /// How many, since it was started.
        count: u64,
    },
    /// Answers do not tell how much of the prompt was cached, so that no promise can be checked.
    CachedTokensUntold {
        /// How to start the engine so that they do.
        start: &'static str,
    },
}

impl Blindness {
    /// Whether it is about where events are published, which config can say instead.
    pub fn is_about_events(&self) -> bool {
        matches!(
            self,
            Self::EventsOff { .. }
                | Self::RankWithoutEvents { .. }
                | Self::NoReplay { .. }
                | Self::EndpointUnusable { .. }
                | Self::EventsUnreadable { .. }
        )
    }

    /// The name in JSON and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::EventsOff { .. } => "events_off",
            Self::RankWithoutEvents { .. } => "rank_without_events",
            Self::PrefixCachingOff { .. } => "prefix_caching_off",
            Self::NoReplay { .. } => "no_replay",
            Self::BlockSizeUnknown => "block_size_unknown",
            Self::BlockSizeMismatch { .. } => "block_size_mismatch",
            Self::SmallBlocks { .. } => "small_blocks",
            Self::EndpointUnusable { .. } => "endpoint_unusable",
            Self::MetricsMissing => "metrics_missing",
            Self::RankNotTaken { .. } => "rank_not_taken",
            Self::RankOverruled { .. } => "rank_overruled",
            Self::EventsUnreadable { .. } => "events_unreadable",
            Self::CachedTokensUntold { .. } => "cached_tokens_untold",
        }
    }
}

impl fmt::Display for Blindness {
    /// What is wrong, and the setting that mends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventsOff { start } => write!(f, "kv events are off: {start}"),
            Self::RankWithoutEvents { global_rank } => write!(f, "rank {global_rank} publishes no kv events"),
            Self::PrefixCachingOff { start } => write!(f, "prefix caching is off: {start}"),
            Self::NoReplay { global_rank } => write!(
                f,
                "rank {global_rank} has no replay: set replay_endpoint in --kv-events-config, and replay where the config names \
                 its events, or a missed event empties the rank's index"
            ),
            Self::BlockSizeUnknown => f.write_str("block size unknown: set block_size for the worker"),
            Self::BlockSizeMismatch { config, engine } => write!(
                f,
                "the config's block_size is {config} and the engine's blocks are of {engine} tokens: its events are not indexed"
            ),
            Self::SmallBlocks { tokens } => write!(
                f,
                "a block is {tokens} tokens, which makes events and index large and their bounds near: start sglang \
                 with --page-size 64"
            ),
            Self::EndpointUnusable { global_rank, endpoint } => write!(
                f,
                "rank {global_rank} publishes on {endpoint}, which cannot be connected to: bind it, as tcp://*:PORT"
            ),
            Self::MetricsMissing => f.write_str("/metrics tells no engine: is it served on another address?"),
            Self::RankNotTaken { start } => write!(f, "no rank can be named to it: {start}"),
            Self::RankOverruled { setting } => {
                write!(
                    f,
                    "its own routing may serve a request on another rank than it names: turn {setting} off"
                )
            }
            Self::EventsUnreadable { count } => {
                write!(f, "{count} of its kv events could not be read: its log says why")
            }
            Self::CachedTokensUntold { start } => write!(f, "answers do not tell cached_tokens: {start}"),
        }
    }
}
