//! Rows sixteen at a time, four to a vector, natively as in WebAssembly.

use wide::{bytemuck, f32x4, u32x4};

use super::figures::{Columns, Further, NO_WEIGHT, Peaks, Usual};
use super::terms::Terms;

/// Rows of a block: many for each time that the columns' places are looked up, few to be computed in full for one that is not plain.
pub(super) const ROWS: usize = 16;

const VECTORS: usize = ROWS / LANES;
const LANES: usize = 4;

/// What the rows of a block cost; infinitely much where there is none.
#[derive(Clone, Copy)]
pub(super) struct Costs([f32x4; VECTORS]);

impl Costs {
    /// One row after the other.
    pub(super) fn by_row(&self) -> [f32; ROWS] {
        bytemuck::cast(self.0)
    }

    /// Whether any row costs less than this.
    #[inline(always)]
    pub(super) fn any_below(&self, limit: f32) -> bool {
        let limit = f32x4::splat(limit);
        self.0.iter().fold(f32x4::ZERO, |any, costs| any | costs.simd_lt(limit)).any()
    }

    /// The rows that cost less than this, a bit each.
    #[inline(always)]
    pub(super) fn below(&self, limit: f32) -> u32 {
        let limit = f32x4::splat(limit);
        self.0.iter().rev().fold(0, |rows, costs| rows << LANES | costs.simd_lt(limit).to_bitmask())
    }

    /// What the cheapest one costs.
    #[inline(always)]
    pub(super) fn least(&self) -> f32 {
        let lanes = self.0.iter().fold(f32x4::splat(f32::INFINITY), |least, costs| least.fast_min(*costs));
        let lesser = |least, cost| if cost < least { cost } else { least };
        lanes.to_array().into_iter().fold(f32::INFINITY, lesser)
    }
}

/// Computes what each row costs, and shows it with the number of the block's first row, in the table's order.
#[inline(always)]
pub(super) fn each(
    terms: &Terms<'_>,
    columns: &Columns<'_>,
    rows: usize,
    mut show: impl FnMut(usize, &Costs),
) {
    let (usual, further) = (columns.usual.map(whole_blocks), columns.further.map(whole_blocks));
    for block in 0..rows / ROWS {
        let (usual, further) = (usual.map(|blocks| &blocks[block]), further.map(|blocks| &blocks[block]));
        let costs = plain_costs(terms, &usual, &further);
        let costs = costs.unwrap_or_else(|| {
            let peaks =
                columns.peaks.map(|column| column.map_or(&[0; ROWS], |column| &whole_blocks(column)[block]));
            full_costs(terms, &usual, &further, &peaks)
        });
        show(block * ROWS, &costs);
    }
    let rest = rows % ROWS;
    if rest > 0 {
        show(rows - rest, &last_costs(terms, columns, rows - rest..rows));
    }
}

#[inline(always)]
fn whole_blocks(column: &[u32]) -> &[[u32; ROWS]] {
    column.as_chunks().0
}

/// A block that is not whole.
#[inline(never)]
fn last_costs(terms: &Terms<'_>, columns: &Columns<'_>, rows: std::ops::Range<usize>) -> Costs {
    let filled = |column: &[u32], none| {
        let mut block = [none; ROWS];
        block.iter_mut().zip(&column[rows.clone()]).for_each(|(to, &from)| *to = from);
        block
    };
    let usual = columns.usual.map(|column| filled(column, 0));
    let further = columns.further;
    let weight = filled(further.weight, NO_WEIGHT);
    let further = Further { weight, ..further.map(|column| filled(column, 0)) };
    let (usual, further) = (usual.each_ref(), further.each_ref());
    let costs = plain_costs(terms, &usual, &further).unwrap_or_else(|| {
        let peaks = columns.peaks.map(|column| column.map_or([0; ROWS], |column| filled(column, 0)));
        full_costs(terms, &usual, &further, &Peaks { prefill: &peaks.prefill, kv: &peaks.kv })
    });
    let mut costs = costs.by_row();
    costs[rows.len()..].fill(f32::INFINITY);
    Costs(bytemuck::cast(costs))
}

/// None if one of the rows is not plain, or the request is not.
#[inline(always)]
fn plain_costs(
    terms: &Terms<'_>,
    usual: &Usual<&[u32; ROWS]>,
    further: &Further<&[u32; ROWS]>,
) -> Option<Costs> {
    if !terms.plain() || !are_plain(further) {
        return None;
    }
    let mut costs = [f32x4::ZERO; VECTORS];
    for (vector, costs) in costs.iter_mut().enumerate() {
        *costs = terms.plain_costs(&usual.map(|block| four(block, vector)));
    }
    Some(Costs(costs))
}

#[inline(always)]
fn are_plain(further: &Further<&[u32; ROWS]>) -> bool {
    let mut not_plain = u32x4::ZERO;
    for vector in 0..VECTORS {
        not_plain |= further.map(|block| four(block, vector)).not_plain();
    }
    not_plain.simd_eq(u32x4::ZERO).all()
}

#[inline(never)]
fn full_costs(
    terms: &Terms<'_>,
    usual: &Usual<&[u32; ROWS]>,
    further: &Further<&[u32; ROWS]>,
    peaks: &Peaks<&[u32; ROWS]>,
) -> Costs {
    let mut costs = [f32x4::ZERO; VECTORS];
    for (vector, costs) in costs.iter_mut().enumerate() {
        let (usual, further) =
            (usual.map(|block| four(block, vector)), further.map(|block| four(block, vector)));
        *costs = terms.costs(&usual, &further, &peaks.map(|block| four(block, vector)));
    }
    Costs(costs)
}

#[inline(always)]
fn four(block: &[u32; ROWS], vector: usize) -> u32x4 {
    u32x4::new(block.as_chunks().0[vector])
}

/// Tokens of the prompt that a row gets credit for; a row that is there.
pub(super) fn credit(terms: &Terms<'_>, columns: &Columns<'_>, row: usize) -> f32 {
    let figure = |column: &[u32]| u32x4::splat(column[row]);
    terms.credit(&columns.usual.map(figure), &columns.further.map(figure)).to_array()[0]
}
