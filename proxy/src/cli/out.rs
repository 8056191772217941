//! What commands print. A reader that has had enough, as `head` has, ends the command and is no error.

use std::fmt::Display;
use std::io::{self, Write};

/// Nobody reads what is printed any more.
#[derive(Debug, thiserror::Error)]
#[error("stdout is closed")]
pub(super) struct ReaderGone;

/// Prints a line.
///
/// # Errors
/// [`ReaderGone`], or whatever else writing meets.
pub(super) fn line(text: impl Display) -> anyhow::Result<()> {
    print(format_args!("{text}\n"))
}

/// Prints this and nothing more.
///
/// # Errors
/// [`ReaderGone`], or whatever else writing meets.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        written => Ok(written?),
    }
}
