//! The columns of the table. Their numbers are the interface: appended to, never changed.

#[cfg(test)]
mod tests;

/// A figure that is not known (the engine's own reports, mostly).
pub const UNKNOWN: u32 = u32::MAX;

/// One column of the table: a u32 for every row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Column {
    /// Number of the worker: stable while the worker is known, never reused.
    Worker = 0,
    /// Rank within the worker.
    DpRank = 1,
    /// Lockstep group: its ranks wait for the slowest of them at every step.
    Group = 2,
    /// Hash of worker name and rank: the same after restarts and on every replica of the proxy.
    TargetKey = 3,
    /// Permille: configured weight times slow start.
    Weight = 4,
    /// Leading prompt blocks in device memory, by the engine's own events.
    DeviceOverlap = 5,
    /// Further blocks of the longest prefix that some tier holds, whose fastest tier is host memory.
    HostOverlap = 6,
    /// The same for disk.
    DiskOverlap = 7,
    /// Further blocks that a booked request is computing there.
    PendingOverlap = 8,
    /// Blocks in the index.
    CachedBlocks = 9,
    /// Blocks free or evictable.
    FreeBlocks = 10,
    /// Blocks in all; 0 unknown.
    CapacityBlocks = 11,
    /// Blocks held by running requests, shared prefixes counted once.
    ActiveBlocks = 12,
    /// Blocks that this request would add to the active ones there.
    NewBlocks = 13,
    /// Tokens booked there and not yet prefilled.
    PrefillTokens = 14,
    /// Requests in flight there, this proxy's.
    Running = 15,
    /// The engine's own report of running requests; [`UNKNOWN`].
    EngineRunning = 16,
    /// The engine's own report of waiting requests; [`UNKNOWN`].
    EngineWaiting = 17,
    /// The engine's own KV use, permille; [`UNKNOWN`].
    EngineKv = 18,
    /// Most prefill tokens on any rank of the group, pickable or not.
    GroupPeakPrefill = 19,
    /// Most active blocks on any rank of the group, pickable or not.
    GroupPeakActive = 20,
    /// Age in ms of the oldest KV event that is due and missing.
    EventLagMs = 21,
    /// Age in ms of the engine's own report; [`UNKNOWN`] if there was none.
    LoadAgeMs = 22,
    /// Bits: see [`Condition`].
    Condition = 23,
    /// What this policy's own learner returned.
    Learned = 24,
}

/// How many columns there are.
pub(crate) const COLUMN_COUNT: usize = Column::Learned as usize + 1;

/// Bits of [`Column::Condition`].
pub struct Condition;

impl Condition {
    /// Overlap is learned from the proxy's own decisions, not from the engine's events.
    pub const APPROXIMATE: u32 = 1;
    /// The index of this rank is not to be trusted.
    pub const UNTRUSTED: u32 = 1 << 1;
    /// The rank is coming back after a failure.
    pub const RECOVERING: u32 = 1 << 2;
    /// The rank is new and takes less than its share.
    pub const SLOW_START: u32 = 1 << 3;
    /// The rank cannot be pinned: the row stands for its worker.
    pub const NOT_PINNABLE: u32 = 1 << 4;
}
