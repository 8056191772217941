//! What the flags of `serve` change in the document before it is resolved.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::UsageError;
use super::worker_flag;
use crate::config::file::{Document, Pool, Worker};
use crate::config::{BuiltInPolicy, Located};

/// Flags that win over the config file.
#[derive(Debug, Default, Args)]
pub(super) struct Overrides {
    /// Listen for clients here [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub(super) listen: Option<SocketAddr>,
    /// Serve /healthz, /readyz and /metrics here [default: 127.0.0.1:9090]
    #[arg(long, value_name = "IP:PORT")]
    pub(super) status: Option<SocketAddr>,
    /// Serve the admin API here [default: 127.0.0.1:9091]
    #[arg(long, value_name = "IP:PORT")]
    pub(super) admin: Option<SocketAddr>,
    /// Route with this built-in policy, in every pool and without the config's settings: round-robin, random,
    /// least-loaded or kv [default: kv]
    #[arg(long, value_name = "NAME", conflicts_with = "policy_file")]
    pub(super) policy: Option<BuiltInPolicy>,
    /// Route with this WebAssembly component, in every pool and without the config's settings
    #[arg(long, value_name = "FILE.wasm")]
    pub(super) policy_file: Option<PathBuf>,
    /// Folder with tokenizer.json and tokenizer_config.json of the served model
    #[arg(long, value_name = "DIR")]
    pub(super) tokenizer: Option<PathBuf>,
    /// Say in reply headers which worker and rank served, by which policy and with what overlap
    #[arg(long)]
    pub(super) expose_decision: bool,
    /// Route to this worker too; may be repeated
    ///
    /// URL is http://HOST:PORT. engine is auto (default: ask the worker), vllm or generic. ranks is the number of dp
    /// ranks (default: ask the worker). name is what metrics and the admin API call it (default: HOST:PORT).
    #[arg(long = "worker", value_name = "URL[,engine=NAME][,ranks=N][,name=NAME]", value_parser = worker_flag::parse)]
    pub(super) workers: Vec<Worker>,
}

impl Overrides {
    /// Changes `document` accordingly. Paths given here start from the working directory.
    ///
    /// # Errors
    /// When the document has more than one of what a flag sets.
    pub(super) fn apply(self, document: &mut Document) -> anyhow::Result<()> {
        if let Some(address) = self.listen {
            let listener = only("--listen", "listeners", &mut document.listeners)?;
            listener.address.value.0 = address;
        }
        if let Some(address) = self.status {
            document.status.address.value.0 = address;
        }
        if let Some(address) = self.admin {
            document.admin.address.value.0 = address;
        }
        document.expose_decision |= self.expose_decision;
        if !self.workers.is_empty() {
            if document.pools.is_empty() {
                document.pools.push(Located::nowhere(Pool::default()));
            }
            let pool = only("--worker", "pools", &mut document.pools)?;
            pool.value.workers.extend(self.workers.into_iter().map(Located::nowhere));
        }
        if let Some(folder) = self.tokenizer {
            let pool = only("--tokenizer", "pools", &mut document.pools)?;
            pool.value.tokenizer = Some(Located::nowhere(from_here(&folder)?));
        }
        let file = self.policy_file.map(|file| from_here(&file)).transpose()?;
        if self.policy.is_some() || file.is_some() {
            for pool in &mut document.pools {
                let policy = &mut pool.value.policy;
                policy.name = self.policy.map(Located::nowhere);
                policy.file = file.clone().map(Located::nowhere);
                policy.digest = None;
                // Settings are one policy's own: another would refuse or misread them.
                policy.settings.clear();
            }
        }
        Ok(())
    }
}

fn from_here(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// The only entry of a list that one flag speaks of.
fn only<'a, T>(flag: &str, list: &str, entries: &'a mut [T]) -> Result<&'a mut T, UsageError> {
    match entries {
        [entry] => Ok(entry),
        entries => Err(UsageError(format!("{flag}: the config has {} {list}: expected one", entries.len()))),
    }
}
