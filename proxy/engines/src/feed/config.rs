//! A feed's settings and counters.

use crate::events::BatchLimits;

/// Settings of one rank's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// The global rank that its batches must name.
    pub global_rank: u32,
    /// The topic subscribed to; empty takes any.
    pub topic: Vec<u8>,
    /// Whether there is a replay endpoint.
    pub replay: bool,
    /// A replay that brings nothing for so long has failed. Default 5 s.
    pub replay_timeout_ms: u64,
    /// Pause before the second attempt, doubled with every further one. Default 200 ms.
    pub replay_pause_ms: u64,
    /// Longest pause. Default 10 s.
    pub replay_pause_ms_max: u64,
    /// Longest pause before a rank whose feed brings another rank's batches, or is disproved, is read again. Default 60 s.
    pub reread_pause_ms_max: u64,
    /// Attempts without any message before the rank goes on without. Default 8.
    pub replay_attempts_max: u32,
    /// Live messages held during a replay. Default 4096.
    pub buffered_messages_max: usize,
    /// Bytes of live messages held during a replay. Default 16 MiB.
    pub buffered_bytes_max: usize,
    /// Messages remembered by digest (8 bytes each), to tell duplicates from restarts. Default 512.
    pub remembered_messages: usize,
    /// Shortest time between two resynchronisations for unknown parents. Default 10 s.
    pub resync_interval_ms: u64,
    /// Bounds on one batch.
    pub limits: BatchLimits,
}

impl FeedConfig {
    /// The defaults for a rank.
    pub fn new(global_rank: u32, topic: &str, replay: bool) -> Self {
        Self {
            global_rank,
            topic: topic.as_bytes().to_vec(),
            replay,
            replay_timeout_ms: 5_000,
            replay_pause_ms: 200,
            replay_pause_ms_max: 10_000,
            reread_pause_ms_max: 60_000,
            replay_attempts_max: 8,
            buffered_messages_max: 4096,
            buffered_bytes_max: 16 << 20,
            remembered_messages: 512,
            resync_interval_ms: 10_000,
            limits: BatchLimits::default(),
        }
    }
}

/// What happened to a feed, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounters {
    /// Messages applied, live or replayed.
    pub messages: u64,
    /// Live messages that had come before.
    pub duplicates: u64,
    /// Holes in the sequence.
    pub gaps: u64,
    /// Replays asked for.
    pub replays: u64,
    /// Messages that replays brought, known ones included.
    pub replayed_messages: u64,
    /// Replays that stopped in silence.
    pub replay_timeouts: u64,
    /// Times that messages were gone for good.
    pub lost: u64,
    /// Restarts of the engine.
    pub restarts: u64,
    /// Times the rank was read again from 0 because the index did not fit.
    pub resyncs: u64,
    /// Times the engine emptied its cache.
    pub cleared: u64,
    /// Batches that could not be read.
    pub decode_errors: u64,
    /// Messages with the wrong frames or topic.
    pub malformed: u64,
    /// Batches of another rank. Not applied: the rank is emptied and read again.
    pub wrong_rank: u64,
    /// Times that answers showed the index to be wrong.
    pub disproofs: u64,
    /// Times the live messages held during a replay were too many.
    pub buffer_overflows: u64,
    /// Unknown parents that the index reported.
    pub unknown_parents: u64,
}
