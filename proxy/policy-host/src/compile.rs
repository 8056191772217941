//! From bytes to a policy that can be instantiated.

use std::sync::Arc;
use std::thread;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bindings::PolicyPre;
use crate::check::{self, Optional};
use crate::config::HostConfig;
use crate::error::Refusal;
use crate::failure::{PolicyFailure, bounded};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::version::PolicyVersion;

/// A compiled policy, not yet configured for a pool.
pub struct Compiled {
    version: PolicyVersion,
    pre: PolicyPre<Limits>,
    optional: Optional,
}

impl Compiled {
    /// Which version it is.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// Whether it tells a score per row.
    pub fn has_scorer(&self) -> bool {
        self.optional.score.is_some()
    }

    /// Whether it learns from how requests end.
    pub fn has_learner(&self) -> bool {
        self.optional.learn.is_some()
    }

    pub(crate) fn pre(&self) -> &PolicyPre<Limits> {
        &self.pre
    }

    pub(crate) fn optional(&self) -> Optional {
        self.optional
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Compiles `wasm` on a thread of its own, which yields to all others, and tries whether it can be instantiated.
pub(crate) fn compile(
    engine: &Engine,
    config: &HostConfig,
    version: PolicyVersion,
    wasm: &[u8],
) -> Result<Arc<Compiled>, Refusal> {
    let component = thread::scope(|scope| {
        let compile = || {
            // Linux has a nice value per thread. Without it compiling is only less polite.
            let _ = rustix::process::nice(config.compile_nice);
            Component::from_binary(engine, wasm)
        };
        thread::Builder::new()
            .name("policy-compile".into())
            .spawn_scoped(scope, compile)
            .map_err(|error| Refusal::Compile(format!("start a thread: {error}")))?
            .join()
            .map_err(|_| Refusal::Compile("the compiler panicked".into()))?
            .map_err(|error| Refusal::Compile(bounded(&format!("{error:#}"))))
    })?;
    check::world(&component.component_type(), engine)?;
    let types = |error: wasmtime::Error| Refusal::Types(bounded(&format!("{error:#}")));
    let pre = Linker::new(engine).instantiate_pre(&component).map_err(types)?;
    let optional = check::optional(&component);
    let compiled = Compiled { version, pre: PolicyPre::new(pre).map_err(types)?, optional };
    // Types are compared when an instance is made: nothing shall be found wrong later.
    match Instance::create(&compiled.pre, config) {
        Ok(mut instance) => match instance.check_optional(optional) {
            Ok(()) => Ok(Arc::new(compiled)),
            Err(error) => Err(types(error)),
        },
        Err(PolicyFailure::Instantiate(text)) => Err(Refusal::Types(text)),
        Err(other) => Err(Refusal::Instantiate(other)),
    }
}
