//! The KV index alone, and together with all else that a decision takes, with the writer idle and at full speed.
//!
//! Beside its rivals it is measured by `tests/bench/rivals`.

mod decide;
mod fleet;
mod pause;
mod windows;
mod writer;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use rankwise_measure::contender::Contender;
use rankwise_measure::race::{self, Laps};
use rankwise_measure::workload::Spec;
use rankwise_measure::{Ours, trace};

use crate::targets;
use fleet::Fleet;
use windows::Windows;

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

/// Pauses are told of so many batches, and of so many windows.
const PAUSE_SHARE: f64 = 0.99;

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
        let ((busy, written), windows) = writer::meanwhile(&fleet, |writer| {
            let (start, before) = (Instant::now(), writer.blocks());
            let busy = decider.decide(options.rounds)?;
            let written = (writer.blocks() - before) as f64 / start.elapsed().as_secs_f64();
            Ok(((busy, written), Windows::measured(&fleet, writer)?))
        })?;
        for (samples, writer) in [(&idle, "idle"), (&busy, "busy")] {
            print(&format!("decide_p50_writer_{writer}"), samples.p50(), "ns");
            print(&format!("decide_p99_writer_{writer}"), samples.p99(), "ns");
        }
        for (samples, writer) in [(&windows.alone, "idle"), (&windows.beside, "busy")] {
            for (share, name) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
                print(&format!("longest_look_up_{name}_writer_{writer}"), samples.quantile(share), "ns");
            }
            println!("# {} of {} windows undisturbed, the writer {writer}", samples.len(), windows::WINDOWS);
        }
        print("longest_look_up_added_us", windows.added_us(PAUSE_SHARE), "us");
        let pauses = pause::pauses(&fleet);
        print("reader_pause_p50_us", pauses.usual.p50() / 1e3, "us");
        print("reader_pause_us", pauses.usual.quantile(PAUSE_SHARE) / 1e3, "us");
        print("reader_pause_max_us", pauses.usual.max() / 1e3, "us");
        print("reader_pause_each_us", pauses.each.quantile(PAUSE_SHARE) / 1e3, "us");
        println!("# the writer: {:.1} million blocks/s of wall time", written / 1e6);
    }
    Ok(())
}
