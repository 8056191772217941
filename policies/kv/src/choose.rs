//! From costs to a row. `None` if no row has a finite cost.

use rankwise_policy::prelude::*;

use crate::cost::Scored;

/// The least cost. Rows within one block of it are tied: fewest running, then most of this prompt cached, then, of two
/// drawn at random, the one with fewer blocks in its cache.
///
/// What else a rank has cached must not attract: prompts that share nothing would follow one another to one rank. Nor may
/// it decide alone: a rank that never fills (small, or its events are off) would draw them all. Two are drawn, which may be
/// the same one, so it gets less than twice its share and not all of it, even if it is one of two.
pub(crate) fn least_within(block: f64, scored: &Scored, ranks: &Ranks, draw: &mut Draw) -> Option<u32> {
    let close = scored.costs.within(block);
    if let [row] = close.rows() {
        return Some(*row);
    }
    let (running, cached) = (ranks.column(Column::Running), ranks.column(Column::CachedBlocks));
    let tied = close.least(|row| running[row]).least(|row| -scored.credit[row]);
    let (first, second) = (tied.any(draw)?, tied.any(draw)?);
    Some(if cached[second as usize] < cached[first as usize] { second } else { first })
}
