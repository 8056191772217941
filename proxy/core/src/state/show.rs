//! Filling a snapshot.

use std::sync::Arc;

use super::RoutingState;
use super::columns::Columns;
use super::inner::Inner;
use super::room::Room;
use crate::ids::{BlockSize, Millis, WorkerId};
use crate::index::Slot;
use crate::ledger::{TargetLedger, WorkerLedger};
use crate::policy::Column;
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::{Overlap, Overlaps, Row, RowLoad, Snapshot, blocks_up, clamp};
use crate::target::Target;
use crate::topology::Place;

/// Rows of which columns are made at a time.
const ROWS: usize = 64;

impl RoutingState {
    /// Fills `out` with the targets that `filter` lets through, sorted by (worker, rank), and the columns asked for.
    ///
    /// Block figures are in the pool's blocks; a target with another size is converted by tokens, overlap and capacity
    /// rounded down, load up. `free-blocks` is capacity less active blocks (what is cached and not active can be
    /// evicted), and unknown where the capacity is. The `filter` runs before anything is locked. Nothing is allocated
    /// once `out` has seen a snapshot of the same size.
    pub fn snapshot(
        &self,
        request: &PlacementRequest<'_>,
        columns: &[Column],
        filter: &mut dyn FnMut(&Target) -> bool,
        now: Millis,
        out: &mut Snapshot,
    ) {
        self.see(now);
        {
            let topology = self.topology.read();
            if !Arc::ptr_eq(&topology, &out.topology) {
                out.topology = Arc::clone(&topology);
            }
        }
        out.rows.clear();
        for (position, (target, place)) in (0..).zip(out.topology.members()) {
            if filter(target) {
                out.rows.push(Row::new(target, position, place, now));
            }
        }
        out.columns.clear();
        out.columns.extend_from_slice(columns);
        self.inner.read().show(request, now, out);
    }

    /// How much of a prompt each target has, in blocks of one size: the index's part of a snapshot, alone.
    pub fn overlaps(&self, prompt: &Prompt, block_size: BlockSize, out: &mut Overlaps) {
        let inner = self.inner.read();
        out.reset(inner.index.slots());
        out.descend(&inner.index, prompt.chain(block_size), &|slot| inner.is_zeroed(slot));
    }
}

impl Row {
    fn new(target: &Target, position: u32, place: Place, now: Millis) -> Self {
        Self {
            target: target.id,
            worker: target.spec.worker,
            rank: target.spec.rank,
            group: target.spec.group,
            block_size: target.spec.block_size,
            epoch: 0,
            overlap: Overlap::default(),
            load: RowLoad { weight: target.health.weight_permille(), ..RowLoad::default() },
            condition: target.condition(now),
            capacity_blocks: target.spec.capacity_blocks,
            position,
            place,
        }
    }
}

impl Inner {
    fn show(&self, request: &PlacementRequest<'_>, now: Millis, out: &mut Snapshot) {
        let Snapshot { topology, rows, columns, packed, overlaps, peaks, no_room } = out;
        if !Arc::ptr_eq(topology, &self.topology) {
            // A target may have gone since the filter saw it, and its slot may be another's by now.
            rows.retain(|row| self.ledger(row.place.slot).is_some_and(|ledger| ledger.id == row.target));
        }
        overlaps.reset(self.index.slots());
        if let Some(prompt) = request.prompt {
            for (block_size, _) in &prompt.blocks {
                overlaps.descend(&self.index, prompt.chain(*block_size), &|slot| self.is_zeroed(slot));
            }
        }
        let peaks_wanted =
            columns.iter().any(|column| matches!(column, Column::GroupPeakPrefill | Column::GroupPeakActive));
        peaks.clear();
        if peaks_wanted {
            peaks.resize(self.topology.groups(), (0, 0));
            self.fill_peaks(peaks);
        }
        // Rows of a worker follow each other, and share alike.
        let mut known = None;
        for row in rows.iter_mut() {
            let Some(ledger) = self.ledger(row.place.slot) else { continue };
            let share = match known {
                Some((worker, ranks, share)) if (worker, ranks) == (row.worker, row.place.ranks) => share,
                _ => self.worker_share(row.worker, row.place),
            };
            known = Some((row.worker, row.place.ranks, share));
            row.epoch = ledger.epoch;
            row.overlap = overlaps.of(row.place.slot);
            row.load = RowLoad { weight: row.load.weight, ..self.row_load(ledger, share) };
        }
        no_room.clear();
        if let Some(room) = Room::of(self, request, overlaps) {
            rows.retain(|row| {
                let lacks = room.lacks(row, &topology.targets()[row.position as usize]);
                no_room.extend(lacks.map(|why| (row.position, why)));
                lacks.is_none()
            });
        }
        packed.resize(columns.len() * rows.len(), 0);
        let figures = Columns { inner: self, topology, overlaps, peaks, request, now };
        // So many rows stay in the nearest cache while column after column is made of them.
        for (first, some) in (0..).step_by(ROWS).zip(rows.chunks(ROWS)) {
            for (column, cells) in columns.iter().zip(packed.chunks_mut(rows.len())) {
                figures.fill(*column, some, &mut cells[first..][..some.len()]);
            }
        }
    }

    /// Whether pending blocks count for nothing on the target.
    fn is_zeroed(&self, slot: Slot) -> bool {
        self.ledger(slot).is_some_and(|ledger| ledger.confirmations.weight_zeroed)
    }

    /// What is booked on a target, its share of its worker's bookings included; the weight is not told here.
    fn row_load(&self, ledger: &TargetLedger, worker: WorkerLedger) -> RowLoad {
        let active = blocks_up(ledger.active_blocks(), ledger.block_size, self.pool_block_size);
        RowLoad {
            prefill_tokens: clamp(ledger.prefill_tokens + worker.prefill_tokens),
            active_blocks: clamp(active + worker.blocks),
            running: ledger.running.saturating_add(worker.running),
            weight: 0,
        }
    }

    /// What each rank of a worker shows of what is booked on it.
    fn worker_share(&self, worker: WorkerId, place: Place) -> WorkerLedger {
        self.workers.get(&worker).map(|worker| worker.share(place.ranks)).unwrap_or_default()
    }

    /// The busiest of each group, pickable or not.
    fn fill_peaks(&self, peaks: &mut [(u32, u32)]) {
        for (target, place) in self.topology.members() {
            let Some(ledger) = self.ledger(place.slot) else { continue };
            let load = self.row_load(ledger, self.worker_share(target.spec.worker, place));
            let (prefill, active) = &mut peaks[place.group];
            *prefill = load.prefill_tokens.max(*prefill);
            *active = load.active_blocks.max(*active);
        }
    }
}
