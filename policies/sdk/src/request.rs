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

    /// The row of the target that the request's session lives on, if it has one that may be picked.
    pub fn session_row(&self) -> Option<u32> {
        u32::try_from(self.fact(Fact::SessionRow).checked_sub(1)?).ok()
    }

    /// The row of the other phase's target.
    pub fn peer_row(&self) -> Option<u32> {
        u32::try_from(self.fact(Fact::PeerRow).checked_sub(1)?).ok()
    }

    /// This request with another seed, for tests.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// This request with another place in the sequence, for tests.
    #[must_use]
    pub fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// This request with one more header (its name in lower case), for tests.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
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

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// One number about a request. Appended to, never changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Fact {
            $($(#[$doc])* $name = $id,)*
        }

        impl Fact {
            /// All facts, by index.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The name in the WIT and in the docs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

facts! {
    /// Tokens of the prompt.
    PromptTokens = 0, "prompt-tokens";
    /// Whole blocks of the prompt.
    PromptBlocks = 1, "prompt-blocks";
    /// The most tokens the answer may have.
    MaxOutputTokens = 2, "max-output-tokens";
    /// Sequences: `n` times the number of prompts.
    Sequences = 3, "sequences";
    /// The request's priority, biased by 2^31 so that 0 stays unknown.
    Priority = 4, "priority";
    /// 0 for the first decision, 1 for the first retry, and so on.
    Attempt = 5, "attempt";
    /// Milliseconds left.
    DeadlineMs = 6, "deadline-ms";
    /// Row of the session's target, plus 1.
    SessionRow = 7, "session-row";
    /// Hash of the session's key.
    SessionKey = 8, "session-key";
    /// Hash of the prompt's first blocks.
    PrefixKey = 9, "prefix-key";
    /// Hash of the tenant.
    TenantKey = 10, "tenant-key";
    /// Row of the other phase's target, plus 1.
    PeerRow = 11, "peer-row";
}
