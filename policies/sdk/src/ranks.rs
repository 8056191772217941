//! The table of targets.

use crate::column::COLUMN_COUNT;
use crate::{Column, Draw, Needs, lanes};

mod builder;
#[cfg(test)]
mod tests;

pub use builder::RanksBuilder;

/// The table: one row per target that may be picked, sorted by (worker, dp-rank). Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranks {
    rows: u32,
    columns: Vec<u32>,
    positions: Positions,
}

/// Where in the packed matrix each column stands, by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Positions([u8; COLUMN_COUNT]);

const ABSENT: u8 = u8::MAX;

impl Positions {
    pub(crate) fn of(needs: &Needs) -> Self {
        let mut positions = [ABSENT; COLUMN_COUNT];
        for (position, &column) in needs.columns.iter().enumerate().take(usize::from(ABSENT)) {
            positions[column as usize] = position as u8;
        }
        Self(positions)
    }
}

/// The columns of a table one after the other; see [`Ranks::in_order`].
#[derive(Clone, Debug)]
pub struct InOrder<'a> {
    rows: usize,
    rest: &'a [u32],
}

impl<'a> InOrder<'a> {
    /// The next one, a value for every row.
    ///
    /// # Panics
    /// If there is none left: a mistake in the policy, which its first pick shows.
    #[inline]
    pub fn next_column(&mut self) -> &'a [u32] {
        let (column, rest) = self.rest.split_at(self.rows);
        self.rest = rest;
        column
    }
}

impl Ranks {
    /// The table over a packed matrix: `columns[c * rows + row]`. Fails if it is empty or ragged.
    #[cfg_attr(
        not(any(target_arch = "wasm32", test)),
        expect(dead_code, reason = "natively, tests build tables")
    )]
    pub(crate) fn new(rows: u32, columns: Vec<u32>, positions: Positions) -> Result<Self, String> {
        if rows == 0 {
            return Err("the table has no rows".to_owned());
        }
        if !columns.len().is_multiple_of(rows as usize) {
            return Err("the table is not whole rows".to_owned());
        }
        Ok(Self { rows, columns, positions })
    }

    /// How many rows; at least 1.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// One column, a value for every row.
    ///
    /// # Panics
    /// If the policy's [`Needs`] did not ask for it: a mistake in the policy, which its first pick shows.
    #[inline]
    pub fn column(&self, column: Column) -> &[u32] {
        let rows = self.rows as usize;
        let position = self.positions.0[column as usize];
        assert!(position != ABSENT, "a column is read that was not asked for");
        &self.columns[usize::from(position) * rows..][..rows]
    }

    /// All columns, in the order in which the policy's [`Needs`] ask for them: where many are wanted, quicker than to look each up.
    #[inline]
    pub fn in_order(&self) -> InOrder<'_> {
        InOrder { rows: self.rows as usize, rest: &self.columns }
    }

    /// The row of least cost; among equal ones each is as likely as the others, by the seed. A cost may be a tuple:
    /// the first part decides, then the second. A cost that is not a number (NaN) loses to any other.
    pub fn argmin<Cost: PartialOrd + Copy>(&self, cost: impl FnMut(usize) -> Cost, seed: u64) -> u32 {
        let costs: Vec<Cost> = (0..self.rows as usize).map(cost).collect();
        let Some(least) = lanes::least(&costs) else { return Draw::new(seed).below(self.rows) };
        let ties = costs.iter().filter(|&&cost| cost == least).count() as u32;
        let chosen = if ties > 1 { Draw::new(seed).below(ties) } else { 0 };
        let mut tied = (0_u32..).zip(&costs).filter(|&(_, &cost)| cost == least);
        tied.nth(chosen as usize).map_or(0, |(row, _)| row)
    }

    /// The number of each worker in the table once, in order. Needs [`Column::Worker`].
    pub fn workers(&self) -> impl Iterator<Item = u32> {
        // Sorted by worker: a worker's rows are neighbours.
        self.column(Column::Worker).chunk_by(|left, right| left == right).map(|rows| rows[0])
    }
}
