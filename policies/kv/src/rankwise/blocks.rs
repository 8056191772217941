//! Rows in blocks, each computed in one loop that the compiler turns into vector instructions, natively as in WebAssembly.

use super::figures::{Columns, Figures};
use super::terms::Terms;

/// Rows of a block, at most: many for each time that the columns are looked up, few to be computed in full for one that is not plain.
const ROWS: usize = 64;

type Block<'a> = Figures<&'a [u32]>;

/// What rows that follow each other cost.
pub(super) struct Costs<'a> {
    /// The first one's number.
    pub(super) first: usize,
    pub(super) costs: &'a [f32],
    pub(super) least: f32,
}

/// Computes what each row costs, and shows it, some at a time, in the table's order.
pub(super) fn each(terms: &Terms, columns: &Columns<'_>, rows: usize, mut show: impl FnMut(Costs<'_>)) {
    let mut costs = [0.0; ROWS];
    let plain = terms.plain();
    for first in (0..rows).step_by(ROWS) {
        let costs = &mut costs[..ROWS.min(rows - first)];
        let block = columns.map(|column| match column {
            Some(column) => &column[first..][..costs.len()],
            None => &[0; ROWS][..costs.len()],
        });
        if plain && is_plain(&block, costs.len()) {
            compute::<true>(terms, &block, costs);
        } else {
            compute::<false>(terms, &block, costs);
        }
        show(Costs { first, costs, least: least(costs) });
    }
}

fn is_plain(block: &Block<'_>, rows: usize) -> bool {
    let block = block.map(|column| &column[..rows]);
    (0..rows).fold(0, |seen, row| seen | block.map(|column| column[row]).not_plain()) == 0
}

/// Not inlined: so the compiler knows that `costs` is no part of the table.
#[inline(never)]
fn compute<const PLAIN: bool>(terms: &Terms, block: &Block<'_>, costs: &mut [f32]) {
    let rows = costs.len();
    let block = block.map(|column| &column[..rows]);
    for (row, cost) in costs.iter_mut().enumerate() {
        *cost = terms.cost::<PLAIN>(&block.map(|column| column[row]));
    }
}

/// The least one, by eight minima at once: one after the other, each comparison would wait for the one before.
fn least(costs: &[f32]) -> f32 {
    let lesser = |least: f32, cost: f32| if cost < least { cost } else { least };
    let mut lanes = [f32::INFINITY; 8];
    let (eights, rest) = costs.as_chunks::<8>();
    for eight in eights {
        for (least, cost) in lanes.iter_mut().zip(eight) {
            *least = lesser(*least, *cost);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::INFINITY, lesser)
}
