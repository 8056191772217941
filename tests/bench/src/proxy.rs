//! What a request costs the proxy: CPU time of the real binary per request, prompt hashing included.
//!
//! The binary runs as a process of its own, in front of simulated engines that answer at once; the load comes from this
//! process. Its CPU time is what the kernel counted for all its threads, loopback work included.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use rankwise_sim::{Fleet, FleetSpec};

use crate::child::{self, Child};
use crate::load::{self, Prompt};

/// CPU per request: short prompt and 8k tokens, round-robin and kv
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Requests per figure
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// The binary to measure [default: `rankwise` beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Connections that ask at the same time.
const CONNECTIONS: usize = 16;

pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let binary = child::binary(options.binary.as_deref())?;
    for policy in ["round-robin", "kv"] {
        for prompt in [Prompt::Short, Prompt::Long] {
            let fleet = Fleet::start(spec()).await.context("start the engines")?;
            let mut child = Child::start(&binary, &["--policy", policy], &fleet).await?;
            // Once unmeasured: connections, tokenizer caches, the policy's instances.
            load::run(child.address, prompt, options.requests.min(200), CONNECTIONS).await?;
            let before = child.cpu()?;
            load::run(child.address, prompt, options.requests, CONNECTIONS).await?;
            let spent = child.cpu()? - before;
            let micros = spent.as_secs_f64() * 1e6 / options.requests as f64;
            println!("figure: {}_{}_cpu_us {micros:.1} us", policy.replace('-', "_"), prompt.name());
            child.stop();
            fleet.stop().await;
        }
    }
    Ok(())
}

/// Engines with room for every prompt, ten thousand times as fast as real ones.
fn spec() -> FleetSpec {
    FleetSpec { workers: 2, ranks: 4, blocks_per_rank: 65_537, speed: 10_000.0, ..FleetSpec::default() }
}
