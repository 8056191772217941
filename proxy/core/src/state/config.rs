//! Bounds and times of the routing state.

use crate::snapshot::RoomRule;

/// Bounds and times of one pool's routing state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateConfig {
    /// The most blocks in the index: names (target, cache group, tier, engine hash) as well as distinct blocks. Beyond
    /// it the coldest are forgotten. Blocks of live bookings alone do not count as forgettable.
    pub index_blocks_max: usize,
    /// The shortest time that pending blocks outlive a request that reached its first output. Between the two it is twice
    /// the 99th percentile of how late the target's last 128 confirmations came.
    pub pending_grace_ms_min: u64,
    /// The longest; also what holds until a target's events have shown how late they come.
    pub pending_grace_ms_max: u64,
    /// More unconfirmed pending blocks than this share, and pending blocks count for nothing on that target.
    pub unconfirmed_permille_max: u32,
    /// After how many pending blocks the share is judged, each time anew.
    pub unconfirmed_sample: u32,
    /// How long a prompt is taken to be cached on a target whose cache is learned
    /// ([`learn_from_bookings`](super::RoutingState::learn_from_bookings)). As in Dynamo.
    pub learned_ttl_ms: u64,
    /// How many blocks such a target is taken to have room for if that is not known.
    pub learned_blocks_max: u32,
    /// Whether output tokens add to active blocks. Off, as in Dynamo.
    pub track_output_blocks: bool,
    /// What ranks must have room for.
    pub room: RoomRule,
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            index_blocks_max: 16 << 20,
            pending_grace_ms_min: 100,
            pending_grace_ms_max: 2000,
            unconfirmed_permille_max: 200,
            unconfirmed_sample: 1000,
            learned_ttl_ms: 120_000,
            learned_blocks_max: 1 << 16,
            track_output_blocks: false,
            room: RoomRule::default(),
        }
    }
}
