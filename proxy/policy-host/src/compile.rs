//! From bytes to a policy that can be instantiated: at once, and better later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use arc_swap::ArcSwap;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::bindings::PolicyPre;
use crate::check;
use crate::code::Code;
use crate::config::HostConfig;
use crate::engine::{Engines, Tier};
use crate::error::Refusal;
use crate::failure::{PolicyFailure, bounded};
use crate::instance::Instance;
use crate::version::PolicyVersion;

/// A compiled policy, not yet configured for a pool.
pub struct Compiled {
    version: PolicyVersion,
    code: ArcSwap<Code>,
    /// The tier of `code`, for those who ask with every pick.
    is_optimized: AtomicBool,
}

impl Compiled {
    fn new(version: PolicyVersion, code: Code) -> Arc<Self> {
        let is_optimized = AtomicBool::new(code.tier == Tier::Optimized);
        Arc::new(Self { version, code: ArcSwap::from_pointee(code), is_optimized })
    }

    /// Which version it is.
    pub fn version(&self) -> &PolicyVersion {
        &self.version
    }

    /// Which compiler made the code that new instances run. It grows once at most.
    pub fn tier(&self) -> Tier {
        if self.is_optimized.load(Ordering::Acquire) { Tier::Optimized } else { Tier::Baseline }
    }

    /// Whether it tells a score per row.
    pub fn has_scorer(&self) -> bool {
        self.code.load().optional.score.is_some()
    }

    /// Whether it learns from how requests end.
    pub fn has_learner(&self) -> bool {
        self.code.load().optional.learn.is_some()
    }

    /// What new instances are made of.
    pub(crate) fn code(&self) -> Arc<Code> {
        self.code.load_full()
    }

    fn improve(&self, code: Code) {
        self.code.store(Arc::new(code));
        self.is_optimized.store(true, Ordering::Release);
    }
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Compiles `wasm`, a large one by the quick compiler if that takes it: then [`optimize`] has still to be called.
pub(crate) fn compile(
    engines: &Engines,
    config: &HostConfig,
    version: PolicyVersion,
    wasm: &[u8],
) -> Result<Arc<Compiled>, Refusal> {
    if wasm.len() >= config.baseline_bytes_min {
        match compile_as(Tier::Baseline, engines, config, wasm) {
            Ok(code) => return Ok(Compiled::new(version, code)),
            // It does not know all instructions. If that is not the reason, the other will say so.
            Err(refusal) => {
                tracing::info!(policy = %version, %refusal, "not compiled by the baseline compiler");
            }
        }
    }
    Ok(Compiled::new(version, compile_as(Tier::Optimized, engines, config, wasm)?))
}

/// Compiles `wasm`, which `compiled` was made of, once more: instances made from now on are faster.
pub(crate) fn optimize(engines: &Engines, config: &HostConfig, compiled: &Compiled, wasm: &[u8]) {
    match compile_as(Tier::Optimized, engines, config, wasm) {
        Ok(code) => {
            compiled.improve(code);
            tracing::info!(policy = %compiled.version, "optimized");
        }
        Err(refusal) => tracing::warn!(policy = %compiled.version, %refusal, "not optimized"),
    }
}

/// Compiles on a thread of its own, which yields to all others, and tries whether the code can be instantiated.
fn compile_as(tier: Tier, engines: &Engines, config: &HostConfig, wasm: &[u8]) -> Result<Code, Refusal> {
    let engine = engines.of(tier).map_err(|error| Refusal::Compile(error.to_string()))?;
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
    link(tier, engine, config, &component)
}

fn link(tier: Tier, engine: &Engine, config: &HostConfig, component: &Component) -> Result<Code, Refusal> {
    check::world(&component.component_type(), engine)?;
    let types = |error: wasmtime::Error| Refusal::Types(bounded(&format!("{error:#}")));
    let pre = Linker::new(engine).instantiate_pre(component).map_err(types)?;
    let optional = check::optional(component);
    let code = Code { tier, pre: PolicyPre::new(pre).map_err(types)?, optional };
    // Types are compared when an instance is made: nothing shall be found wrong later.
    match Instance::create(&code, config) {
        Ok(mut instance) => match instance.check_optional() {
            Ok(()) => Ok(code),
            Err(error) => Err(types(error)),
        },
        Err(PolicyFailure::Instantiate(text)) => Err(Refusal::Types(text)),
        Err(other) => Err(Refusal::Instantiate(other)),
    }
}
