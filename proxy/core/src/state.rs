//! One pool's routing state: what is cached and booked where. Shared by all threads; every method takes `&self`.
//!
//! Callers see no locks. A snapshot is consistent in itself; booking is conditional on it ([`RoutingState::book`]). Whoever reads
//! waits for one short step of a writer at most.

mod book;
mod booking;
mod columns;
mod config;
mod end;
mod image;
mod inner;
mod learn;
mod learned;
mod report;
mod room;
mod show;
mod turns;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use parking_lot::RwLock;

pub use booking::{Booking, Expected};
pub use config::StateConfig;
pub use report::{LoadReport, PendingReport};

use crate::ids::{BlockSize, Millis, TargetId, WorkerId};
use crate::index::{CachedBlock, IndexStats};
use crate::target::Target;
use crate::topology::Topology;
use inner::Inner;
use turns::Turns;

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

/// See the module.
#[derive(Debug)]
pub struct RoutingState {
    config: StateConfig,
    /// Mirrors what `inner` goes by, for readers without its lock.
    pool_block_size: AtomicU32,
    topology: RwLock<Arc<Topology>>,
    inner: Turns<Inner>,
    /// The latest time that anybody passed in: what a dropped booking goes by.
    now: AtomicU64,
}

impl RoutingState {
    /// An empty state. `pool_block_size` is the unit of the block figures in snapshots and reports.
    pub fn new(config: StateConfig, pool_block_size: BlockSize) -> Self {
        let inner = Turns::new(Inner::new(&config, pool_block_size));
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

    /// All targets, sorted by (worker, rank).
    pub fn targets(&self) -> Arc<[Arc<Target>]> {
        self.topology.read().shared_targets()
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
            self.inner.write().step(|inner| inner.advance(now));
        }
        if is_outdated {
            self.inner.write().step(|inner| inner.forget_outdated(now));
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
