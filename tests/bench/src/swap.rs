//! Policies replaced, run away and preempted: what requests notice of it.

mod admin;
mod in_process;
mod runaway;
mod traffic;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Closed loop.
const CONNECTIONS: usize = 16;

/// 200 swaps under load, uploads, and a policy that never comes back
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Swaps under load, and again within this process
    #[arg(long, default_value_t = 200)]
    swaps: usize,
    /// Uploads of a policy not seen before
    #[arg(long, default_value_t = 20)]
    uploads: u32,
    /// Calls that never come back
    #[arg(long, default_value_t = 100)]
    runaways: u64,
    /// Rollbacks from a policy that never comes back from every third request
    #[arg(long, default_value_t = 10)]
    rollbacks: usize,
    /// Seconds of picks on a machine that preempts them
    #[arg(long, default_value_t = 60)]
    preempted_s: u64,
    /// The binary to measure [default: `rankwise` beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

pub(crate) fn run(options: &Options, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
    let preempted =
        in_process::run(options.swaps, options.runaways, Duration::from_secs(options.preempted_s))?;
    runtime.block_on(traffic::run(options, preempted))?;
    runtime.block_on(runaway::run(options))
}
