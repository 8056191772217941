//! From request bodies to the hashes of their blocks: what it costs, whom it keeps waiting, what it remembers.
//!
//! A workspace of its own; nothing of it is part of the proxy.

#![forbid(unsafe_code)]

mod memory;
mod pin;
mod ratios;
mod stall;
mod targets;
mod texts;

use clap::{Parser, ValueEnum};

/// Prompts: figures against Hugging Face tokenizers, and what other requests notice of long ones
#[derive(Debug, Parser)]
#[command(name = "rankwise-bench-prompt")]
struct Options {
    /// What to measure
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Ratios, Part::Pin, Part::Stall, Part::Memory])]
    only: Vec<Part>,
    /// Trials per figure
    #[arg(long, default_value_t = 25)]
    trials: usize,
    /// Unique prompts of `memory`
    #[arg(long, default_value_t = 1_000_000)]
    prompts: u32,
    /// Repeat a warm case so many times and nothing else, for a profiler
    #[arg(long)]
    profile: Option<usize>,
    /// Tokens of the history of the profiled case
    #[arg(long, default_value_t = 64 << 10)]
    history: usize,
    /// Profile with a template of which nothing is known
    #[arg(long)]
    unknown_template: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    Ratios,
    Pin,
    Stall,
    Memory,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    anyhow::ensure!(options.trials > 0, "trials: expected at least 1");
    if let Some(times) = options.profile {
        return ratios::profile(times, options.history, options.unknown_template);
    }
    for part in &options.only {
        match part {
            Part::Ratios => ratios::run(options.trials)?,
            Part::Pin => pin::run(options.trials)?,
            Part::Stall => stall::run(options.trials)?,
            Part::Memory => memory::run(options.prompts)?,
        }
    }
    Ok(())
}
