//! `rankwise replay`.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::replay::{self, Asked};

/// Decide again what was recorded, and show what each policy does otherwise
///
/// The policy that was recorded must decide as it did: exit 1 if it does not.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// A file of a recording (`decisions.recording` in the config)
    recording: PathBuf,
    /// A built-in policy or a component file, with settings if they are not to be the recorded or default ones
    #[arg(long = "policy", value_name = "NAME|FILE.wasm[=JSON]", required = true)]
    policies: Vec<Asked>,
    /// Decisions that differ and are shown
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let report = replay::run(&self.recording, &self.policies, self.show)?;
        if self.json {
            println!("{:#}", serde_json::json!(report));
        } else {
            print!("{}", report.text());
        }
        if !report.is_exact() {
            bail!("replay: the recorded policy does not decide as recorded");
        }
        Ok(())
    }
}
