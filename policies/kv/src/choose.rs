//! From costs to a row. `None` if no row has a finite cost.

use rankwise_policy::prelude::*;

use crate::cost::Scored;

/// The least cost; exactly equal ones are equally likely.
pub(crate) fn least(costs: &[f64], draw: &mut Draw) -> Option<u32> {
    let limit = minimum(costs)?;
    let tied = rows(costs, |cost| cost <= limit);
    Some(tied[draw.below(tied.len() as u32) as usize])
}

/// The least cost. Rows within one block of it are tied: fewest running, then most of this prompt cached, then, of two
/// drawn at random, the one with fewer blocks in its cache.
///
/// What else a rank has cached must not attract: prompts that share nothing would follow one another to one rank. Nor may
/// it decide alone: a rank that never fills (small, or its events are off) would draw them all; of two drawn, it gets at
/// most its share twice.
pub(crate) fn least_within(block: f64, scored: &Scored, ranks: &Ranks, draw: &mut Draw) -> Option<u32> {
    let least = minimum(&scored.costs)?;
    let mut tied = rows(&scored.costs, |cost| cost < least + block || cost <= least);
    if tied.len() == 1 {
        return tied.first().copied();
    }
    let running = |row: u32| ranks.column(Column::Running)[row as usize];
    let fewest = tied.iter().map(|&row| running(row)).min()?;
    tied.retain(|&row| running(row) == fewest);

    let credit = |row: u32| scored.credit[row as usize];
    let most = tied.iter().map(|&row| credit(row)).fold(0.0, f64::max);
    tied.retain(|&row| credit(row) >= most);

    let count = tied.len() as u32;
    let first = draw.below(count);
    let second = (first + 1 + draw.below(count - 1)) % count;
    let cached = |place: u32| ranks.column(Column::CachedBlocks)[tied[place as usize] as usize];
    let place = if cached(second) < cached(first) { second } else { first };
    Some(tied[place as usize])
}

fn rows(costs: &[f64], keep: impl Fn(f64) -> bool) -> Vec<u32> {
    (0_u32..).zip(costs).filter(|&(_, &cost)| keep(cost)).map(|(row, _)| row).collect()
}

/// The least finite cost. In lanes: four minima at once, since one after the other each waits for the last.
fn minimum(costs: &[f64]) -> Option<f64> {
    let lesser = |left: f64, right: f64| if right < left { right } else { left };
    let (chunks, rest) = costs.as_chunks::<4>();
    let mut lanes = [f64::INFINITY; 4];
    for chunk in chunks {
        for lane in 0..4 {
            lanes[lane] = lesser(lanes[lane], chunk[lane]);
        }
    }
    let least = lanes.iter().chain(rest).copied().fold(f64::INFINITY, lesser);
    least.is_finite().then_some(least)
}
