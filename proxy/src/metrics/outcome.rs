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
