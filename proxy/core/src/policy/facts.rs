//! Numbers about a request, by index. Appended to, never changed.

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $text:literal;)*) => {
        /// One number about a request. 0 is unknown or none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Fact {
            $($(#[$doc])* $name = $id,)*
        }

        /// How many facts there are.
        pub const FACT_COUNT: usize = [$($id),*].len();

        impl Fact {
            /// All facts, by index.
            pub const ALL: [Self; FACT_COUNT] = [$(Self::$name),*];

            /// The name in the WIT, the docs and the receipts.
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
    /// The request's priority, biased by 2^31.
    Priority = 4, "priority";
    /// 0 for the first decision, 1 for the first retry, and so on.
    Attempt = 5, "attempt";
    /// Milliseconds that the engine has to begin its answer once it is sent the request.
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
