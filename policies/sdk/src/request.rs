//! The request that is being placed.

/// Which leg of a request is being placed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Prefill and decode on one target.
    #[default]
    Aggregated,
    /// Prefill alone; the KV moves to a decode target afterwards.
    Prefill,
    /// Decode alone.
    Decode,
}

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// 0, 1, 2 ... without gaps, whatever thread or instance answers: `sequence % rows` is exact round robin.
    pub sequence: u64,
    /// Fresh uniform bits: the only randomness there is. See [`Draw`](crate::Draw).
    pub seed: u64,
    /// Which leg.
    pub phase: Phase,
    /// Numbers about the request; read them by [`Request::fact`].
    pub facts: Vec<u64>,
    /// The headers that were asked for and are there: (name in lower case, value).
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// A number about the request; 0 is unknown or none.
    pub fn fact(&self, fact: Fact) -> u64 {
        self.facts.get(fact as usize).copied().unwrap_or(0)
    }

    /// A header that was asked for, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(present, _)| present == name).map(|(_, value)| value.as_str())
    }

    /// This request with one fact set, for tests.
    #[must_use]
    pub fn with_fact(mut self, fact: Fact, value: u64) -> Self {
        let index = fact as usize;
        if self.facts.len() <= index {
            self.facts.resize(index + 1, 0);
        }
        self.facts[index] = value;
        self
    }
}

/// One number about a request. Appended to, never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Fact {
    /// Tokens of the prompt.
    PromptTokens = 0,
    /// Whole blocks of the prompt.
    PromptBlocks = 1,
    /// The most tokens the answer may have.
    MaxOutputTokens = 2,
    /// Sequences: `n` times the number of prompts.
    Sequences = 3,
    /// The request's priority, biased by 2^31 so that 0 stays unknown.
    Priority = 4,
    /// 0 for the first decision, 1 for the first retry, and so on.
    Attempt = 5,
    /// Milliseconds left.
    DeadlineMs = 6,
    /// Row of the session's target, plus 1.
    SessionRow = 7,
    /// Hash of the session's key.
    SessionKey = 8,
    /// Hash of the prompt's first blocks.
    PrefixKey = 9,
    /// Hash of the tenant.
    TenantKey = 10,
    /// Row of the other phase's target, plus 1.
    PeerRow = 11,
}
