//! The values of the labels `outcome` and `result`.

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered to the end.
    Ok,
    /// The engine answered 4xx.
    EngineRefused,
    /// The engine answered 5xx, or 200 with an error event.
    EngineError,
    /// The engine broke off.
    Broken,
    /// The client went away first.
    Cancelled,
    /// The proxy answered 4xx: the client's fault, or the policy's rejection.
    Refused,
    /// The proxy answered 5xx, and no engine had the request.
    Failed,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::EngineRefused,
        Self::EngineError,
        Self::Broken,
        Self::Cancelled,
        Self::Refused,
        Self::Failed,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::EngineRefused => "engine_refused",
            Self::EngineError => "engine_error",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What came of sending a request to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The head of an answer.
    Answered,
    /// The same, with a status for which the pool asks somebody else.
    Declined,
    /// No connection.
    ConnectFailed,
    /// As many connections as there may be, all in use.
    Full,
    /// The connection handed it back.
    Unsent,
    /// The connection broke.
    Broken,
    /// No answer in time.
    TimedOut,
    /// The client went away first.
    Cancelled,
}

impl Attempt {
    /// All results.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Declined,
        Self::ConnectFailed,
        Self::Full,
        Self::Unsent,
        Self::Broken,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Declined => "declined",
            Self::ConnectFailed => "connect_failed",
            Self::Full => "full",
            Self::Unsent => "unsent",
            Self::Broken => "broken",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How the first leg of a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefillOutcome {
    /// The prompt is computed.
    Done,
    /// The engine would not have the request.
    Refused,
    /// It was not sent, or not answered well.
    Failed,
    /// The client went away, or the other leg failed first.
    Cancelled,
}

impl PrefillOutcome {
    /// All outcomes.
    pub const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Failed, Self::Cancelled];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How a request of a pool that could split it was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In two legs.
    Legs,
    /// Whole: its policy skipped the prefill.
    Skipped,
    /// Whole: it has several answers, another API, or a client's own pin.
    Indivisible,
    /// Whole: no rank that computes prompts may be picked.
    NoPrefill,
    /// Whole: all that were asked to compute its prompt failed.
    PrefillFailed,
    /// Whole: the rank that computed its prompt kept nothing for another.
    NothingKept,
    /// Whole: no rank that answers for others may be picked.
    NoDecode,
}

impl Way {
    /// All ways.
    pub const ALL: [Self; 7] = [
        Self::Legs,
        Self::Skipped,
        Self::Indivisible,
        Self::NoPrefill,
        Self::PrefillFailed,
        Self::NothingKept,
        Self::NoDecode,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Legs => "legs",
            Self::Skipped => "skipped",
            Self::Indivisible => "indivisible",
            Self::NoPrefill => "no_prefill",
            Self::PrefillFailed => "prefill_failed",
            Self::NothingKept => "nothing_kept",
            Self::NoDecode => "no_decode",
        }
    }
}
