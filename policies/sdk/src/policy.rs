//! What a policy is.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Column, Costs, Decision, Ranks, Request};

/// A routing policy.
pub trait Policy: Sized + 'static {
    /// What the pool's `policy.settings` are read into. Derive serde's `Deserialize` with `deny_unknown_fields` and
    /// `default`; take [`NoSettings`] if there are none.
    type Settings: DeserializeOwned;

    /// Called once per instance, before the first pick. An error is shown to whoever activates the policy: name the
    /// field that is wrong.
    fn configure(pool: &Pool, settings: Self::Settings) -> Result<Self, String>;

    /// What it wants to be given. Asking for little is fast.
    fn needs(&self) -> Needs;

    /// Decides one request. An error counts as a failure of the policy, and the declared fallback answers instead; to
    /// refuse a request, answer [`Decision::Reject`].
    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String>;
}

/// A policy whose pick rests on a score per row: `export_policy!(Name, scorer)`. Receipts show the scores, and as a shadow the
/// policy says how much worse it finds what was decided instead.
pub trait Scorer: Policy {
    /// A cost for every row, infinite for a row that is never picked.
    fn score(&self, request: &Request, ranks: &Ranks) -> Costs;
}

/// A policy that learns from how requests end: `export_policy!(Name, learner)`. What it returns is [`Column::Learned`] of the
/// picks that follow.
pub trait Learner: Policy {
    /// What it remembers from call to call, in the one instance that learns. Picks never see it.
    type Memory: Default + Send + 'static;

    /// A figure for each target, in the order of `targets` (their [`Column::TargetKey`]); 0 for none yet. Called a few times a
    /// second with what has ended since.
    fn learn(&self, memory: &mut Self::Memory, targets: &[u32], outcomes: &[Outcome]) -> Vec<u32>;
}

/// How a request ended; 0 is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Position in `targets`.
    pub target: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those of them that the engine had cached.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// From the decision to the first token, microseconds; of streamed answers.
    pub first_token_us: u64,
    /// From the decision to the end, microseconds.
    pub total_us: u64,
    /// Tokens that were booked there and not yet prefilled when it was decided.
    pub prefill_tokens: u64,
    /// Requests that were in flight there then.
    pub running: u64,
}

impl Outcome {
    /// From the interface's list. Numbers that this SDK does not know are passed over.
    #[cfg_attr(
        not(any(target_arch = "wasm32", test)),
        expect(dead_code, reason = "natively, tests make outcomes")
    )]
    pub(crate) fn all(numbers: &[u64]) -> Vec<Self> {
        let Some((&width, rows)) = numbers.split_first() else { return Vec::new() };
        let width = usize::try_from(width).unwrap_or(usize::MAX).max(1);
        let outcome = |row: &[u64]| {
            let figure = |at: usize| row.get(at).copied().unwrap_or(0);
            Self {
                target: usize::try_from(figure(0)).unwrap_or(usize::MAX),
                prompt_tokens: figure(1),
                cached_tokens: figure(2),
                completion_tokens: figure(3),
                first_token_us: figure(4),
                total_us: figure(5),
                prefill_tokens: figure(6),
                running: figure(7),
            }
        };
        rows.chunks(width).map(outcome).collect()
    }
}

/// The pool of workers that the policy routes for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The pool's first model name.
    pub model: String,
    /// Tokens per KV block, at least 1. Every figure in blocks is in units of this.
    pub block_size: u32,
}

impl Default for Pool {
    fn default() -> Self {
        Self { model: String::new(), block_size: 16 }
    }
}

/// What a policy wants to be given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Columns of the table.
    pub columns: Vec<Column>,
    /// Request headers, lower case.
    pub headers: Vec<String>,
    /// Whether it looks at the prompt. If not, the prompt is neither tokenised nor hashed and every overlap is 0.
    pub prompt: bool,
}

impl Needs {
    /// These columns, no headers and no prompt.
    pub fn columns(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), ..Self::default() }
    }

    /// And the prompt: its tokens, and where its blocks are cached.
    #[must_use]
    pub fn prompt(self) -> Self {
        Self { prompt: true, ..self }
    }

    /// And these headers (lower case), as far as the pool's config allows them.
    #[must_use]
    pub fn headers(self, names: &[&str]) -> Self {
        Self { headers: names.iter().map(|&name| name.to_owned()).collect(), ..self }
    }
}

/// The settings of a policy that has none: anything but `{}` is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_read_by_the_width_they_come_with() {
        let all = Outcome::all(&[9, 1, 100, 64, 7, 5000, 9000, 300, 2, 77, 0, 10, 0, 0, 0, 0, 0, 0, 77]);
        let [first, second] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((first.target, first.prompt_tokens, first.cached_tokens, first.running), (1, 100, 64, 2));
        assert_eq!((second.target, second.prompt_tokens, second.running), (0, 10, 0));
        assert_eq!(
            Outcome::all(&[2, 3, 50])[0],
            Outcome { target: 3, prompt_tokens: 50, ..Outcome::default() }
        );
        assert!(Outcome::all(&[]).is_empty() && Outcome::all(&[8]).is_empty());
    }
}
