//! `rankwise policy`: making policies and trying them without a proxy; those of a running one, over its admin API.

mod activate;
mod admin;
mod bench;
mod canary;
mod check;
mod list;
mod new;
mod offline;
mod push;
mod rollback;
mod shadow;
mod table;

use clap::Subcommand;

/// Begin, check and measure policies; list, upload and swap those of a running proxy
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    New(new::New),
    Check(check::Check),
    Bench(bench::Bench),
    List(list::List),
    Push(push::Push),
    Activate(activate::Activate),
    Rollback(rollback::Rollback),
    Shadow(shadow::Shadow),
    Canary(canary::Canary),
    Promote(canary::Promote),
}

impl Policy {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::New(new) => new.run(),
            Self::Check(check) => check.run(),
            Self::Bench(bench) => bench.run(),
            Self::List(list) => list.run(),
            Self::Push(push) => push.run(),
            Self::Activate(activate) => activate.run(),
            Self::Rollback(rollback) => rollback.run(),
            Self::Shadow(shadow) => shadow.run(),
            Self::Canary(canary) => canary.run(),
            Self::Promote(promote) => promote.run(),
        }
    }
}
