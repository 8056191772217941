use super::{Positions, Ranks};
use crate::column::COLUMN_COUNT;
use crate::{Column, Needs};

/// Makes tables for the unit tests of a policy. Columns that nothing was said about: every row a rank of worker 0,
/// weight 1000, target keys that differ, everything else 0.
#[derive(Clone, Debug)]
pub struct RanksBuilder {
    columns: Vec<Vec<u32>>,
}

impl RanksBuilder {
    /// A table of so many rows.
    ///
    /// # Panics
    /// If there are none: a policy never sees an empty table.
    pub fn new(rows: usize) -> Self {
        assert!(rows > 0, "a table has at least one row");
        let mut columns = vec![vec![0; rows]; COLUMN_COUNT];
        columns[Column::Weight as usize].fill(1000);
        for (row, rank) in columns[Column::DpRank as usize].iter_mut().enumerate() {
            *rank = row as u32;
        }
        for (row, key) in columns[Column::TargetKey as usize].iter_mut().enumerate() {
            // A bijection of the row number: no two are equal.
            *key = (row as u32).wrapping_mul(0x9e37_79b1) ^ 0x85eb_ca6b;
        }
        Self { columns }
    }

    /// A table of so many workers of so many ranks each, which step together.
    ///
    /// # Panics
    /// If there are none.
    pub fn fleet(workers: u32, ranks: u32) -> Self {
        let rows = 0..workers * ranks;
        let worker_of: Vec<u32> = rows.clone().map(|row| row / ranks).collect();
        let rank_of: Vec<u32> = rows.clone().map(|row| row % ranks).collect();
        Self::new(rows.len())
            .set(Column::Worker, &worker_of)
            .set(Column::Group, &worker_of)
            .set(Column::DpRank, &rank_of)
    }

    /// Sets a column.
    ///
    /// # Panics
    /// If there are not as many values as rows.
    #[must_use]
    pub fn set(mut self, column: Column, values: &[u32]) -> Self {
        self.columns[column as usize].copy_from_slice(values);
        self
    }

    /// Sets one value.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn at(mut self, row: usize, column: Column, value: u32) -> Self {
        self.columns[column as usize][row] = value;
        self
    }

    /// The table as a policy with these needs gets it.
    pub fn build(&self, needs: &Needs) -> Ranks {
        let columns =
            needs.columns.iter().flat_map(|&column| &self.columns[column as usize]).copied().collect();
        Ranks { rows: self.columns[0].len() as u32, columns, positions: Positions::of(needs) }
    }
}
