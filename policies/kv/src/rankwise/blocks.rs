//! Rows in blocks, each computed in one loop that the compiler turns into vector instructions, natively as in WebAssembly.

use super::figures::{Columns, Further, Row, Usual};
use super::terms::Terms;

/// Rows of a block, at most: many for each time that the columns are looked up, few to be computed in full for one that is not plain.
const ROWS: usize = 64;

/// What rows that follow each other cost.
pub(super) struct Costs {
    /// The first one's number.
    first: usize,
    rows: usize,
    /// Infinite where there is no row.
    costs: [f32; ROWS],
    pub(super) least: f32,
}

/// Computes what each row costs, and shows it, some at a time, in the table's order.
pub(super) fn each(terms: &Terms<'_>, columns: &Columns<'_>, rows: usize, mut show: impl FnMut(&Costs)) {
    let plain = terms.plain();
    for first in (0..rows).step_by(ROWS) {
        let rows = ROWS.min(rows - first);
        let mut some = Costs { first, rows, costs: [f32::INFINITY; ROWS], least: f32::INFINITY };
        let usual = columns.usual.map(|column| &column[first..][..rows]);
        let further = columns.further.map(|column| match column {
            Some(column) => &column[first..][..rows],
            None => &[0; ROWS][..rows],
        });
        let costs = &mut some.costs[..rows];
        if plain && is_plain(&further, rows) {
            compute_plain(terms, &usual, costs);
        } else {
            compute(terms, &usual, &further, costs);
        }
        some.least = least(&some.costs);
        show(&some);
    }
}

impl Costs {
    /// By row.
    pub(super) fn costs(&self) -> &[f32] {
        &self.costs[..self.rows]
    }

    /// Shows the rows that cost less than `limit`. Whole eights are passed over at once.
    pub(super) fn each_below(&self, limit: f32, mut show: impl FnMut(u32, f32)) {
        for (first, eight) in (self.first as u32..).step_by(8).zip(self.costs.as_chunks::<8>().0) {
            if eight.iter().fold(false, |any, &cost| any | (cost < limit)) {
                for (row, &cost) in (first..).zip(eight) {
                    if cost < limit {
                        show(row, cost);
                    }
                }
            }
        }
    }
}

fn is_plain(block: &Further<&[u32]>, rows: usize) -> bool {
    let block = block.map(|column| &column[..rows]);
    (0..rows).fold(0, |seen, row| seen | block.map(|column| column[row]).not_plain()) == 0
}

/// Not inlined: so the compiler knows that `costs` is no part of the table.
#[inline(never)]
fn compute_plain(terms: &Terms<'_>, usual: &Usual<&[u32]>, costs: &mut [f32]) {
    let rows = costs.len();
    let usual = usual.map(|column| &column[..rows]);
    for (row, cost) in costs.iter_mut().enumerate() {
        *cost = terms.plain_cost(&usual.map(|column| column[row]));
    }
}

#[inline(never)]
fn compute(terms: &Terms<'_>, usual: &Usual<&[u32]>, further: &Further<&[u32]>, costs: &mut [f32]) {
    let rows = costs.len();
    let (usual, further) = (usual.map(|column| &column[..rows]), further.map(|column| &column[..rows]));
    for (row, cost) in costs.iter_mut().enumerate() {
        let usual = usual.map(|column| column[row]);
        *cost = terms.cost(&Row { usual, further: further.map(|column| column[row]) });
    }
}

/// The least one, by eight minima at once: one after the other, each comparison would wait for the one before.
fn least(costs: &[f32; ROWS]) -> f32 {
    let lesser = |least: f32, cost: f32| if cost < least { cost } else { least };
    let mut lanes = [f32::INFINITY; 8];
    for eight in costs.as_chunks::<8>().0 {
        for (least, cost) in lanes.iter_mut().zip(eight) {
            *least = lesser(*least, *cost);
        }
    }
    lanes.into_iter().fold(f32::INFINITY, lesser)
}
