//! Figures in a target's blocks, as figures in the pool's.

use super::Overlap;
use crate::ids::BlockSize;

/// Rounded down: what may be relied on.
pub(crate) fn blocks_down(blocks: u64, from: BlockSize, to: BlockSize) -> u64 {
    if from == to { blocks } else { (blocks * u64::from(from.0)).checked_div(u64::from(to.0)).unwrap_or(0) }
}

/// Rounded up: load.
pub(crate) fn blocks_up(blocks: u64, from: BlockSize, to: BlockSize) -> u64 {
    if from == to { blocks } else { (blocks * u64::from(from.0)).div_ceil(u64::from(to.0.max(1))) }
}

/// Fits a column, short of the value that means unknown.
pub(crate) fn clamp(figure: u64) -> u32 {
    u32::try_from(figure).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

impl Overlap {
    /// In blocks of another size. Converted where each part ends, so that nothing is lost between the parts and the
    /// sum is rounded down.
    pub(crate) fn in_blocks_of(self, from: BlockSize, to: BlockSize) -> Self {
        if from == to {
            return self;
        }
        let end = |blocks: u32| clamp(blocks_down(u64::from(blocks), from, to));
        let device = end(self.device);
        let host = end(self.device + self.host);
        let held = end(self.held());
        let reach = end(self.held() + self.pending);
        Self { device, host: host - device, disk: held - host, pending: reach - held }
    }
}
