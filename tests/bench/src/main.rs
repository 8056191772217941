//! rankwise-bench: the figures of rankwise, one subcommand a question.

#![forbid(unsafe_code)]

mod proxy;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "rankwise-bench", version, about = "Figures of rankwise, as `figure: NAME VALUE UNIT`")]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Proxy(proxy::Options),
}

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Cli::parse().bench {
        Bench::Proxy(options) => runtime.block_on(proxy::run(options)),
    }
}
