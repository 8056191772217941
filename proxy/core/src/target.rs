//! One routing target, a (worker, dp rank) pair: what it is, and what its owners last said about it.

mod feed;
mod phases;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use crate::policy::UNKNOWN;
pub use feed::FeedState;
pub use phases::Phases;

/// What a target is. Fixed while the worker is known; a worker that changes gets new targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// Its worker.
    pub worker: WorkerId,
    /// Its rank within the worker.
    pub rank: DpRank,
    /// Its lockstep group.
    pub group: GroupId,
    /// Hash of worker name and rank.
    pub key: u32,
    /// Tokens per KV block.
    pub block_size: BlockSize,
    /// Usable KV blocks; 0 unknown.
    pub capacity_blocks: u32,
    /// Whether a request can be pinned to it. If not, it stands for its whole worker.
    pub pinnable: bool,
    /// What it does of a request.
    pub phases: Phases,
}

/// A target with what its owners report. Each part has one writer: health, or the rank's feeds.
#[derive(Debug)]
pub struct Target {
    /// Its number.
    pub id: TargetId,
    /// What it is.
    pub spec: TargetSpec,
    /// Written by health alone.
    pub health: Health,
    /// Written by the load feed alone.
    pub engine: EngineLoad,
    /// Written by the event feed alone.
    pub feed: FeedState,
}

impl Target {
    /// A target that may not be picked yet.
    pub fn new(id: TargetId, spec: TargetSpec) -> Self {
        Self {
            id,
            spec,
            health: Health::default(),
            engine: EngineLoad::default(),
            feed: FeedState::default(),
        }
    }

    /// What the policy should know about it: by its health and by its feed.
    pub fn condition(&self, now: Millis) -> Condition {
        let mut condition = self.health.condition();
        if !self.feed.is_trusted() || self.feed.is_late(now) {
            condition = condition.and(Condition::UNTRUSTED);
        }
        if self.feed.is_contradicted() {
            condition = condition.and(Condition::APPROXIMATE);
        }
        condition
    }
}

/// Bits of the column `condition`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Condition(pub u32);

impl Condition {
    /// Overlap is learned from our own decisions, not from the engine's events, or these events contradict our predictions.
    pub const APPROXIMATE: Self = Self(1);
    /// The index of this rank is not to be trusted.
    pub const UNTRUSTED: Self = Self(1 << 1);
    /// The rank is coming back after a failure.
    pub const RECOVERING: Self = Self(1 << 2);
    /// The rank is new and takes less than its share.
    pub const SLOW_START: Self = Self(1 << 3);
    /// The rank cannot be pinned: the row stands for its worker.
    pub const NOT_PINNABLE: Self = Self(1 << 4);

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Why a target may not be picked, in words for metrics and the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Availability {
    /// May be picked.
    Ready = 0,
    /// Not yet admitted.
    Starting = 1,
    /// Failed its probes or broke connections.
    Unhealthy = 2,
    /// Takes no new requests.
    Draining = 3,
}

impl Availability {
    /// The label in metrics and the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Starting => "starting",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
        }
    }

    fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Self::Ready,
            2 => Self::Unhealthy,
            3 => Self::Draining,
            _ => Self::Starting,
        }
    }
}

/// Whether a target may be picked, and with what weight.
#[derive(Debug)]
pub struct Health {
    availability: AtomicU32,
    weight_permille: AtomicU32,
    condition: AtomicU32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            availability: AtomicU32::new(Availability::Starting as u32),
            weight_permille: AtomicU32::new(1000),
            condition: AtomicU32::new(0),
        }
    }
}

impl Health {
    /// Whether it may be picked.
    pub fn availability(&self) -> Availability {
        Availability::from_bits(self.availability.load(Relaxed))
    }

    /// Says whether it may be picked.
    pub fn set_availability(&self, availability: Availability) {
        self.availability.store(availability as u32, Relaxed);
    }

    /// Configured weight times slow start, permille.
    pub fn weight_permille(&self) -> u32 {
        self.weight_permille.load(Relaxed)
    }

    /// Sets the weight.
    pub fn set_weight_permille(&self, weight: u32) {
        self.weight_permille.store(weight, Relaxed);
    }

    /// What the policy should know about it, but for what its feed says: see [`Target::condition`].
    pub fn condition(&self) -> Condition {
        Condition(self.condition.load(Relaxed))
    }

    /// Sets the condition.
    pub fn set_condition(&self, condition: Condition) {
        self.condition.store(condition.0, Relaxed);
    }
}

/// The engine's own report of a rank's load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineReport {
    /// Requests running.
    pub running: u32,
    /// Requests waiting.
    pub waiting: u32,
    /// KV use, permille.
    pub kv_permille: u32,
}

/// The last report of the engine, and when it came.
#[derive(Debug)]
pub struct EngineLoad {
    running: AtomicU32,
    waiting: AtomicU32,
    kv_permille: AtomicU32,
    at_ms: AtomicU64,
}

impl Default for EngineLoad {
    fn default() -> Self {
        Self {
            running: AtomicU32::new(UNKNOWN),
            waiting: AtomicU32::new(UNKNOWN),
            kv_permille: AtomicU32::new(UNKNOWN),
            at_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl EngineLoad {
    /// Takes a report.
    pub fn set(&self, report: EngineReport, now: Millis) {
        self.running.store(report.running, Relaxed);
        self.waiting.store(report.waiting, Relaxed);
        self.kv_permille.store(report.kv_permille, Relaxed);
        self.at_ms.store(now.0, Relaxed);
    }

    /// Forgets the report, as after a restart.
    pub fn forget(&self) {
        self.set(EngineReport { running: UNKNOWN, waiting: UNKNOWN, kv_permille: UNKNOWN }, Millis(u64::MAX));
    }

    /// The last report; every figure [`UNKNOWN`] before the first.
    pub fn report(&self) -> EngineReport {
        EngineReport {
            running: self.running.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            kv_permille: self.kv_permille.load(Relaxed),
        }
    }

    /// Age of the report in ms, [`UNKNOWN`] before the first.
    pub fn age_ms(&self, now: Millis) -> u32 {
        match self.at_ms.load(Relaxed) {
            u64::MAX => UNKNOWN,
            at => u32::try_from(now.since(Millis(at))).unwrap_or(UNKNOWN - 1),
        }
    }
}
