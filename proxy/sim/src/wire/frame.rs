//! What answers are made of, whatever their JSON.

use super::ask::Ask;
use super::text::Text;

/// What an answer's pieces have in common.
pub(crate) struct Frame<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) text: &'a Text,
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: &'a str,
    pub(crate) fingerprint: String,
}

/// Tokens used by a whole request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) prompt: u64,
    pub(crate) output: u64,
    pub(crate) cached: u64,
    /// Tokens of whole blocks that were computed; completions do not tell.
    pub(crate) created: Option<u64>,
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Length,
    Stop,
    Abort,
}

impl Finish {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Stop => "stop",
            Self::Abort => "abort",
        }
    }
}

/// Some tokens of one sequence's answer.
pub(crate) struct Piece<'a> {
    pub(crate) index: usize,
    pub(crate) tokens: &'a [u32],
    pub(crate) finish: Option<Finish>,
}
