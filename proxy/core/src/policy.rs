//! What a routing policy is given and what it may answer: the native mirror of `wit/policy.wit`.

mod columns;
mod facts;

pub use columns::{COLUMN_COUNT, Column, UNKNOWN};
pub use facts::{FACT_COUNT, Fact, Facts};

/// Which leg of a request is being placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Prefill and decode on one target.
    #[default]
    Aggregated,
    /// Prefill alone.
    Prefill,
    /// Decode alone.
    Decode,
}

impl Phase {
    /// The name in the WIT and in receipts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// What a policy wants to be given, as it said when it was configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns of the snapshot, in this order.
    pub columns: Vec<Column>,
    /// Request headers, lower case.
    pub headers: Vec<String>,
    /// Whether the prompt is tokenised and hashed for the decision.
    pub prompt: bool,
}

/// One request, as a policy sees it.
#[derive(Clone, Debug, Default)]
pub struct PolicyRequest {
    /// 0, 1, 2 ... per (pool, phase, lane), without gaps.
    pub sequence: u64,
    /// Fresh uniform bits: a policy's only randomness.
    pub seed: u64,
    /// Which leg.
    pub phase: Phase,
    /// Numbers about the request.
    pub facts: Facts,
    /// The headers that were asked for and that the pool's config allows.
    pub text: Vec<(String, String)>,
}

/// What a policy decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The row to pin.
    Rank(u32),
    /// A worker; its engine chooses the rank.
    Worker(u32),
    /// Phase prefill only: no separate prefill.
    Skip,
    /// Ask again when the ledger changes, at the latest after so many ms.
    Wait(u32),
    /// An answer for the client.
    Reject(Rejection),
}

/// A refusal, which is an answer and not a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 429, 503 or 529.
    pub status: u16,
    /// Seconds, for Retry-After.
    pub retry_after_s: Option<u32>,
    /// At most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}

/// The longest reason a policy may give.
pub const REASON_BYTES_MAX: usize = 256;

/// The statuses a policy may reject with.
pub const REJECT_STATUSES: [u16; 3] = [429, 503, 529];
