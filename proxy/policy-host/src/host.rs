//! The host itself: one engine, one maker of instances, one compile at a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::Engine;

use crate::activation::{Activation, PoolInfo};
use crate::check;
use crate::compile::{self, Compiled};
use crate::config::HostConfig;
use crate::engine;
use crate::error::{HostError, Refusal};
use crate::maker::Maker;
use crate::smoke::Smoke;
use crate::ticker::Ticker;
use crate::version::{PolicyVersion, Versions, digest};

/// Compiles and activates policies. Cheap to clone; its threads end when the last clone and the last activation are
/// gone.
#[derive(Clone)]
pub struct PolicyHost {
    shared: Arc<Shared>,
}

/// What activations need of their host.
pub(crate) struct Shared {
    pub(crate) config: HostConfig,
    pub(crate) maker: Maker,
    engine: Engine,
    versions: Mutex<Versions>,
    compiling: Mutex<()>,
    last_id: AtomicU64,
    _ticker: Ticker,
}

impl Shared {
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn meet(&self, name: &str, digest: &str) -> (u32, Option<Arc<Compiled>>) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.meet(name, digest, self.config.names_max)
    }
}

impl PolicyHost {
    /// Sets up the compiler, the pool of memory and two threads (epochs, spare instances).
    ///
    /// # Errors
    /// [`HostError::Setup`], for example when the address space of this process is limited.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let setup = |error: std::io::Error| HostError::Setup(format!("start a thread: {error}"));
        let engine = engine::build(&config)?;
        let shared = Shared {
            maker: Maker::start().map_err(setup)?,
            _ticker: Ticker::start(&engine).map_err(setup)?,
            engine,
            config,
            versions: Mutex::default(),
            compiling: Mutex::default(),
            last_id: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The bounds it works within.
    pub fn config(&self) -> &HostConfig {
        &self.shared.config
    }

    /// Checks that `wasm` is a component that fits, and compiles it. Blocks, one compile at a time; the same bytes under
    /// the same name are compiled once while somebody holds the result.
    ///
    /// # Errors
    /// [`HostError::Refused`], which says what about the component does not fit.
    pub fn compile(&self, name: &str, wasm: &[u8]) -> Result<Arc<Compiled>, HostError> {
        let max = self.shared.config.component_bytes_max;
        if wasm.len() > max {
            return Err(Refusal::TooLarge { bytes: wasm.len(), max }.of(name));
        }
        check::format(wasm).map_err(|refusal| refusal.of(name))?;
        let _one = self.shared.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(wasm);
        let (number, known) = self.shared.meet(name, &digest);
        if let Some(compiled) = known {
            return Ok(compiled);
        }
        let version = PolicyVersion { name: name.to_owned(), number, digest, bytes: wasm.len() };
        let compiled = compile::compile(&self.shared.engine, &self.shared.config, version, wasm)
            .map_err(|refusal| refusal.of(name))?;
        let mut versions = self.shared.versions.lock().unwrap_or_else(PoisonError::into_inner);
        versions.compiled(&compiled);
        Ok(compiled)
    }

    /// Configures a compiled policy for a pool, tries it on `smoke`, and makes `warm` instances (one for every thread
    /// that will ask it) besides the spare ones. Blocks. Nothing uses it yet: publish it.
    ///
    /// An error that the policy returns for the smoke pick refuses it, a wait or a rejection does not.
    ///
    /// # Errors
    /// [`HostError::Refused`]: settings, needs, or a failed pick.
    pub fn activate(
        &self,
        compiled: &Arc<Compiled>,
        pool: &PoolInfo,
        settings: &serde_json::Value,
        smoke: &Smoke<'_>,
        warm: usize,
    ) -> Result<Arc<Activation>, HostError> {
        Activation::new(&self.shared, compiled, pool, settings, smoke, warm)
            .map_err(|refusal| refusal.of(&compiled.version().to_string()))
    }
}
