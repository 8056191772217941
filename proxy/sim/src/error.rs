/// Why a simulated fleet could not be started or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// The spec asks for something that cannot be.
    #[error("spec: {0}")]
    Spec(&'static str),
    /// A socket or file operation failed.
    #[error("{what}")]
    Io {
        /// What was being done, as a path.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A ZMQ socket could not be bound.
    #[error("{what}")]
    Zmq {
        /// What was being done, as a path.
        what: String,
        /// Why it failed.
        source: zeromq::ZmqError,
    },
    /// The tokenizer could not be read.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
}
