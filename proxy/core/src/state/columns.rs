//! The figures of a snapshot, column by column: each is one pass over some rows.

use std::iter::Zip;
use std::slice;

use super::inner::Inner;
use crate::ids::{BlockSize, Millis};
use crate::policy::{Column, UNKNOWN};
use crate::request::PlacementRequest;
use crate::snapshot::{Overlap, Overlaps, Row, blocks_down, blocks_up, clamp};
use crate::target::Target;
use crate::topology::Topology;

/// What columns are computed from. Block figures are shown in the pool's blocks.
pub(super) struct Columns<'a> {
    pub(super) inner: &'a Inner,
    /// What the rows' places mean.
    pub(super) topology: &'a Topology,
    pub(super) overlaps: &'a Overlaps,
    /// Prefill tokens and active blocks of the busiest target, by group of `inner`'s topology.
    pub(super) peaks: &'a [(u32, u32)],
    pub(super) request: &'a PlacementRequest<'a>,
    pub(super) now: Millis,
}

/// Rows, and what is to be written beside each.
type Cells<'a> = Zip<slice::Iter<'a, Row>, slice::IterMut<'a, u32>>;

fn rows_of(cells: Cells<'_>, mut figure: impl FnMut(&Row) -> u32) {
    for (row, cell) in cells {
        *cell = figure(row);
    }
}

impl Columns<'_> {
    /// Writes a cell for each of `rows`.
    pub(super) fn fill(&self, column: Column, rows: &[Row], cells: &mut [u32]) {
        let cells = rows.iter().zip(cells);
        match column {
            Column::Worker => rows_of(cells, |row| row.worker.0),
            Column::DpRank => rows_of(cells, |row| row.rank.0),
            Column::Group => rows_of(cells, |row| row.group.0),
            Column::TargetKey => self.targets(cells, |target| target.spec.key),
            Column::Weight => rows_of(cells, |row| row.load.weight),
            Column::DeviceOverlap => self.overlaps(cells, |overlap| overlap.device),
            Column::HostOverlap => self.overlaps(cells, |overlap| overlap.host),
            Column::DiskOverlap => self.overlaps(cells, |overlap| overlap.disk),
            Column::PendingOverlap => self.overlaps(cells, |overlap| overlap.pending),
            Column::CachedBlocks => rows_of(cells, |row| self.cached_blocks(row)),
            Column::FreeBlocks => rows_of(cells, |row| match self.capacity_blocks(row) {
                0 => UNKNOWN,
                capacity => capacity.saturating_sub(row.load.active_blocks),
            }),
            Column::CapacityBlocks => rows_of(cells, |row| self.capacity_blocks(row)),
            Column::ActiveBlocks => rows_of(cells, |row| row.load.active_blocks),
            Column::NewBlocks => self.new_blocks(cells),
            Column::PrefillTokens => rows_of(cells, |row| row.load.prefill_tokens),
            Column::Running => rows_of(cells, |row| row.load.running),
            Column::EngineRunning => self.targets(cells, |target| target.engine.report().running),
            Column::EngineWaiting => self.targets(cells, |target| target.engine.report().waiting),
            Column::EngineKv => self.targets(cells, |target| target.engine.report().kv_permille),
            Column::GroupPeakPrefill => self.peaks(cells, |(prefill, _)| prefill),
            Column::GroupPeakActive => self.peaks(cells, |(_, active)| active),
            Column::EventLagMs => self.targets(cells, |target| target.feed.lag_ms(self.now)),
            Column::LoadAgeMs => self.targets(cells, |target| target.engine.age_ms(self.now)),
            Column::Condition => rows_of(cells, |row| row.condition.0),
            Column::Learned => rows_of(cells, |_| 0),
        }
    }

    fn targets(&self, cells: Cells<'_>, figure: impl Fn(&Target) -> u32) {
        let targets = self.topology.targets();
        rows_of(cells, |row| figure(&targets[row.position as usize]));
    }

    fn overlaps(&self, cells: Cells<'_>, figure: impl Fn(Overlap) -> u32) {
        let pool = self.inner.pool_block_size;
        rows_of(cells, |row| figure(row.overlap.in_blocks_of(row.block_size, pool)));
    }

    fn peaks(&self, cells: Cells<'_>, figure: impl Fn((u32, u32)) -> u32) {
        let is_current = std::ptr::eq(self.topology, &*self.inner.topology);
        rows_of(cells, |row| {
            let group = if is_current { Some(row.place.group) } else { self.inner.topology.group(row.group) };
            figure(group.and_then(|group| self.peaks.get(group)).copied().unwrap_or_default())
        });
    }

    fn cached_blocks(&self, row: &Row) -> u32 {
        let blocks = u64::from(self.inner.index.cached_blocks(row.place.slot));
        clamp(blocks_up(blocks, row.block_size, self.inner.pool_block_size))
    }

    fn capacity_blocks(&self, row: &Row) -> u32 {
        let blocks = u64::from(row.capacity_blocks);
        clamp(blocks_down(blocks, row.block_size, self.inner.pool_block_size))
    }

    fn new_blocks(&self, cells: Cells<'_>) {
        // What the request consists of is the same for all rows of one block size.
        let mut known: Option<(BlockSize, u64)> = None;
        rows_of(cells, |row| {
            let size = row.block_size;
            let blocks =
                known.filter(|(of, _)| *of == size).map_or_else(|| self.blocks(size), |(_, all)| all);
            known = Some((size, blocks));
            let new = blocks - u64::from(self.overlaps.active(row.place.slot));
            clamp(blocks_up(new, size, self.inner.pool_block_size))
        });
    }

    /// Blocks that the request would take if nothing of it were active already.
    fn blocks(&self, size: BlockSize) -> u64 {
        let chain = self.request.chain(size).len();
        chain as u64 + self.request.private(chain, size).blocks(0)
    }
}
