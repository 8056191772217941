//! The figures of one row, column by column.

use super::{Overlap, RowLoad, blocks_down, clamp};
use crate::ids::{BlockSize, Millis};
use crate::policy::{Column, UNKNOWN};
use crate::target::Target;

/// What a row's columns are computed from. Block figures in the pool's blocks.
pub(crate) struct Figures<'a> {
    pub(crate) target: &'a Target,
    pub(crate) overlap: Overlap,
    pub(crate) cached_blocks: u32,
    pub(crate) new_blocks: u32,
    pub(crate) load: RowLoad,
    /// Prefill tokens and active blocks of the busiest target of the group.
    pub(crate) peak: (u32, u32),
    pub(crate) pool_block_size: BlockSize,
    pub(crate) now: Millis,
}

impl Figures<'_> {
    pub(crate) fn column(&self, column: Column) -> u32 {
        let Self { target, overlap, load, .. } = self;
        match column {
            Column::Worker => target.spec.worker.0,
            Column::DpRank => target.spec.rank.0,
            Column::Group => target.spec.group.0,
            Column::TargetKey => target.spec.key,
            Column::Weight => load.weight,
            Column::DeviceOverlap => overlap.device,
            Column::HostOverlap => overlap.host,
            Column::DiskOverlap => overlap.disk,
            Column::PendingOverlap => overlap.pending,
            Column::CachedBlocks => self.cached_blocks,
            Column::FreeBlocks => match self.capacity() {
                0 => UNKNOWN,
                capacity => capacity.saturating_sub(load.active_blocks),
            },
            Column::CapacityBlocks => self.capacity(),
            Column::ActiveBlocks => load.active_blocks,
            Column::NewBlocks => self.new_blocks,
            Column::PrefillTokens => load.prefill_tokens,
            Column::Running => load.running,
            Column::EngineRunning => target.engine.report().running,
            Column::EngineWaiting => target.engine.report().waiting,
            Column::EngineKv => target.engine.report().kv_permille,
            Column::GroupPeakPrefill => self.peak.0,
            Column::GroupPeakActive => self.peak.1,
            Column::EventLagMs => target.feed.lag_ms(self.now),
            Column::LoadAgeMs => target.engine.age_ms(self.now),
            Column::Condition => target.condition().0,
            Column::Learned => 0,
        }
    }

    fn capacity(&self) -> u32 {
        clamp(blocks_down(
            u64::from(self.target.spec.capacity_blocks),
            self.target.spec.block_size,
            self.pool_block_size,
        ))
    }
}

impl Overlap {
    /// In blocks of another size. Converted where each part ends, so that nothing is lost between the parts and the
    /// sum is rounded down.
    pub(crate) fn in_blocks_of(self, from: BlockSize, to: BlockSize) -> Self {
        let end = |blocks: u32| clamp(blocks_down(u64::from(blocks), from, to));
        let device = end(self.device);
        let host = end(self.device + self.host);
        let held = end(self.held());
        let reach = end(self.held() + self.pending);
        Self { device, host: host - device, disk: held - host, pending: reach - held }
    }
}
