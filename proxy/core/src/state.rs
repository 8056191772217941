//! One pool's routing state: what is cached and booked where. Shared by all threads; every method takes `&self`.
//!
//! Callers see no locks. A snapshot is consistent in itself; booking is conditional on it ([`RoutingState::book`]).

mod book;
mod booking;
mod config;
mod end;
mod inner;
mod learn;
mod report;
mod show;
mod topology;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

pub use booking::{Booking, Expected};
pub use config::StateConfig;
pub use report::{LoadReport, PendingReport};
pub(crate) use topology::Topology;

use crate::event::CacheEvent;
use crate::ids::{BlockSize, Millis, TargetId, WorkerId};
use crate::index::{Applied, CachedBlock, IndexStats};
use crate::target::{Target, TargetSpec};
use inner::Inner;

/// What a decision named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A row of the snapshot.
    Row(u32),
    /// A worker of some row: its engine chooses the rank.
    Worker(WorkerId),
}

/// Why a booking was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Raced {
    /// Another booking was made there since the snapshot: decide once more, then book by force.
    #[error("booked by another since the snapshot")]
    Booked,
    /// The row or worker is not in the snapshot, or its target has gone since; force does not help.
    #[error("target is gone")]
    Gone,
}

/// Events of a batch that are applied before anybody else gets a turn.
pub const EVENTS_AT_ONCE: usize = 32;

/// See the module.
#[derive(Debug)]
pub struct RoutingState {
    config: StateConfig,
    /// Mirrors what `inner` goes by, for readers without its lock.
    pool_block_size: AtomicU32,
    topology: RwLock<Arc<Topology>>,
    inner: RwLock<Inner>,
    /// The latest time that anybody passed in: what a dropped booking goes by.
    now: AtomicU64,
}

impl RoutingState {
    /// An empty state. `pool_block_size` is the unit of the block figures in snapshots and reports.
    pub fn new(config: StateConfig, pool_block_size: BlockSize) -> Self {
        let inner = RwLock::new(Inner::new(&config, pool_block_size));
        Self {
            config,
            pool_block_size: AtomicU32::new(pool_block_size.0),
            topology: RwLock::default(),
            inner,
            now: AtomicU64::new(0),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &StateConfig {
        &self.config
    }

    /// The unit of the block figures in snapshots and reports.
    pub fn pool_block_size(&self) -> BlockSize {
        BlockSize(self.pool_block_size.load(Relaxed))
    }

    /// Changes that unit, once the first worker has told its own. What was booked before keeps its figures.
    pub fn set_pool_block_size(&self, size: BlockSize) {
        let mut inner = self.inner.write();
        inner.pool_block_size = size;
        self.pool_block_size.store(size.0, Relaxed);
    }

    // Topology: discovery alone calls these.

    /// Adds a target under a new id. It may not be picked before health says so.
    pub fn add_target(&self, spec: TargetSpec) -> Arc<Target> {
        let mut inner = self.inner.write();
        let target = inner.add_target(spec);
        *self.topology.write() = Arc::clone(&inner.topology);
        target
    }

    /// Forgets a target with its cache, pending blocks and bookings. Guards of its bookings become harmless.
    pub fn remove_target(&self, id: TargetId) {
        let mut inner = self.inner.write();
        inner.remove_target(id);
        *self.topology.write() = Arc::clone(&inner.topology);
    }

    /// The target's engine was restarted: its cache, pending blocks and bookings are void, and so are those of its
    /// worker that name no rank. Guards of them become harmless.
    pub fn restart_target(&self, id: TargetId) {
        self.inner.write().restart_target(id);
    }

    /// All targets, sorted by (worker, rank).
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        self.topology.read().shared_targets()
    }

    // Cache: the feeds, one writer per target.

    /// Applies one event of a target, and confirms the pending blocks that it stored. [`CacheEvent::Cleared`] also ends
    /// what was pending there.
    pub fn apply(&self, target: TargetId, event: &CacheEvent, now: Millis) -> Applied {
        self.apply_batch(target, std::slice::from_ref(event), now)
    }

    /// Applies events of a target in order, and tells what they did in all. Cheaper than one by one: removals that follow each
    /// other are taken together. Nobody waits for more than [`EVENTS_AT_ONCE`] of them.
    pub fn apply_batch(&self, target: TargetId, events: &[CacheEvent], now: Millis) -> Applied {
        self.see(now);
        let mut applied = Applied::default();
        for events in events.chunks(EVENTS_AT_ONCE) {
            applied.add(self.inner.write().apply(target, events, now));
        }
        applied
    }

    /// Forgets what the target holds, as before a resync. What is pending there stays: it is the index that is not
    /// trusted, not the engine's cache that is empty.
    pub fn clear_cache(&self, target: TargetId) {
        self.inner.write().clear_cache(target);
    }

    /// The target's engine tells no events: from now on what it holds is learned from bookings. A prompt counts as cached
    /// there, and its blocks as pending no more, once its first output has come; for
    /// [`learned_ttl_ms`](StateConfig::learned_ttl_ms), or until later prompts need the room.
    pub fn learn_from_bookings(&self, target: TargetId) {
        self.inner.write().learn_from_bookings(target);
    }

    /// Whether a block of the target that is stored again has one more copy, as it has by default. Off for as long as the
    /// engine may report again what it holds: the first removal then takes a block away, which shows too little rather
    /// than too much.
    pub fn count_copies(&self, target: TargetId, on: bool) {
        self.inner.write().count_copies(target, on);
    }

    /// Distinct blocks that the target holds on any tier, in its own blocks.
    pub fn cached_blocks(&self, target: TargetId) -> u32 {
        self.inner.read().cached_blocks(target)
    }

    /// What the target holds, at most `limit` blocks, in no order.
    pub fn dump(&self, target: TargetId, limit: usize) -> Vec<CachedBlock> {
        self.inner.read().dump(target, limit)
    }

    /// Size of the index over all targets.
    pub fn index_stats(&self) -> IndexStats {
        self.inner.read().index_stats()
    }

    /// Lets time pass: ends graces, and prefills of requests that are not streamed. To be called every few 10 ms.
    pub fn advance(&self, now: Millis) {
        self.see(now);
        let inner = self.inner.read();
        let (is_due, is_outdated) = (inner.is_due(now), inner.is_outdated(now));
        drop(inner);
        if is_due {
            self.inner.write().advance(now);
        }
        if is_outdated {
            self.inner.write().forget_outdated(now);
        }
    }

    /// What is booked on a target. `None` once it is gone.
    pub fn load(&self, target: TargetId) -> Option<LoadReport> {
        self.inner.read().load(target)
    }

    /// How the target's pending blocks turned out. `None` once it is gone.
    pub fn pending_report(&self, target: TargetId) -> Option<PendingReport> {
        self.inner.read().pending_report(target)
    }

    fn see(&self, now: Millis) {
        self.now.fetch_max(now.0, Relaxed);
    }

    fn now(&self) -> Millis {
        Millis(self.now.load(Relaxed))
    }
}

#[cfg(test)]
mod tests;
