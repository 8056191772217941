//! What can go wrong in a pick.

use std::fmt;
use std::time::Duration;

/// A pick that gave no decision. The declared fallback answers instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFailure {
    /// It ran too long. The instance is gone.
    #[error("took more than {} us of cpu time", .0.as_micros())]
    Deadline(Duration),
    /// It was not asked: it [rests](crate::FailureWindow::rests).
    #[error("rests after a call that used up its cpu time")]
    Resting,
    /// It trapped. The instance is gone.
    #[error("{0}")]
    Trap(String),
    /// It trapped after it was refused memory. The instance is gone.
    #[error("needs more than {0} bytes of memory")]
    Memory(usize),
    /// It returned an error.
    #[error("returned an error: {0}")]
    Error(String),
    /// It decided what the table or the interface does not allow.
    #[error("bad answer: {0}")]
    BadAnswer(String),
    /// There is no instance to ask.
    #[error("no instance: {0}")]
    Instantiate(String),
}

impl PolicyFailure {
    /// Its kind, the label in metrics.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Deadline(_) => FailureKind::Deadline,
            Self::Resting => FailureKind::Resting,
            Self::Trap(_) => FailureKind::Trap,
            Self::Memory(_) => FailureKind::Memory,
            Self::Error(_) => FailureKind::Error,
            Self::BadAnswer(_) => FailureKind::Answer,
            Self::Instantiate(_) => FailureKind::Instantiate,
        }
    }
}

/// Kinds of failure, as metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Too much CPU time.
    Deadline,
    /// Not asked, after too much CPU time.
    Resting,
    /// A trap.
    Trap,
    /// A trap for want of memory.
    Memory,
    /// An error returned.
    Error,
    /// An answer outside the table or the interface.
    Answer,
    /// No instance.
    Instantiate,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Deadline,
        Self::Resting,
        Self::Trap,
        Self::Memory,
        Self::Error,
        Self::Answer,
        Self::Instantiate,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Resting => "resting",
            Self::Trap => "trap",
            Self::Memory => "memory",
            Self::Error => "error",
            Self::Answer => "answer",
            Self::Instantiate => "instantiate",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A guest's or the runtime's text, cut to what a log line and a metric's receipt can bear, without control characters.
pub(crate) fn bounded(text: &str) -> String {
    const BYTES_MAX: usize = 512;
    let mut short = String::with_capacity(text.len().min(BYTES_MAX + 3));
    for c in text.chars() {
        if short.len() + c.len_utf8() > BYTES_MAX {
            short.push_str("...");
            break;
        }
        short.push(if c.is_control() { ' ' } else { c });
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_a_character() {
        let text = "é".repeat(1000);
        let short = bounded(&text);
        assert_eq!(short.len(), 512 + 3);
        assert!(short.ends_with("é..."));
        assert_eq!(bounded("a\nb"), "a b");
    }

    #[test]
    fn failures_read_as_part_of_a_line() {
        let failure = PolicyFailure::Deadline(Duration::from_millis(2));
        assert_eq!(failure.to_string(), "took more than 2000 us of cpu time");
        assert_eq!(failure.kind().to_string(), "deadline");
    }
}
