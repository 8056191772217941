//! A component file in a host of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use rankwise_policy_host::{Activation, HostConfig, HostError, PolicyHost, PoolInfo, Smoke};
use serde_json::{Map, Value};

use crate::cli::failure::{DataError, UsageError};

/// Which policy, and what it is configured with.
#[derive(Debug, Args)]
pub(super) struct Component {
    /// The component, a .wasm file
    file: PathBuf,
    /// Its settings, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Tokens per KV block of the pool it is configured for
    #[arg(long, value_name = "TOKENS", default_value = "16")]
    block_size: u32,
}

impl Component {
    /// Compiled, configured and tried on one example, with so much CPU time for a pick. The host keeps it running.
    pub(super) fn activate(&self, cpu_budget: Duration) -> anyhow::Result<(PolicyHost, Arc<Activation>)> {
        let settings: Map<String, Value> = serde_json::from_str(&self.settings)
            .map_err(|error| UsageError(format!("--settings: expected a JSON object: {error}")))?;
        let wasm = std::fs::read(&self.file).with_context(|| self.file.display().to_string())?;
        let host = PolicyHost::new(HostConfig {
            instances_max: 16,
            cpu_budget,
            // What is measured is the code that serves in the end.
            baseline_bytes_min: usize::MAX,
            ..HostConfig::default()
        })?;
        let pool = PoolInfo { model: "example".to_owned(), block_size: self.block_size };
        let activated = host.compile(&self.name(), &wasm).and_then(|compiled| {
            host.activate(&compiled, &pool, &Value::Object(settings), &Smoke::example(), 2)
        });
        match activated {
            Ok(activation) => Ok((host, activation)),
            Err(error @ HostError::Refused { .. }) => Err(DataError(error.to_string()).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// What it is called: the file's name without extension.
    pub(super) fn name(&self) -> String {
        self.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Tokens per block.
    pub(super) fn block_size(&self) -> u32 {
        self.block_size
    }
}
