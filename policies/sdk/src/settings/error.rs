use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Error {
    path: String,
    text: String,
}

impl Error {
    pub(crate) fn new(text: &str) -> Self {
        Self { path: String::new(), text: text.to_owned() }
    }

    /// The same error, found inside this field.
    pub(crate) fn inside(mut self, field: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{field}{separator}{}", self.path);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(formatter, "{}{separator}{}", self.path, self.text)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self { path: String::new(), text: text.to_string() }
    }

    // Without the value of a number: printing floats alone would double a small policy's size.
    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Bool(_) => "a boolean",
            Unexpected::Unsigned(_) => "a whole number",
            Unexpected::Signed(_) => "a negative number",
            Unexpected::Float(_) => "a fraction",
            Unexpected::Str(text) => {
                return Self::custom(format_args!("expected {expected}, not \"{text}\""));
            }
            Unexpected::Unit => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a map",
            _ => "something else",
        };
        Self::custom(format_args!("expected {expected}, not {found}"))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }
}
