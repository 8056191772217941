//! `rankwise policy`: making policies, and trying them without a proxy.

mod bench;
mod check;
mod new;
mod offline;
mod table;

use clap::Subcommand;

/// Begin, check and measure routing policies
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    New(new::New),
    Check(check::Check),
    Bench(bench::Bench),
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::New(new) => new.run(),
            Self::Check(check) => check.run(),
            Self::Bench(bench) => bench.run(),
        }
    }
}
