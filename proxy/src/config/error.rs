//! What is wrong with a config, and where.

use std::fmt;
use std::path::PathBuf;

use super::located::Position;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than any config.
    #[error("{}: larger than {bytes_max} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: usize,
    },
    /// Something in the document, or a flag that overrides it, is wrong.
    #[error("{0}")]
    Invalid(Diagnostic),
}

/// One thing that is wrong, shown with the line it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named.
    pub file: String,
    /// Where; 0:0 for what came from the command line.
    pub at: Position,
    /// What is wrong, and what was expected.
    pub message: String,
    /// The line of the document.
    source_line: String,
}

/// The widest piece of a line that is shown.
const LINE_CHARS_MAX: usize = 120;

impl Diagnostic {
    pub(super) fn new(file: &str, text: &str, at: Position, message: String) -> Self {
        let source_line =
            at.line.checked_sub(1).and_then(|index| text.lines().nth(index)).unwrap_or_default();
        Self { file: file.to_owned(), at, message, source_line: source_line.to_owned() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.at;
        if line == 0 {
            return write!(f, "command line: {}", self.message);
        }
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let skipped = column.saturating_sub(LINE_CHARS_MAX * 3 / 4);
        // Tabs and control characters would move the caret, or the terminal.
        let shown: String = self
            .source_line
            .chars()
            .skip(skipped)
            .take(LINE_CHARS_MAX)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let indent = " ".repeat(column.saturating_sub(skipped + 1));
        writeln!(f, "{}:{line}:{column}: {}", self.file, self.message)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {shown}")?;
        write!(f, "{margin} | {indent}^")
    }
}
