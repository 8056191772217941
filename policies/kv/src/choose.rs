//! From costs to a row. `None` if no row has a finite cost.

use rankwise_policy::prelude::*;

use crate::cost::Scored;

/// The least cost. Rows within one block of it are tied: fewest running, then most of this prompt cached, then, of two
/// drawn at random, the one with fewer blocks in its cache.
///
/// What else a rank has cached must not attract: prompts that share nothing would follow one another to one rank. Nor may
/// it decide alone: a rank that never fills (small, or its events are off) would draw them all; of two drawn, it gets at
/// most its share twice.
pub(crate) fn least_within(block: f64, scored: &Scored, ranks: &Ranks, draw: &mut Draw) -> Option<u32> {
    let close = scored.costs.within(block);
    if let [row] = close.rows() {
        return Some(*row);
    }
    let (running, cached) = (ranks.column(Column::Running), ranks.column(Column::CachedBlocks));
    close.least(|row| running[row]).least(|row| -scored.credit[row]).best_of(2, draw, |row| cached[row])
}
