//! What a command that failed prints and exits with.

use std::process::ExitCode;

use crate::config::ConfigError;

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

/// Flags that contradict each other or the config.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct UsageError(pub(super) String);

/// `EX_DATAERR`.
const DATA: u8 = 65;

/// A file that is not what it has to be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DataError(pub(super) String);

/// Exit code of a wrong command line.
pub(super) fn usage_code() -> ExitCode {
    ExitCode::from(USAGE)
}

/// Prints the error on stderr; the exit code that belongs to it.
pub(super) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<ConfigError>() {
        // Begins with file:line:column, which editors and terminals make a link of.
        eprintln!("{error:#}");
        return usage_code();
    }
    eprintln!("rankwise: {error:#}");
    if error.is::<UsageError>() {
        usage_code()
    } else if error.is::<DataError>() {
        ExitCode::from(DATA)
    } else {
        ExitCode::FAILURE
    }
}
