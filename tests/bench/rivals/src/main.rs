//! The KV index of rankwise beside those of NVIDIA Dynamo and SMG, in one run.
//!
//! A workspace of its own, with versions of its own; nothing of it is part of the proxy.

#![forbid(unsafe_code)]

mod dynamo;
mod smg;
mod targets;

use clap::Parser;
use rankwise_measure::contender::Contender;
use rankwise_measure::memory::{COUNTING, CountingAllocator};
use rankwise_measure::race::{self, Laps, Outcome};
use rankwise_measure::workload::Spec;
use rankwise_measure::{Ours, figure, trace};

use targets::TARGETS;

#[global_allocator]
static ALLOCATOR: &CountingAllocator = COUNTING;

/// KV indexes side by side: events, look-ups, bytes; figures named without a size are those at 1,000,000 entries
#[derive(Debug, Parser)]
#[command(name = "rankwise-bench-rivals")]
struct Options {
    /// (block, rank) pairs
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 10_000_000])]
    entries: Vec<u64>,
    #[arg(long, value_delimiter = ',', default_values_t = [8, 64, 512])]
    ranks: Vec<u32>,
    /// Tokens per block
    #[arg(long, default_value_t = 16)]
    block_size: u32,
    /// Blocks that one removal event names at most, for everybody
    #[arg(long, default_value_t = 8)]
    removals_per_event: usize,
    /// Requests served and looked up once the caches are full
    #[arg(long, default_value_t = 4000)]
    churn: usize,
    /// How often each of them is looked up
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// The size whose figures have targets.
const TARGET_ENTRIES: u64 = 1_000_000;

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let trace = trace::conversation()?;
    let laps = Laps { churn: options.churn, rounds: options.rounds };
    for &entries in &options.entries {
        for &ranks in &options.ranks {
            let Options { block_size, removals_per_event, seed, .. } = options;
            let spec = Spec { entries, ranks, block_size, removals_per_event, seed };
            let mut contenders: Vec<Box<dyn Contender>> = vec![
                Box::new(Ours::new(&spec)),
                Box::new(dynamo::Crtc::new(&spec)?),
                Box::new(smg::ChainIndex::new(&spec)?),
            ];
            let outcomes = race::run(&trace, spec, laps, &mut contenders)?;
            println!("# {entries} entries wanted, {} there, {ranks} ranks", outcomes[0].entries);
            for (contender, outcome) in contenders.iter().zip(&outcomes) {
                println!("# {:<8} {}", contender.name(), absolute(outcome));
            }
            report(&spec, &outcomes);
        }
    }
    Ok(())
}

fn absolute(outcome: &Outcome) -> String {
    format!(
        "events {:.0} ns/block full, {:.0} filling; look-up p50 {:.0} p99 {:.0} ns; {:.1} bytes/entry",
        outcome.churn.per_block(),
        outcome.filling.per_block(),
        outcome.lookups.p50(),
        outcome.lookups.p99(),
        outcome.bytes_per_entry(),
    )
}

fn report(spec: &Spec, outcomes: &[Outcome]) {
    let size =
        if spec.entries == TARGET_ENTRIES { String::new() } else { format!("_{}", short(spec.entries)) };
    let print = |what: &str, value: f64, unit: &str| {
        figure::print(TARGETS, &format!("{what}_{}{size}", spec.ranks), value, unit);
    };
    let [ours, rivals @ ..] = outcomes else { return };
    for (rival, name) in rivals.iter().zip(["dynamo", "kvindex"]) {
        let times = |of: fn(&Outcome) -> f64| of(rival) / of(ours);
        print(&format!("events_vs_{name}"), times(|outcome| outcome.churn.per_block()), "x");
        print(&format!("lookup_p50_vs_{name}"), times(|outcome| outcome.lookups.p50()), "x");
        print(&format!("lookup_p99_vs_{name}"), times(|outcome| outcome.lookups.p99()), "x");
        print(&format!("bytes_vs_{name}"), times(Outcome::bytes_per_entry), "x");
    }
    print("events", ours.churn.per_block(), "ns/block");
    print("lookup_p50", ours.lookups.p50(), "ns");
    print("lookup_p99", ours.lookups.p99(), "ns");
    print("bytes_per_entry", ours.bytes_per_entry(), "bytes");
}

/// 10,000,000 as 1e7.
fn short(entries: u64) -> String {
    let power = entries.checked_ilog10().unwrap_or(0);
    match entries / 10u64.pow(power) {
        lead if lead * 10u64.pow(power) == entries => format!("{lead}e{power}"),
        _ => entries.to_string(),
    }
}
