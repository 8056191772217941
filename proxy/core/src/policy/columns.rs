//! The columns of a snapshot. Numbers are part of the policy interface: appended to, never changed.

/// A figure that is not known (engine reports, mostly).
pub const UNKNOWN: u32 = u32::MAX;

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// One column of a snapshot: a u32 for every row.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Column {
            $($(#[$doc])* $name = $id,)*
        }

        /// How many columns there are.
        pub const COLUMN_COUNT: usize = [$($id),*].len();

        impl Column {
            /// All columns, by id.
            pub const ALL: [Self; COLUMN_COUNT] = [$(Self::$name),*];

            /// The name in the WIT, the docs and the receipts.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

columns! {
    /// Number of the worker.
    Worker = 0, "worker";
    /// Rank within the worker.
    DpRank = 1, "dp-rank";
    /// Lockstep group.
    Group = 2, "group";
    /// Hash of worker name and rank: the same after restarts and on every replica.
    TargetKey = 3, "target-key";
    /// Permille: configured weight times slow start.
    Weight = 4, "weight";
    /// Leading prompt blocks in device memory, by the engine's own events.
    DeviceOverlap = 5, "device-overlap";
    /// Further blocks of the longest prefix that some tier holds, whose fastest tier is the host's memory.
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
    /// Blocks that this request would add to the active ones.
    NewBlocks = 13, "new-blocks";
    /// Tokens booked there and not yet prefilled.
    PrefillTokens = 14, "prefill-tokens";
    /// Requests in flight there, ours.
    Running = 15, "running";
    /// The engine's own count of running requests.
    EngineRunning = 16, "engine-running";
    /// The engine's own count of waiting requests.
    EngineWaiting = 17, "engine-waiting";
    /// The engine's own KV use, permille.
    EngineKv = 18, "engine-kv";
    /// Most prefill tokens on any rank of the group, pickable or not.
    GroupPeakPrefill = 19, "group-peak-prefill";
    /// Most active blocks on any rank of the group, pickable or not.
    GroupPeakActive = 20, "group-peak-active";
    /// Age of the oldest event that is due and missing.
    EventLagMs = 21, "event-lag-ms";
    /// Age of the engine's own report.
    LoadAgeMs = 22, "load-age-ms";
    /// Bits: see [`Condition`](crate::target::Condition).
    Condition = 23, "condition";
    /// What the policy's own learner returned.
    Learned = 24, "learned";
}

impl Column {
    /// The column with this id.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.get(id as usize).copied()
    }

    /// The id on the wire.
    pub fn id(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_positions() {
        for (position, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column.id() as usize, position);
            assert_eq!(Column::from_id(position as u32), Some(column));
        }
        assert_eq!(Column::from_id(COLUMN_COUNT as u32), None);
    }
}
