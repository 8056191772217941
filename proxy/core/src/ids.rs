//! Names of things, as numbers that cannot be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A worker: one HTTP endpoint. Stable while the worker is known, never reused.
    WorkerId
}
number! {
    /// A dp rank of its worker, counted from 0 within the worker (what an engine's pinning header takes).
    DpRank
}
number! {
    /// A lockstep group: ranks whose engine steps wait for each other. May span workers.
    GroupId
}
number! {
    /// A (worker, dp rank) pair that was once added. Never reused: a worker that comes back gets new ones.
    TargetId
}
number! {
    /// Tokens per KV block.
    BlockSize
}

/// Milliseconds on a monotonic clock whose origin the caller chose. Core owns no clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// `self - earlier`, 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
