//! Figures in a target's blocks, as figures in the pool's.

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
