//! One decision: what the policy was given, what it answered, what became of it.

use std::time::Duration;

use rankwise_core::policy::{Column, Decision, PolicyRequest};
pub use rankwise_policy_host::Lane;
use rankwise_policy_host::PolicyFailure;

/// A snapshot, column-major: `packed[c * rows + row]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Rows.
    pub rows: u32,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The figures.
    pub packed: Vec<u32>,
}

impl Table {
    /// One column, if it is there.
    pub fn column(&self, column: Column) -> Option<&[u32]> {
        let at = self.columns.iter().position(|known| *known == column)?;
        let rows = self.rows as usize;
        self.packed.get(at * rows..(at + 1) * rows)
    }

    /// These columns, in this order, into `out`. Whether all are there.
    pub fn select(&self, columns: &[Column], out: &mut Vec<u32>) -> bool {
        out.clear();
        columns
            .iter()
            .all(|column| self.column(*column).map(|figures| out.extend_from_slice(figures)).is_some())
    }

    /// One figure; 0 where the column or row is not there.
    pub fn figure(&self, column: Column, row: u32) -> u32 {
        self.column(column).and_then(|figures| figures.get(row as usize)).copied().unwrap_or(0)
    }

    /// Tokens of the prompt that a row's target holds, by its overlap columns.
    pub fn held_tokens(&self, row: u32, block_size: u32, prompt_tokens: u64) -> u64 {
        let tiers = [Column::DeviceOverlap, Column::HostOverlap, Column::DiskOverlap];
        let blocks: u64 = tiers.iter().map(|tier| u64::from(self.figure(*tier, row))).sum();
        (blocks * u64::from(block_size)).min(prompt_tokens)
    }
}

/// What the policy said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It decided.
    Decided(Decision),
    /// It failed: the kind and what was said of it. The fallback decided.
    Failed(String, String),
    /// No policy was in force: the fallback decided.
    NotAsked,
}

impl From<&Result<Decision, PolicyFailure>> for Answer {
    fn from(answer: &Result<Decision, PolicyFailure>) -> Self {
        match answer {
            Ok(decision) => Self::Decided(decision.clone()),
            Err(failure) => Self::Failed(failure.kind().name().to_owned(), failure.to_string()),
        }
    }
}

/// Where the request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// To a row.
    Row(u32),
    /// To a worker, by its number.
    Worker(u32),
    /// Nowhere: it waits, or was refused.
    Nowhere,
}

/// A target that was left out of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// Number of the worker.
    pub worker: u32,
    /// The dp rank.
    pub rank: u32,
    /// Why.
    pub reason: String,
}

/// How long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Making the snapshot.
    pub snapshot: Duration,
    /// The policy call.
    pub policy: Duration,
}

/// One decision.
#[derive(Clone, Debug)]
pub struct Record {
    /// A number of its own within the pool.
    pub id: u64,
    /// `x-request-id`.
    pub request_id: String,
    /// When, ms since 1970.
    pub at_unix_ms: u64,
    /// Which policy decided.
    pub lane: Lane,
    /// What it was told of the request.
    pub request: PolicyRequest,
    /// What it was told of the ranks, and what else there was to know.
    pub table: Table,
    /// What it said.
    pub answer: Answer,
    /// Where the request went.
    pub chosen: Chosen,
    /// How long it took.
    pub times: Times,
    /// Who was left out.
    pub filtered: Vec<Filtered>,
}

/// What became of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// How it ended, as in the metrics.
    pub outcome: String,
    /// Prompt tokens by the engine's usage.
    pub prompt_tokens: Option<u32>,
    /// Those that it had cached.
    pub cached_tokens: Option<u32>,
    /// Tokens of the answer.
    pub completion_tokens: Option<u32>,
    /// To the first token, where the answer was streamed.
    pub first_token: Option<Duration>,
    /// To the end.
    pub total: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_picked_out() {
        let table = Table {
            rows: 2,
            columns: vec![Column::DpRank, Column::DeviceOverlap, Column::HostOverlap],
            packed: vec![0, 1, 5, 6, 1, 0],
        };
        let mut out = Vec::new();
        assert!(table.select(&[Column::HostOverlap, Column::DpRank], &mut out));
        assert_eq!(out, [1, 0, 0, 1]);
        assert!(!table.select(&[Column::Weight], &mut out));
        assert_eq!(table.held_tokens(0, 16, 1000), 96);
        assert_eq!(table.held_tokens(0, 16, 90), 90);
        assert_eq!(table.figure(Column::Weight, 0), 0);
    }
}
