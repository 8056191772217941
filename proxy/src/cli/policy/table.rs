//! Made-up tables and requests to try a policy on.

use fastrand::Rng;
use rankwise_core::policy::{Column, Fact, Facts, PolicyRequest, UNKNOWN};

/// Ranks per worker.
const RANKS: u32 = 8;
/// Blocks of a rank.
const CAPACITY: u32 = 4096;
/// Tokens of the longest prompt.
const PROMPT_TOKENS_MAX: u64 = 8192;

/// A table with every column, as it may look in a busy fleet, and a request. The same for the same seed.
pub(super) struct Table {
    rows: u32,
    columns: Vec<Vec<u32>>,
    /// The request.
    pub(super) request: PolicyRequest,
}

impl Table {
    /// Of so many rows.
    pub(super) fn random(rows: u32, block_size: u32, sequence: u64, seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let tokens = random.u64(1..=PROMPT_TOKENS_MAX);
        let blocks = u32::try_from(tokens).unwrap_or(u32::MAX) / block_size.max(1);
        let mut facts = Facts::default();
        facts.set(Fact::PromptTokens, tokens);
        facts.set(Fact::PromptBlocks, blocks.into());
        facts.set(Fact::MaxOutputTokens, random.u64(1..=512));
        facts.set(Fact::Sequences, 1);
        facts.set(Fact::SessionKey, random.u64(1..));
        facts.set(Fact::SessionRow, random.u64(0..=rows.into()));
        facts.set(Fact::PrefixKey, random.u64(1..));
        let request = PolicyRequest { sequence, seed: random.u64(..), facts, ..PolicyRequest::default() };
        let mut columns: Vec<Vec<u32>> = Column::ALL.map(|_| Vec::with_capacity(rows as usize)).into();
        for row in 0..rows {
            for (values, value) in columns.iter_mut().zip(values(row, blocks, &mut random)) {
                values.push(value);
            }
        }
        Self { rows, columns, request }
    }

    /// How many rows.
    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// One column.
    pub(super) fn column(&self, column: Column) -> &[u32] {
        &self.columns[column.id() as usize]
    }

    /// The columns asked for, one after the other.
    pub(super) fn packed(&self, wanted: &[Column]) -> Vec<u32> {
        wanted.iter().flat_map(|&column| self.column(column)).copied().collect()
    }

    /// Whether some row has this worker.
    pub(super) fn has_worker(&self, worker: u32) -> bool {
        self.column(Column::Worker).contains(&worker)
    }
}

/// A row, by column.
fn values(row: u32, blocks: u32, random: &mut Rng) -> impl Iterator<Item = u32> {
    let worker = row / RANKS;
    // One rank in four has some of the prompt.
    let overlap = if random.u8(..4) == 0 { random.u32(0..=blocks) } else { 0 };
    let pending = if random.u8(..8) == 0 { random.u32(0..=blocks - overlap) } else { 0 };
    let active = random.u32(0..CAPACITY / 2);
    let prefill = if random.u8(..3) == 0 { random.u32(0..8192) } else { 0 };
    let [target_key, running, cached] = [random.u32(..), random.u32(0..32), random.u32(0..CAPACITY)];
    Column::ALL.into_iter().map(move |column| match column {
        Column::Worker | Column::Group => worker,
        Column::DpRank => row % RANKS,
        Column::TargetKey => target_key,
        Column::Weight => 1000,
        Column::DeviceOverlap => overlap,
        Column::PendingOverlap => pending,
        Column::CachedBlocks => cached,
        Column::FreeBlocks => CAPACITY - active,
        Column::CapacityBlocks => CAPACITY,
        Column::ActiveBlocks => active,
        Column::NewBlocks => blocks - overlap,
        Column::PrefillTokens => prefill,
        Column::Running => running,
        Column::EngineRunning | Column::EngineWaiting | Column::EngineKv | Column::LoadAgeMs => UNKNOWN,
        Column::GroupPeakPrefill => 8192,
        Column::GroupPeakActive => CAPACITY / 2,
        Column::HostOverlap
        | Column::DiskOverlap
        | Column::EventLagMs
        | Column::Condition
        | Column::Learned => 0,
    })
}
