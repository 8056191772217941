//! `rankwise check`.

use std::path::PathBuf;

use clap::Args;

use super::{launch, out};
use crate::config::{self, Config, PolicySource};

/// Check a config file: exit 0, or 64 with the place and what was expected there
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Config file, YAML
    file: PathBuf,
    /// Also ask every engine, and name each of its settings that keeps a policy from seeing its cache or load
    #[arg(long)]
    live: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = config::load(&self.file)?;
        if self.live {
            launch::check_live(&config)?;
        }
        out::line(format_args!("ok: {}", summary(&config)))
    }
}

/// One line on what the config says.
fn summary(config: &Config) -> String {
    let workers: usize = config.pools.iter().map(|pool| pool.workers.len()).sum();
    let pools: Vec<_> = config
        .pools
        .iter()
        .map(|pool| {
            let policy = match &pool.policy.source {
                PolicySource::BuiltIn(name) => name.to_string(),
                PolicySource::File(path) => path.display().to_string(),
                PolicySource::Kept => {
                    pool.policy.digest.as_ref().map(ToString::to_string).unwrap_or_default()
                }
            };
            format!("{} by {policy}", pool.name)
        })
        .collect();
    let counted = |n: usize, noun: &str| format!("{n} {noun}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}, {} ({}), {}",
        counted(config.listeners.len(), "listener"),
        counted(config.pools.len(), "pool"),
        pools.join(", "),
        counted(workers, "worker")
    )
}
