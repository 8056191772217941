//! The command line: one file per command. Exit codes: 0 done, 64 a wrong flag or config, 65 a policy that
//! does not fit, 1 anything else.

mod check;
mod demo;
mod failure;
mod launch;
mod out;
mod overrides;
mod policy;
mod replay;
mod schema;
mod serve;
mod sim;
mod worker_flag;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use demo::DemoOptions;
use sim::SimOptions;

/// Edge proxy for LLM inference: routes each request to a dp rank, chosen by a WebAssembly policy that knows what every
/// rank has cached and how busy it is.
#[derive(Debug, Parser)]
#[command(name = "rankwise", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(DemoOptions),
    Sim(SimOptions),
    Check(check::Check),
    Schema(schema::PrintSchema),
    #[command(subcommand)]
    Policy(policy::Policy),
    Replay(replay::Replay),
}

/// Runs the command that `args` name, the program's own name first.
pub fn main<A, T>(args: A) -> ExitCode
where
    A: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing can be done about a closed stderr.
            let _ = error.print();
            return if error.use_stderr() { failure::usage_code() } else { ExitCode::SUCCESS };
        }
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<out::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => failure::report(&error),
    }
}

impl Command {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Serve(serve) => serve.run(),
            Self::Demo(options) => launch::demo(options),
            Self::Sim(options) => launch::sim(&options),
            Self::Check(check) => check.run(),
            Self::Schema(schema) => schema.run(),
            Self::Policy(policy) => policy.run(),
            Self::Replay(replay) => replay.run(),
        }
    }
}

#[cfg(test)]
mod tests;
