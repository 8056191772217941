//! The KV index alone, and together with all else that a decision takes, with the writer idle and at full speed.
//!
//! Beside its rivals it is measured by `tests/bench/rivals`.

mod decide;
mod fleet;
mod writer;

use std::path::PathBuf;

use clap::Args;
use rankwise_measure::contender::Contender;
use rankwise_measure::race::{self, Laps};
use rankwise_measure::workload::Spec;
use rankwise_measure::{Ours, trace};

use crate::targets;
use fleet::Fleet;

/// Events and look-ups of the index; index, snapshot and pick together; how long the writer keeps a reader waiting
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// (block, rank) pairs
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512, 4096])]
    ranks: Vec<u32>,
    /// Tokens per block
    #[arg(long, default_value_t = 16)]
    block_size: u32,
    /// Requests served and looked up once the caches are full
    #[arg(long, default_value_t = 4000)]
    churn: usize,
    /// How often each of them is looked up
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The policy that picks [default: the built-in kv]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Only events and look-ups of the index, as for a profile
    #[arg(long)]
    alone: bool,
}

const SEED: u64 = 42;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let trace = trace::conversation()?;
    let Options { entries, block_size, .. } = *options;
    let laps = Laps { churn: options.churn, rounds: options.rounds };
    for &ranks in &options.ranks {
        let spec = Spec { entries, ranks, block_size, removals_per_event: 8, seed: SEED };
        let print =
            |name: &str, value: f64, unit: &str| targets::print(&format!("{name}_{ranks}"), value, unit);
        let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(Ours::new(&spec))];
        let outcomes = race::run(&trace, spec, laps, &mut contenders)?;
        drop(contenders);
        for outcome in &outcomes {
            print("events", outcome.churn.per_block(), "ns/block");
            print("lookup_p50", outcome.lookups.p50(), "ns");
            print("lookup_p99", outcome.lookups.p99(), "ns");
            print("bytes_per_entry", outcome.bytes_per_entry(), "bytes");
        }
        if options.alone {
            continue;
        }
        let fleet = Fleet::filled(&trace, spec, options.churn);
        print("prompt_chain", fleet.prompt_ns_per_block(), "ns/block");
        let mut decider = decide::Decider::new(&fleet, options.component.as_deref())?;
        let idle = decider.decide(options.rounds)?;
        let alone = fleet.look_ups(options.rounds, None)?;
        let ((busy, beside), written) = writer::meanwhile(&fleet, |writer| {
            Ok((decider.decide(options.rounds)?, fleet.look_ups(options.rounds, Some(writer))?))
        })?;
        for (samples, writer) in [(&idle, "idle"), (&busy, "busy")] {
            print(&format!("decide_p50_writer_{writer}"), samples.p50(), "ns");
            print(&format!("decide_p99_writer_{writer}"), samples.p99(), "ns");
        }
        print("reader_pause_writer_idle_us", alone.pauses.max() / 1e3, "us");
        print("reader_pause_us", beside.pauses.max() / 1e3, "us");
        print("reader_pause_p99_us", beside.pauses.p99() / 1e3, "us");
        println!(
            "# {} of {} windows beside the writer without a switch; the writer: {:.1} million blocks/s of wall time",
            beside.pauses.len(),
            beside.windows,
            written / 1e6
        );
    }
    Ok(())
}
