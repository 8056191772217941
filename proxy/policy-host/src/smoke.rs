//! The snapshot on which a policy is tried before it is let at traffic.

use rankwise_core::policy::{Column, Fact, Facts, Needs, Phase, PolicyRequest, UNKNOWN};

/// A request, and a table for whatever columns the policy turns out to need. Also what warms its instances.
pub struct Smoke<'a> {
    /// The request.
    pub request: PolicyRequest,
    /// Builds the table once the needs are known, from the live snapshot if there is one.
    pub table: &'a dyn Fn(&Needs) -> SmokeTable,
}

/// A table as a policy is given it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmokeTable {
    /// Rows; not 0, a policy is never asked about an empty table.
    pub rows: u32,
    /// `columns[c * rows + row]`, c being the position in the needs.
    pub columns: Vec<u32>,
    /// The workers of the rows, for an answer that names one.
    pub workers: Vec<u32>,
}

impl Smoke<'static> {
    /// An invented request to 2 workers of 4 dp ranks each, for a pool that has no rank yet.
    pub fn example() -> Self {
        let mut facts = Facts::default();
        facts.set(Fact::PromptTokens, 1000);
        facts.set(Fact::PromptBlocks, 62);
        facts.set(Fact::MaxOutputTokens, 200);
        facts.set(Fact::Sequences, 1);
        let request = PolicyRequest {
            sequence: 0,
            seed: 0x9e37_79b9_7f4a_7c15,
            phase: Phase::Aggregated,
            facts,
            text: vec![],
        };
        Self { request, table: &|needs| SmokeTable::example(needs) }
    }
}

impl SmokeTable {
    /// The table of [`Smoke::example`].
    pub fn example(needs: &Needs) -> Self {
        const WORKERS: u32 = 2;
        const RANKS: u32 = 4;
        let rows = WORKERS * RANKS;
        let mut columns = Vec::with_capacity(needs.columns.len() * rows as usize);
        for &column in &needs.columns {
            columns.extend((0..rows).map(|row| example_value(column, row, row / RANKS, row % RANKS)));
        }
        Self { rows, columns, workers: (0..rows).map(|row| row / RANKS).collect() }
    }
}

fn example_value(column: Column, row: u32, worker: u32, rank: u32) -> u32 {
    match column {
        Column::Worker | Column::Group => worker,
        Column::DpRank => rank,
        Column::TargetKey => row.wrapping_mul(0x9e37_79b1),
        Column::Weight => 1000,
        Column::DeviceOverlap => row * 7,
        Column::FreeBlocks => 900,
        Column::CapacityBlocks => 1000,
        Column::CachedBlocks | Column::ActiveBlocks => 100 + row,
        Column::NewBlocks => 62 - row * 7,
        Column::PrefillTokens | Column::GroupPeakPrefill => 500 * rank,
        Column::GroupPeakActive => 107,
        Column::EngineRunning | Column::EngineWaiting | Column::EngineKv | Column::LoadAgeMs => UNKNOWN,
        Column::Running => rank,
        Column::HostOverlap
        | Column::DiskOverlap
        | Column::PendingOverlap
        | Column::EventLagMs
        | Column::Condition
        | Column::Learned => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_column() {
        let needs = Needs { columns: Column::ALL.to_vec(), ..Needs::default() };
        let table = SmokeTable::example(&needs);
        assert_eq!(table.rows, 8);
        assert_eq!(table.columns.len(), 8 * Column::ALL.len());
        assert_eq!(table.columns[..8], [0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(table.columns[8..16], [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!(table.workers, [0, 0, 0, 0, 1, 1, 1, 1]);
    }
}
