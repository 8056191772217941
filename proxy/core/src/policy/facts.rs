//! Numbers about a request, by index. Appended to, never changed.

/// One number about a request. 0 is unknown or none.
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
    /// The request's priority, biased by 2^31.
    Priority = 4,
    /// 0 for the first decision, 1 for the first retry, and so on.
    Attempt = 5,
    /// Milliseconds that the engine has to begin its answer once it is sent the request.
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

/// How many facts there are.
pub const FACT_COUNT: usize = 12;

/// The facts of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts([u64; FACT_COUNT]);

impl Facts {
    /// Sets one.
    pub fn set(&mut self, fact: Fact, value: u64) {
        self.0[fact as usize] = value;
    }

    /// Reads one.
    pub fn get(&self, fact: Fact) -> u64 {
        self.0[fact as usize]
    }

    /// All, by index.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}
