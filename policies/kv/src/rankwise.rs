//! Preset `rankwise`: Dynamo's terms and those of ranks that step together, in tokens, all of a row in one pass.
//!
//! With u the tokens still to compute on a rank, P its prefill backlog and K its KV with this
//! request, and g its lockstep group, of which every rank waits for the slowest:
//!
//! ```text
//! u    = max(1, prompt_tokens - B * (credit + pending_hit_weight * pending))      (phase decode: 0)
//! P    = prefill_tokens + u * (1 + running_delay_weight * running)                (phase decode: 0)
//! K    = B * (active + new)                                                       (phase decode: less B * credit)
//! cost = (prefill_load_scale * P + K + decode_active_request_weight * B * running
//!         + group_prefill_weight * max(peak P of g, P) + group_kv_weight * max(peak K of g, K)) * 1000 / weight
//! ```
//!
//! Whoever runs on a rank waits while a prompt is computed there. Without that term requests of one new prompt part
//! as soon as their first rank is a little busier than another, and each of them computes the prompt again.
//!
//! A match no longer than `opening_tokens`, and than half the prompt, counts for nothing. It is what a chat template begins all
//! chats with: they share nothing else, and would follow one another to the rank that happened to have the first. To compute it once more on
//! each other rank costs little, and once.
//!
//! Nothing counts as cached on a rank whose index is not trusted. A rank without room for the new blocks and the
//! output costs infinitely much; a request larger than the whole rank fits an empty one.

use rankwise_policy::prelude::*;

use crate::Kv;

mod blocks;
mod figures;
mod terms;
#[cfg(test)]
mod tests;

use figures::Columns;
pub(crate) use figures::asked;
pub(crate) use terms::Rates;
use terms::Terms;

impl Kv {
    /// The costs by row.
    pub(crate) fn rankwise_costs(&self, request: &Request, ranks: &Ranks) -> Costs {
        let (terms, columns) = (Terms::new(self, request, ranks), Columns::of(&self.weights, ranks));
        let rows = ranks.rows() as usize;
        let mut all = Vec::with_capacity(rows.next_multiple_of(blocks::ROWS));
        let tokens = |cost: f32| f64::from(cost) * self.block_size;
        blocks::each(&terms, &columns, rows, |_, block| all.extend(block.by_row().map(tokens)));
        all.truncate(rows);
        all.into()
    }

    /// A row of least cost; none if no row has a finite one. Rows within one block of it are tied: fewest running, then most of
    /// this prompt cached, then, of two drawn at random, the one with fewer blocks in its cache.
    ///
    /// What else a rank has cached must not attract: prompts that share nothing would follow one another to one rank. Nor may
    /// it decide alone: a rank that never fills (small, or its events are off) would draw them all. Two are drawn, which may be
    /// the same one, so it gets less than twice its share and not all of it, even if it is one of two.
    pub(crate) fn rankwise_row(&self, request: &Request, ranks: &Ranks, draw: &mut Draw) -> Option<u32> {
        let (terms, columns) = (Terms::new(self, request, ranks), Columns::of(&self.weights, ranks));
        let close = close(&terms, &columns, ranks.rows() as usize);
        if let [(row, _)] = close.as_slice() {
            return Some(*row);
        }
        let (running, cached) = (columns.usual.running, ranks.column(Column::CachedBlocks));
        let close: Vec<u32> = close.into_iter().map(|(row, _)| row).collect();
        let tied = Candidates::from(close)
            .least(|row| running[row])
            .least(|row| -blocks::credit(&terms, &columns, row));
        let (first, second) = (tied.any(draw)?, tied.any(draw)?);
        Some(if cached[second as usize] < cached[first as usize] { second } else { first })
    }
}

/// The rows within one block of the least cost, if that is finite, and what they cost.
#[inline(always)]
fn close(terms: &Terms<'_>, columns: &Columns<'_>, rows: usize) -> Vec<(u32, f32)> {
    let mut nearest = Nearest { least: f32::INFINITY, limit: f32::INFINITY, rows: Vec::with_capacity(16) };
    blocks::each(terms, columns, rows, |first, block| {
        if block.any_below(nearest.limit) {
            nearest.look(first, block);
        }
    });
    let limit = nearest.limit;
    nearest.rows.retain(|&(_, cost)| cost < limit);
    nearest.rows
}

/// The least so far, and the rows close to what was the least when they were looked at, which soon falls: few.
struct Nearest {
    least: f32,
    /// What costs less is close.
    limit: f32,
    rows: Vec<(u32, f32)>,
}

impl Nearest {
    #[inline(never)]
    fn look(&mut self, first: usize, block: &blocks::Costs) {
        let least = block.least();
        if least < self.least {
            self.least = least;
            self.limit = (least + 1.0).max(least.next_up());
        }
        let (mut rows, costs) = (block.below(self.limit), block.by_row());
        while rows != 0 {
            let row = rows.trailing_zeros() as usize;
            self.rows.push(((first + row) as u32, costs[row]));
            rows &= rows - 1;
        }
    }
}
