//! What is behind the lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::StateConfig;
use super::learned::Learned;
use crate::ids::{BlockSize, Millis, TargetId, WorkerId};
use crate::index::{Applied, Index, Piece, Slot, Span};
use crate::ledger::{BookingId, Record, RecordPlace, TargetLedger, WorkerLedger};
use crate::target::{Target, TargetSpec};
use crate::topology::Topology;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) config: StateConfig,
    pub(super) pool_block_size: BlockSize,
    pub(super) topology: Arc<Topology>,
    pub(super) index: Index,
    /// By slot.
    pub(super) ledgers: Vec<Option<(Arc<Target>, TargetLedger)>>,
    slots: FxHashMap<TargetId, Slot>,
    next_target: u32,
    pub(super) bookings: FxHashMap<BookingId, Record>,
    pub(super) next_booking: u64,
    pub(super) workers: FxHashMap<WorkerId, WorkerLedger>,
    /// When something is to happen to a booking: a grace ends, or a prefill that nothing else tells the end of.
    pub(super) due: BTreeSet<(Millis, BookingId)>,
    /// Targets without events, by slot.
    pub(super) learned: FxHashMap<Slot, Learned>,
    pub(super) arrived: Vec<Span>,
}

impl Inner {
    pub(super) fn new(config: &StateConfig, pool_block_size: BlockSize) -> Self {
        Self {
            config: config.clone(),
            pool_block_size,
            topology: Arc::default(),
            index: Index::new(config.index_blocks_max),
            ledgers: Vec::new(),
            slots: FxHashMap::default(),
            next_target: 0,
            bookings: FxHashMap::default(),
            next_booking: 0,
            workers: FxHashMap::default(),
            due: BTreeSet::new(),
            learned: FxHashMap::default(),
            arrived: Vec::new(),
        }
    }

    pub(super) fn slot(&self, id: TargetId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    pub(super) fn ledger(&self, slot: Slot) -> Option<&TargetLedger> {
        self.ledgers.get(slot as usize).and_then(Option::as_ref).map(|(_, ledger)| ledger)
    }

    pub(super) fn ledger_mut(&mut self, slot: Slot) -> Option<&mut TargetLedger> {
        self.ledgers.get_mut(slot as usize).and_then(Option::as_mut).map(|(_, ledger)| ledger)
    }

    pub(super) fn worker_of(&self, slot: Slot) -> Option<WorkerId> {
        self.ledgers.get(slot as usize).and_then(Option::as_ref).map(|(target, _)| target.spec.worker)
    }

    /// Usable KV blocks of a target; 0 unknown.
    pub(super) fn capacity(&self, slot: Slot) -> u32 {
        let entry = self.ledgers.get(slot as usize).and_then(Option::as_ref);
        entry.map_or(0, |(target, _)| target.spec.capacity_blocks)
    }

    pub(super) fn add_target(&mut self, spec: TargetSpec) -> Arc<Target> {
        let id = TargetId(self.next_target);
        self.next_target += 1;
        let block_size = spec.block_size;
        let target = Arc::new(Target::new(id, spec));
        let free = self.ledgers.iter().position(Option::is_none);
        let position = free.unwrap_or(self.ledgers.len());
        if position == self.ledgers.len() {
            self.ledgers.push(None);
        }
        self.ledgers[position] = Some((Arc::clone(&target), TargetLedger::new(id, block_size, 0)));
        self.index.add_cache(position as Slot, block_size);
        self.slots.insert(id, position as Slot);
        self.publish();
        target
    }

    pub(super) fn remove_target(&mut self, id: TargetId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        let worker = self.worker_of(slot);
        self.void(RecordPlace::Target(slot));
        self.index.remove_cache(slot);
        self.learned.remove(&slot);
        self.ledgers[slot as usize] = None;
        self.publish();
        if let Some(worker) = worker
            && self.topology.of_worker(worker).next().is_none()
        {
            self.void(RecordPlace::Worker(worker));
        }
    }

    pub(super) fn restart_target(&mut self, id: TargetId) {
        self.void_bookings(id);
        let Some(slot) = self.slot(id) else { return };
        self.index.clear_cache(slot);
        self.unlearn(slot);
    }

    pub(super) fn void_bookings(&mut self, id: TargetId) {
        let Some(slot) = self.slot(id) else { return };
        self.void(RecordPlace::Target(slot));
        if let Some(worker) = self.worker_of(slot) {
            self.void(RecordPlace::Worker(worker));
        }
        if let Some(ledger) = self.ledger_mut(slot) {
            // A snapshot from before the restart must not book unseen.
            *ledger = TargetLedger::new(id, ledger.block_size, ledger.epoch + 1);
        }
    }

    fn publish(&mut self) {
        let members = (0..)
            .zip(&self.ledgers)
            .filter_map(|(slot, entry)| entry.as_ref().map(|(target, _)| (Arc::clone(target), slot)));
        self.topology = Arc::new(Topology::new(members.collect()));
    }

    pub(super) fn apply(&mut self, id: TargetId, pieces: &[Piece<'_>], now: Millis) -> Applied {
        let Some(slot) = self.slot(id) else {
            return Applied { unknown_target: true, ..Applied::default() };
        };
        let mut arrived = std::mem::take(&mut self.arrived);
        let mut applied = self.index.apply(slot, pieces, &mut arrived);
        for span in arrived.drain(..) {
            applied.confirmed += self.confirm(slot, span, now);
        }
        self.arrived = arrived;
        applied
    }

    pub(super) fn count_copies(&mut self, id: TargetId, on: bool) {
        if let Some(slot) = self.slot(id) {
            self.index.count_copies(slot, on);
        }
    }

    /// The target's cache is empty: nothing is pending there either.
    pub(super) fn drop_pending_of(&mut self, id: TargetId) {
        if let Some(slot) = self.slot(id) {
            self.drop_pending(slot);
        }
    }
}
