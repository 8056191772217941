//! What changes the state from outside: topology, and events of the engines. Bookings have files of their own.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::RoutingState;
use super::inner::Inner;
use super::turns::Turn;
use crate::event::CacheEvent;
use crate::ids::{BlockSize, Millis, TargetId};
use crate::index::{Applied, Step, Steps};
use crate::target::{Target, TargetSpec};

impl RoutingState {
    /// Changes the unit of the block figures, once the first worker has told its own. What was booked before keeps its
    /// figures.
    pub fn set_pool_block_size(&self, size: BlockSize) {
        self.inner.write().step(|inner| inner.pool_block_size = size);
        self.pool_block_size.store(size.0, Relaxed);
    }

    // Topology: discovery alone calls these.

    /// Adds a target under a new id. It may not be picked before health says so.
    pub fn add_target(&self, spec: TargetSpec) -> Arc<Target> {
        let mut turn = self.inner.write();
        let (target, topology) = turn.step(|inner| (inner.add_target(spec), Arc::clone(&inner.topology)));
        *self.topology.write() = topology;
        target
    }

    /// Forgets a target with its cache, pending blocks and bookings. Guards of its bookings become harmless.
    pub fn remove_target(&self, id: TargetId) {
        let mut turn = self.inner.write();
        turn.clear(id);
        let topology = turn.step(|inner| {
            inner.remove_target(id);
            Arc::clone(&inner.topology)
        });
        *self.topology.write() = topology;
    }

    /// The target's engine was restarted: its cache, pending blocks and bookings are void, and so are those of its
    /// worker that name no rank. Guards of them become harmless.
    pub fn restart_target(&self, id: TargetId) {
        let mut turn = self.inner.write();
        turn.clear(id);
        turn.step(|inner| inner.restart_target(id));
    }

    /// As [`RoutingState::restart_target`], but what is cached there is somebody else's to clear: a feed that tells by itself which
    /// process it hears.
    pub fn void_bookings(&self, id: TargetId) {
        self.inner.write().step(|inner| inner.void_bookings(id));
    }

    // Cache: the feeds, one writer per target.

    /// Applies one event of a target, and confirms the pending blocks that it stored. [`CacheEvent::Cleared`] also ends
    /// what was pending there.
    pub fn apply(&self, target: TargetId, event: &CacheEvent, now: Millis) -> Applied {
        self.apply_batch(target, std::slice::from_ref(event), now)
    }

    /// Applies events of a target in order, and tells what they did in all. Cheaper than one by one: what follows each
    /// other is taken together. Readers get a turn in between, after at most some 128 blocks each time; other writers come
    /// after the batch.
    pub fn apply_batch(&self, target: TargetId, events: &[CacheEvent], now: Millis) -> Applied {
        self.see(now);
        let mut applied = Applied::default();
        let mut turn = self.inner.write();
        let mut steps = Steps::new(events);
        while let Some(step) = steps.next() {
            match step {
                Step::Apply(pieces) => {
                    let (done, mut is_over) =
                        turn.step(|inner| (inner.apply(target, pieces, now), inner.index.wants_eviction()));
                    applied.add(done);
                    if done.unknown_parent || done.wrong_block_size {
                        steps.skip_rest();
                    }
                    while is_over {
                        (applied.evicted, is_over) = turn.step(|inner| {
                            let (evicted, is_more) = inner.index.evict();
                            (applied.evicted + evicted, is_more)
                        });
                    }
                }
                Step::Clear => {
                    applied.removed += turn.clear(target);
                    applied.truncated = false;
                    turn.step(|inner| inner.drop_pending_of(target));
                }
            }
        }
        applied
    }

    /// Forgets what the target holds, as before a resync. What is pending there stays: it is the index that is not
    /// trusted, not the engine's cache that is empty.
    pub fn clear_cache(&self, target: TargetId) {
        self.inner.write().clear(target);
    }

    /// The target's engine tells no events: from now on what it holds is learned from bookings. A prompt counts as cached
    /// there, and its blocks as pending no more, once its first output has come; for
    /// [`learned_ttl_ms`](super::StateConfig::learned_ttl_ms), or until later prompts need the room.
    pub fn learn_from_bookings(&self, target: TargetId) {
        let mut turn = self.inner.write();
        turn.clear(target);
        turn.step(|inner| inner.learn_from_bookings(target));
    }

    /// Whether a block of the target that is stored again has one more copy, as it has by default. Off for as long as the
    /// engine may report again what it holds: the first removal then takes a block away, which shows too little rather
    /// than too much.
    pub fn count_copies(&self, target: TargetId, on: bool) {
        self.inner.write().step(|inner| inner.count_copies(target, on));
    }
}

impl Turn<'_, Inner> {
    /// Forgets what a target holds, step by step; returns how many names that were.
    fn clear(&mut self, id: TargetId) -> u32 {
        let look = self.look();
        let Some(slot) = look.slot(id) else { return 0 };
        let mut clearing = look.index.clearing(slot);
        drop(look);
        while self.step(|inner| inner.index.clear_on(&mut clearing)) {}
        let forgotten = self.step(|inner| {
            inner.unlearn(slot);
            inner.index.clear_names(&clearing)
        });
        forgotten.names
    }
}
