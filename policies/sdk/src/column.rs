//! The columns of the table. Their numbers are the interface: appended to, never changed.

#[cfg(test)]
mod tests;

/// A figure that is not known (the engine's own reports, mostly).
pub const UNKNOWN: u32 = u32::MAX;

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// One column of the table: a u32 for every row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Column {
            $($(#[$doc])* $name = $id,)*
        }

        impl Column {
            /// All columns, by id.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in the WIT and in the docs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

columns! {
    /// Number of the worker: stable while the worker is known, never reused.
    Worker = 0, "worker";
    /// Rank within the worker.
    DpRank = 1, "dp-rank";
    /// Lockstep group: its ranks wait for the slowest of them at every step.
    Group = 2, "group";
    /// Hash of worker name and rank: the same after restarts and on every replica of the proxy.
    TargetKey = 3, "target-key";
    /// Permille: configured weight times slow start.
    Weight = 4, "weight";
    /// Leading prompt blocks in device memory, by the engine's own events.
    DeviceOverlap = 5, "device-overlap";
    /// Further blocks of the longest prefix that some tier holds, whose fastest tier is host memory.
    HostOverlap = 6, "host-overlap";
    /// The same for disk.
    DiskOverlap = 7, "disk-overlap";
    /// Further blocks that a booked request is computing there.
    PendingOverlap = 8, "pending-overlap";
    /// Blocks in the index.
    CachedBlocks = 9, "cached-blocks";
    /// Blocks free or evictable.
    FreeBlocks = 10, "free-blocks";
    /// Blocks in all; 0 unknown.
    CapacityBlocks = 11, "capacity-blocks";
    /// Blocks held by running requests, shared prefixes counted once.
    ActiveBlocks = 12, "active-blocks";
    /// Blocks that this request would add to the active ones there.
    NewBlocks = 13, "new-blocks";
    /// Tokens booked there and not yet prefilled.
    PrefillTokens = 14, "prefill-tokens";
    /// Requests in flight there, this proxy's.
    Running = 15, "running";
    /// The engine's own report of running requests; [`UNKNOWN`].
    EngineRunning = 16, "engine-running";
    /// The engine's own report of waiting requests; [`UNKNOWN`].
    EngineWaiting = 17, "engine-waiting";
    /// The engine's own KV use, permille; [`UNKNOWN`].
    EngineKv = 18, "engine-kv";
    /// Most prefill tokens on any rank of the group, pickable or not.
    GroupPeakPrefill = 19, "group-peak-prefill";
    /// Most active blocks on any rank of the group, pickable or not.
    GroupPeakActive = 20, "group-peak-active";
    /// Age in ms of the oldest KV event that is due and missing.
    EventLagMs = 21, "event-lag-ms";
    /// Age in ms of the engine's own report; [`UNKNOWN`] if there was none.
    LoadAgeMs = 22, "load-age-ms";
    /// Bits: see [`Condition`].
    Condition = 23, "condition";
    /// What this policy's own learner returned.
    Learned = 24, "learned";
}

/// How many columns there are.
pub(crate) const COLUMN_COUNT: usize = Column::ALL.len();

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
