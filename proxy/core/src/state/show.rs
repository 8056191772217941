//! Filling a snapshot.

use std::sync::Arc;

use super::RoutingState;
use super::inner::Inner;
use super::topology::Place;
use crate::ids::{BlockSize, Millis};
use crate::index::Slot;
use crate::policy::Column;
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::{Figures, Overlap, Overlaps, Row, RowLoad, Snapshot, blocks_up, clamp};
use crate::target::Target;

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
        for (position, (target, _)) in (0..).zip(out.topology.members()) {
            if filter(target) {
                out.rows.push(Row::new(target, position));
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
    fn new(target: &Target, position: u32) -> Self {
        Self {
            target: target.id,
            worker: target.spec.worker,
            rank: target.spec.rank,
            group: target.spec.group,
            block_size: target.spec.block_size,
            epoch: 0,
            overlap: Overlap::default(),
            load: RowLoad::default(),
            position,
        }
    }
}

impl Inner {
    fn show(&self, request: &PlacementRequest<'_>, now: Millis, out: &mut Snapshot) {
        let Snapshot { topology, rows, columns, packed, overlaps, peaks } = out;
        // A target may have gone since the filter saw it, and its slot may be another's by now.
        rows.retain(|row| {
            let slot = topology.place(row.position as usize).slot;
            self.ledger(slot).is_some_and(|ledger| ledger.id == row.target)
        });
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
        packed.clear();
        packed.resize(columns.len() * rows.len(), 0);
        let count = rows.len();
        for (at, row) in rows.iter_mut().enumerate() {
            let place = topology.place(row.position as usize);
            let target = &topology.targets()[row.position as usize];
            row.epoch = self.ledger(place.slot).map_or(0, |ledger| ledger.epoch);
            row.overlap = overlaps.of(place.slot);
            row.load = self.row_load(target, place);
            let pool = self.pool_block_size;
            let size = row.block_size;
            let chain = request.chain(size).len();
            let new = chain as u64 - u64::from(overlaps.active(place.slot))
                + request.private(chain, size).blocks(0);
            let cached = u64::from(self.index.cached_blocks(place.slot));
            let figures = Figures {
                target,
                overlap: row.overlap.in_blocks_of(size, pool),
                cached_blocks: clamp(blocks_up(cached, size, pool)),
                new_blocks: clamp(blocks_up(new, size, pool)),
                load: row.load,
                peak: self
                    .topology
                    .group(target.spec.group)
                    .and_then(|group| peaks.get(group))
                    .copied()
                    .unwrap_or_default(),
                pool_block_size: pool,
                now,
            };
            for (c, column) in columns.iter().enumerate() {
                packed[c * count + at] = figures.column(*column);
            }
        }
    }

    /// Whether pending blocks count for nothing on the target.
    fn is_zeroed(&self, slot: Slot) -> bool {
        self.ledger(slot).is_some_and(|ledger| ledger.confirmations.weight_zeroed)
    }

    /// What is booked on a target, its share of its worker's bookings included.
    fn row_load(&self, target: &Target, place: Place) -> RowLoad {
        let weight = target.health.weight_permille();
        let Some(ledger) = self.ledger(place.slot) else { return RowLoad { weight, ..RowLoad::default() } };
        let worker =
            self.workers.get(&target.spec.worker).map(|worker| worker.share(place.ranks)).unwrap_or_default();
        let active = blocks_up(ledger.active_blocks(), ledger.block_size, self.pool_block_size);
        RowLoad {
            prefill_tokens: clamp(ledger.prefill_tokens + worker.prefill_tokens),
            active_blocks: clamp(active + worker.blocks),
            running: ledger.running.saturating_add(worker.running),
            weight,
        }
    }

    /// The busiest of each group, pickable or not.
    fn fill_peaks(&self, peaks: &mut [(u32, u32)]) {
        for (target, place) in self.topology.members() {
            let load = self.row_load(target, place);
            let (prefill, active) = &mut peaks[place.group];
            *prefill = load.prefill_tokens.max(*prefill);
            *active = load.active_blocks.max(*active);
        }
    }
}
