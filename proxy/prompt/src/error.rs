//! What can be wrong with a body, and with a tokenizer folder.

use std::path::PathBuf;

/// Why a body gives no routing fields or no prompt. Displays the words that OpenAI clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Not JSON, or nested deeper than 127 levels.
    #[error("We could not parse the JSON body of your request: {message} (at byte {offset}).")]
    Json {
        /// Where reading stopped, in bytes from the start of the body.
        offset: usize,
        /// What the parser says.
        message: String,
    },
    /// A field without which the request means nothing is absent or null.
    #[error("Missing required parameter: '{field}'.")]
    Missing {
        /// The path, such as `messages[2].role`.
        field: String,
    },
    /// A field holds something of another type.
    #[error("Invalid type for '{field}': expected {expected}, but got {got} instead.")]
    WrongType {
        /// The path, such as `messages[2].role`.
        field: String,
        /// With its article: "an integer".
        expected: &'static str,
        /// With its article: "a string".
        got: &'static str,
    },
    /// An array that must not be empty is.
    #[error(
        "Invalid '{field}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    )]
    EmptyArray {
        /// The path.
        field: String,
    },
    /// Of the right type, but not a value the field can have.
    #[error("Invalid '{field}': {message}.")]
    Value {
        /// The path.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The chat template refused the messages or cannot be rendered for them: route by load, and let the engine answer.
    #[error("chat template: {message}")]
    Template {
        /// What the template or its engine says.
        message: String,
    },
    /// The tokenizer failed on the text: route by load.
    #[error("tokenizer: {message}")]
    Tokenizer {
        /// What the tokenizer says.
        message: String,
    },
}

impl BodyError {
    /// Whether the body itself is at fault: answer 400. Otherwise the prompt merely cannot be known here.
    pub fn is_client_fault(&self) -> bool {
        !matches!(self, Self::Template { .. } | Self::Tokenizer { .. })
    }

    /// OpenAI's `param`: the path of the field at fault.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Missing { field }
            | Self::WrongType { field, .. }
            | Self::EmptyArray { field }
            | Self::Value { field, .. } => Some(field),
            Self::Json { .. } | Self::Template { .. } | Self::Tokenizer { .. } => None,
        }
    }

    /// OpenAI's `code`.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing { .. } => Some("missing_required_parameter"),
            Self::WrongType { .. } => Some("invalid_type"),
            Self::EmptyArray { .. } => Some("empty_array"),
            Self::Value { .. } => Some("invalid_value"),
            Self::Json { .. } | Self::Template { .. } | Self::Tokenizer { .. } => None,
        }
    }
}

/// Why a tokenizer folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{file}: {message}")]
    Parse {
        /// Which of the folder's files.
        file: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The reference tokenizer refuses `tokenizer.json`.
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    /// The chat template does not compile.
    #[error("chat template: {0}")]
    Template(String),
}
