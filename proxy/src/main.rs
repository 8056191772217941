//! The binary `rankwise`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    rankwise::cli::main(std::env::args_os())
}
