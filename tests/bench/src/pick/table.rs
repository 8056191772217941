//! Tables to pick from.

use rankwise_core::policy::{Column, Needs};
use rankwise_policy::{Ranks, RanksBuilder};

/// One table, in both forms.
pub(super) struct Table {
    pub(super) packed: Vec<u32>,
    pub(super) ranks: Ranks,
    rows: usize,
    needs: Needs,
}

/// What a fleet makes use of.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fleet {
    /// Device memory, full weights.
    Plain,
    /// Slower tiers, pending blocks, unequal weights, ranks that are not trusted: every term of the formula.
    Everything,
}

impl Table {
    /// A busy fleet with some of a prompt of so many blocks cached here and there.
    pub(super) fn random(
        rows: u32,
        fleet: Fleet,
        blocks: u32,
        needs: &Needs,
        native: &rankwise_policy::Needs,
    ) -> Self {
        let mut random = fastrand::Rng::with_seed(rows.into());
        let mut builder = RanksBuilder::new(rows as usize);
        let mut packed = Vec::new();
        for (&column, &name) in needs.columns.iter().zip(&native.columns) {
            let values: Vec<u32> = (0..rows).map(|_| figure(column, fleet, blocks, &mut random)).collect();
            builder = builder.set(name, &values);
            packed.extend(values);
        }
        Self { packed, ranks: builder.build(native), rows: rows as usize, needs: needs.clone() }
    }

    /// One column, which the policy asked for.
    pub(super) fn column(&self, column: Column) -> &[u32] {
        let position = self.needs.columns.iter().position(|&asked| asked == column);
        position.map_or(&[], |position| &self.packed[position * self.rows..][..self.rows])
    }
}

fn figure(column: Column, fleet: Fleet, blocks: u32, random: &mut fastrand::Rng) -> u32 {
    let everything = fleet == Fleet::Everything;
    match column {
        Column::Weight if everything => random.u32(500..=1000),
        Column::Weight => 1000,
        Column::HostOverlap | Column::DiskOverlap | Column::PendingOverlap if everything => {
            random.u32(..blocks / 4)
        }
        Column::Condition if everything => u32::from(random.u32(..8) == 0) * 2,
        Column::DeviceOverlap => random.u32(..blocks),
        Column::NewBlocks => random.u32(1..blocks),
        Column::ActiveBlocks | Column::CachedBlocks => random.u32(..10_000),
        Column::PrefillTokens => random.u32(..20_000),
        Column::Running => random.u32(..64),
        Column::FreeBlocks => random.u32(5_000..20_000),
        Column::CapacityBlocks => 20_000,
        _ => 0,
    }
}
