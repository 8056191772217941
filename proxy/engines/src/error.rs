//! What can be wrong with an engine's bytes.

/// What an engine sent that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The msgpack ends too early, or holds something else than it should.
    #[error("msgpack at byte {at}: expected {expected}")]
    Msgpack {
        /// Offset into the payload.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// Larger than the bound.
    #[error("{what}: more than {max}")]
    Bound {
        /// What is too large, with its unit.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// An answer of the engine is not the JSON that was expected.
    #[error("{path}: not the expected json")]
    Json {
        /// The path that was asked.
        path: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// An answer of the engine lacks something without which the worker cannot be used.
    #[error("{path}: {what}")]
    Answer {
        /// The path that was asked.
        path: &'static str,
        /// What is wrong with the answer.
        what: &'static str,
    },
}
