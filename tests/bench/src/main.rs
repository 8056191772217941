//! rankwise-bench: the figures of rankwise, one subcommand a question.

#![forbid(unsafe_code)]

mod child;
mod component;
mod http1;
mod index;
mod load;
mod pick;
mod proxy;
mod swap;
mod targets;

use clap::{Parser, Subcommand};
use rankwise_measure::memory::{COUNTING, CountingAllocator};

#[global_allocator]
static ALLOCATOR: &CountingAllocator = COUNTING;

#[derive(Debug, Parser)]
#[command(name = "rankwise-bench", version, about = "Figures of rankwise, as `figure: NAME VALUE UNIT`")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Index(index::Options),
    Pick(pick::Options),
    Proxy(proxy::Options),
    Swap(swap::Options),
}

fn main() -> anyhow::Result<()> {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    match Cli::parse().bench {
        Bench::Index(options) => index::run(&options),
        Bench::Pick(options) => pick::run(&options),
        Bench::Proxy(options) => runtime()?.block_on(proxy::run(options)),
        Bench::Swap(options) => swap::run(&options, &runtime()?),
    }
}
