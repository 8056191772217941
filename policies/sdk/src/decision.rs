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

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// 429, 503 or 529; another one counts as a failure of the policy.
    pub status: u16,
    /// For the header Retry-After, in seconds.
    pub retry_after_s: Option<u32>,
    /// For the client, at most 256 bytes.
    pub reason: String,
}
