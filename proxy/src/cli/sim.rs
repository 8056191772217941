//! `rankwise sim`.

mod fault;

use clap::Args;

use crate::config::Lockstep;

pub use fault::{FaultAt, FaultKind};

/// Run a simulated fleet of engines alone, on loopback, until a signal
#[derive(Clone, Debug, PartialEq, Args)]
pub struct SimOptions {
    /// Engine whose wire is spoken: vllm
    #[arg(long, value_name = "NAME", default_value = "vllm", value_parser = ["vllm"])]
    pub engine: String,
    /// Workers: HTTP endpoints
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// dp ranks of each worker
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub ranks: u16,
    /// Ranks that step together: worker (all of a worker) or rank (each alone)
    #[arg(long, value_name = "worker|rank", default_value = "worker", value_parser = lockstep)]
    pub lockstep: Lockstep,
    /// Workers of one lockstep group
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers_per_group: u16,
    /// KV blocks of each rank
    #[arg(long, value_name = "N", default_value_t = 2049, value_parser = clap::value_parser!(u32).range(2..))]
    pub blocks: u32,
    /// Tokens of a KV block
    #[arg(long, value_name = "TOKENS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub block_size: u32,
    /// Simulated seconds per second
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    pub speed: f64,
    /// Served model's name
    #[arg(long, value_name = "NAME", default_value = "sim")]
    pub model: String,
    /// Decides the answers' words
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// First port; worker W takes 1 + 2 * ranks ports from PORT + W * (1 + 2 * ranks): HTTP, then the events of each
    /// rank, then their replays
    #[arg(long, value_name = "PORT", default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Publish no KV events
    #[arg(long)]
    pub no_events: bool,
    /// Misbehave, in one worker (from 0) or in all; may be repeated
    ///
    /// stall, slow-first-byte=DURATION, reset-after=CHUNKS, half-close-after=CHUNKS, refuse-connections, server-error,
    /// stream-error, abort-after-first, lie-about-rank=RANK, drop-events=BATCHES, no-replay, silent-rank=RANK,
    /// stale-metrics, ignore-pin
    #[arg(long = "fault", value_name = "[WORKER:]NAME[=VALUE]")]
    pub faults: Vec<FaultAt>,
}

fn lockstep(text: &str) -> Result<Lockstep, String> {
    match text.parse() {
        Ok(Lockstep::Worker) => Ok(Lockstep::Worker),
        Ok(Lockstep::Rank) => Ok(Lockstep::Rank),
        _ => Err("expected worker or rank".to_owned()),
    }
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("expected a number above 0".to_owned()),
    }
}
