//! `rankwise replay`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;
use rankwise_sim::Timing;
use rankwise_sim::model::core::CoreSpec;
use rankwise_sim::model::host::HostSpec;

use super::out;
use super::sim::{lockstep, speed};
use crate::config::Lockstep;
use crate::replay::simulate::{self, FleetShape, Progress};
use crate::replay::trace::Trace;
use crate::replay::{self, Asked, Input};

/// Decide again what was recorded, or run a trace of requests through a simulated fleet, and compare policies
///
/// Of a recording it shows what each policy does otherwise; the policy that was recorded must decide as it did: exit 1
/// if it does not. A trace (Mooncake's format: JSON lines with timestamp, input_length, output_length and hash_ids) is
/// followed by each policy in simulated time: cached tokens, time to first token, time between tokens, imbalance, queueing.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A file of a recording (`decisions.recording` in the config), or a trace
    file: PathBuf,
    /// A built-in policy or a component file, with settings if they are not to be the recorded or default ones
    #[arg(long = "policy", value_name = "NAME|FILE.wasm[=JSON]", required = true)]
    policies: Vec<Asked>,
    /// Of a recording: decisions that differ and are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    #[command(flatten)]
    fleet: Fleet,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The fleet that serves a trace")]
struct Fleet {
    /// Workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// dp ranks of each worker
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    ranks: u32,
    /// Ranks that step together: worker (all of a worker) or rank (each alone)
    #[arg(long, value_name = "worker|rank", default_value = "worker", value_parser = lockstep)]
    lockstep: Lockstep,
    /// KV blocks of each rank
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 24))]
    blocks: u32,
    /// Tokens of a KV block
    #[arg(long, value_name = "TOKENS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    block_size: u32,
    /// Requests that a rank works on at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    max_running: u32,
    /// Tokens that a rank computes in one step
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = clap::value_parser!(u32).range(1..))]
    max_batched_tokens: u32,
    /// What a step costs a rank: microseconds, and nanoseconds per token of prefill and per decoding request
    #[arg(long, value_name = "US,NS,NS", value_delimiter = ',', num_args = 3, default_values_t = timing())]
    timing: Vec<u64>,
    /// The trace's requests come so many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Only the first N requests of the trace
    #[arg(long, value_name = "N")]
    requests: Option<usize>,
    /// Of the policies' randomness
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

fn timing() -> Vec<u64> {
    let Timing { step_us, prefill_token_ns, decode_sequence_ns } = Timing::default();
    vec![step_us, prefill_token_ns, decode_sequence_ns]
}

/// Sequences that wait at a rank: no trace shall fail for want of room to wait.
const WAITING_MAX: usize = 1 << 20;

impl Fleet {
    fn shape(&self) -> FleetShape {
        let cost = |at: usize, default| self.timing.get(at).copied().unwrap_or(default);
        let default = Timing::default();
        FleetShape {
            workers: self.workers,
            ranks: self.ranks,
            lockstep: self.lockstep != Lockstep::Rank,
            core: CoreSpec {
                blocks: self.blocks,
                host: HostSpec::default(),
                block_size: self.block_size,
                max_running: self.max_running as usize,
                max_waiting: WAITING_MAX,
                max_batched_tokens: self.max_batched_tokens,
            },
            timing: Timing {
                step_us: cost(0, default.step_us),
                prefill_token_ns: cost(1, default.prefill_token_ns),
                decode_sequence_ns: cost(2, default.decode_sequence_ns),
            },
            speed: self.speed,
            seed: self.seed,
        }
    }
}

impl Replay {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match Input::read(&self.file)? {
            Input::Recording(bytes) => self.recording(&bytes),
            Input::Trace(trace) => self.trace(trace),
        }
    }

    fn recording(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let report = replay::run(bytes, &self.policies, self.show)
            .map_err(|error| error.context(self.file.display().to_string()))?;
        if self.json {
            out::line(format_args!("{:#}", serde_json::json!(report)))?;
        } else {
            out::print(report.text())?;
        }
        if !report.is_exact() {
            bail!("replay: the recorded policy does not decide as recorded");
        }
        Ok(())
    }

    fn trace(&self, trace: Trace) -> anyhow::Result<()> {
        let trace = match self.fleet.requests {
            Some(count) => trace.truncated(count),
            None => trace,
        };
        let fleet = self.fleet.shape();
        let mut shown = Shown::default();
        let figures =
            replay::simulate(&trace, &self.policies, &fleet, &mut |policy, at| shown.show(policy, at))?;
        if self.json {
            out::line(format_args!("{:#}", serde_json::json!({ "policies": figures })))?;
        } else {
            out::line(format_args!(
                "{} requests, {} workers of {} ranks, {} blocks of {} tokens each; times are simulated\n",
                trace.requests().len(),
                fleet.workers,
                fleet.ranks,
                fleet.core.blocks,
                fleet.core.block_size
            ))?;
            out::print(simulate::table(&figures))?;
        }
        Ok(())
    }
}

/// Progress on stderr: in place on a terminal, a line now and then elsewhere.
struct Shown {
    next: Instant,
}

impl Default for Shown {
    fn default() -> Self {
        Self { next: Instant::now() + Duration::from_secs(1) }
    }
}

impl Shown {
    fn show(&mut self, policy: &str, at: Progress) {
        let mut stderr = std::io::stderr().lock();
        let in_place = stderr.is_terminal();
        let is_last = at.requests == at.of;
        if Instant::now() < self.next && !(in_place && is_last) {
            return;
        }
        self.next = Instant::now() + Duration::from_millis(if in_place { 200 } else { 5000 });
        let policy = policy.split(' ').next().unwrap_or_default();
        let Progress { requests, of, simulated } = at;
        let (start, end) = if in_place { ("\r", if is_last { "\n" } else { "" }) } else { ("", "\n") };
        // Nothing can be done about a closed stderr.
        let _ = write!(
            stderr,
            "{start}{policy}: {requests} of {of} requests, {:.0} s simulated{end}",
            simulated.as_secs_f64()
        );
    }
}
