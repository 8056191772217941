//! What a policy may answer.

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A row of the table. Strict: the request runs on that rank, or is decided again, or fails; never elsewhere.
    Rank(u32),
    /// A worker, by its number in [`Column::Worker`](crate::Column::Worker): its engine chooses the rank.
    Worker(u32),
    /// In [`Phase::Prefill`](crate::Phase::Prefill) only: no separate prefill, run aggregated.
    Skip,
    /// Ask again when the load changes, at the latest after so many milliseconds. Bounded by the pool's queue.
    Wait(u32),
    /// Refuse the request. An answer, not a failure.
    Reject(Rejection),
}

/// The statuses that a policy may reject with.
pub const REJECT_STATUSES: [u16; 3] = [429, 503, 529];

/// The longest reason of a rejection, in bytes.
pub const REASON_BYTES_MAX: usize = 256;

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One of [`REJECT_STATUSES`]; another one counts as a failure of the policy.
    pub status: u16,
    /// For the header Retry-After, in seconds.
    pub retry_after_s: Option<u32>,
    /// For the client, at most [`REASON_BYTES_MAX`] bytes.
    pub reason: String,
}
