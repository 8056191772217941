//! What a policy is.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Column, Decision, Ranks, Request};

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
