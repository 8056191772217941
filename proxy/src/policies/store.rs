//! The policies that can be activated: the built-in ones, and those uploaded, by digest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use rankwise_policy_host::{Compiled, HostError, PolicyHost};

use super::built_in;

/// A policy that can be activated.
#[derive(Clone)]
pub struct KnownPolicy {
    /// Compiled.
    pub compiled: Arc<Compiled>,
    /// Whether it is part of the binary.
    pub built_in: bool,
}

/// Compiles policies and keeps them. Compiling blocks: call it off the request threads.
pub struct PolicyStore {
    host: PolicyHost,
    uploaded: Mutex<VecDeque<Arc<Compiled>>>,
    uploaded_max: usize,
}

/// Why a policy is not to be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Nobody uploaded it, and it is not part of the binary.
    #[error("no policy {0}: upload it, or name one of {names}", names = built_in_names())]
    Unknown(String),
    /// A name that is taken.
    #[error("{0} is the name of a policy that is part of the binary")]
    Reserved(String),
    /// The component does not fit.
    #[error(transparent)]
    Host(#[from] HostError),
}

fn built_in_names() -> String {
    built_in::ALL.map(|policy| policy.name).join(", ")
}

impl PolicyStore {
    /// Keeps at most so many uploads; the oldest that nobody uses goes first.
    pub fn new(host: PolicyHost, uploaded_max: usize) -> Self {
        Self { host, uploaded: Mutex::default(), uploaded_max }
    }

    /// The host that runs them.
    pub fn host(&self) -> &PolicyHost {
        &self.host
    }

    /// Compiles a component and keeps it.
    ///
    /// # Errors
    /// When it does not fit, or its name is that of a built-in policy.
    pub fn add(&self, name: &str, wasm: &[u8]) -> Result<Arc<Compiled>, StoreError> {
        if built_in::ALL.iter().any(|policy| policy.name == name) {
            return Err(StoreError::Reserved(name.to_owned()));
        }
        let compiled = self.host.compile(name, wasm)?;
        let mut uploaded = self.uploaded.lock();
        uploaded.retain(|known| known.version() != compiled.version());
        while uploaded.len() >= self.uploaded_max {
            // One that is in force is held elsewhere too.
            let unused = uploaded.iter().position(|known| Arc::strong_count(known) == 1).unwrap_or(0);
            uploaded.remove(unused);
        }
        uploaded.push_back(Arc::clone(&compiled));
        Ok(compiled)
    }

    /// By name (its newest version), `name@version` or digest.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, wanted: &str) -> Result<Arc<Compiled>, StoreError> {
        let uploaded = self.uploaded.lock();
        let names = |compiled: &&Arc<Compiled>| {
            let version = compiled.version();
            version.name == wanted || version.to_string() == wanted || version.digest == wanted
        };
        if let Some(compiled) = uploaded.iter().rev().find(names) {
            return Ok(Arc::clone(compiled));
        }
        drop(uploaded);
        let plain = wanted.strip_suffix("@1").unwrap_or(wanted);
        let policy = built_in::ALL
            .iter()
            .find(|policy| policy.name == plain)
            .ok_or_else(|| StoreError::Unknown(wanted.to_owned()))?;
        Ok(self.host.compile(policy.name, policy.wasm)?)
    }

    /// Forgets an upload. One that is in force stays in force.
    ///
    /// # Errors
    /// When there is none with this digest.
    pub fn remove(&self, digest: &str) -> Result<(), StoreError> {
        let mut uploaded = self.uploaded.lock();
        let before = uploaded.len();
        uploaded.retain(|known| known.version().digest != digest);
        if uploaded.len() == before { Err(StoreError::Unknown(digest.to_owned())) } else { Ok(()) }
    }

    /// Uploads, oldest first.
    pub fn uploaded(&self) -> Vec<Arc<Compiled>> {
        self.uploaded.lock().iter().cloned().collect()
    }
}
