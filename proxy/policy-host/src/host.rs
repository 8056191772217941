//! The host itself: its engines, one maker of instances, one compile at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::activation::{Activation, PoolInfo};
use crate::catalogue::Versions;
use crate::check;
use crate::compile::{self, Compiled};
use crate::config::HostConfig;
use crate::engine::Tier;
use crate::error::{HostError, Refusal};
use crate::runtime::Runtime;
use crate::smoke::Smoke;
use crate::version::{PolicyVersion, digest};

/// Compiles and activates policies. Cheap to clone; its threads end when the last clone and the last activation are
/// gone.
#[derive(Clone)]
pub struct PolicyHost {
    runtime: Arc<Runtime>,
    catalogue: Arc<Catalogue>,
}

#[derive(Default)]
struct Catalogue {
    versions: Mutex<Versions>,
    compiling: Mutex<()>,
}

impl Catalogue {
    fn versions(&self) -> MutexGuard<'_, Versions> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PolicyHost {
    /// Sets up the compiler, the pool of memory and two threads (epochs, spare instances).
    ///
    /// # Errors
    /// [`HostError::Setup`], for example when the address space of this process is limited.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        Ok(Self { runtime: Arc::new(Runtime::start(config)?), catalogue: Arc::default() })
    }

    /// The bounds it works within.
    pub fn config(&self) -> &HostConfig {
        &self.runtime.config
    }

    /// Has these bytes keep the number they had in an earlier process, if neither is taken. Nothing is compiled.
    pub fn remember(&self, name: &str, digest: &str, number: u32) {
        self.catalogue.versions().remember(name, digest, number, self.runtime.config.names_max);
    }

    /// Checks that `wasm` is a component that fits, and compiles it. Blocks, one compile at a time; the same bytes under
    /// the same name are compiled once while somebody holds the result. What is large is compiled twice: quickly here, and
    /// well in the background, which instances take over as they come.
    ///
    /// # Errors
    /// [`HostError::Refused`], which says what about the component does not fit.
    pub fn compile(&self, name: &str, wasm: &[u8]) -> Result<Arc<Compiled>, HostError> {
        let max = self.runtime.config.component_bytes_max;
        if wasm.len() > max {
            return Err(Refusal::TooLarge { bytes: wasm.len(), max }.of(name));
        }
        check::format(wasm).map_err(|refusal| refusal.of(name))?;
        let _one = self.catalogue.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = digest(wasm);
        let (number, known) = {
            let names_max = self.runtime.config.names_max;
            self.catalogue.versions().meet(name, &digest, names_max)
        };
        if let Some(compiled) = known {
            return Ok(compiled);
        }
        let version = PolicyVersion { name: name.to_owned(), number, digest, bytes: wasm.len() };
        let Runtime { engines, config, optimizer, .. } = &*self.runtime;
        let compiled =
            compile::compile(engines, config, version, wasm).map_err(|refusal| refusal.of(name))?;
        self.catalogue.versions().compiled(&compiled);
        if compiled.tier() < Tier::Optimized {
            optimizer.hand_over(&compiled, wasm);
        }
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
        Activation::new(&self.runtime, compiled, pool, settings, smoke, warm)
            .map_err(|refusal| refusal.of(&compiled.version().to_string()))
    }
}
