//! The compilers, and the pools of memory that instances live in: one engine for each compiler.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::config::HostConfig;
use crate::error::HostError;
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};

/// Which compiler made a policy's code. Later ones make faster code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Winch: one pass, in a tenth of the time. A policy of many megabytes, as one with a JavaScript engine in it, would else
    /// take half a minute to upload.
    Baseline,
    /// Cranelift.
    Optimized,
}

impl Tier {
    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Optimized => "optimized",
        }
    }
}

/// The engines of a host. The baseline one is set up when it is first wanted.
pub(crate) struct Engines {
    config: HostConfig,
    optimized: Engine,
    baseline: OnceLock<Engine>,
}

impl Engines {
    /// Within these bounds, each.
    pub(crate) fn new(config: &HostConfig) -> Result<Self, HostError> {
        let optimized = build(config, Tier::Optimized)?;
        Ok(Self { config: config.clone(), optimized, baseline: OnceLock::new() })
    }

    /// That of a tier.
    pub(crate) fn of(&self, tier: Tier) -> Result<&Engine, HostError> {
        if tier == Tier::Optimized {
            return Ok(&self.optimized);
        }
        if self.baseline.get().is_none() {
            let engine = build(&self.config, tier)?;
            // Somebody else may have been quicker.
            let _ = self.baseline.set(engine);
        }
        Ok(self.baseline.get().unwrap_or(&self.optimized))
    }

    /// Has calls that run in any of them looked at.
    pub(crate) fn increment_epoch(&self) {
        self.optimized.increment_epoch();
        if let Some(baseline) = self.baseline.get() {
            baseline.increment_epoch();
        }
    }
}

fn build(config: &HostConfig, tier: Tier) -> Result<Engine, HostError> {
    let instances = config.instances_max.max(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .total_memories(instances.saturating_mul(MEMORIES_MAX))
        .max_memories_per_component(MEMORIES_MAX)
        .max_memory_size(config.memory_bytes_max)
        .total_tables(instances.saturating_mul(TABLES_MAX))
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(config.table_elements_max)
        .max_component_instance_size(4 << 20);

    let mut settings = Config::new();
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .concurrency_support(false);
    match tier {
        Tier::Baseline => settings.strategy(Strategy::Winch),
        // Decisions are replayed elsewhere, to the same end. Only the bits of a NaN may differ between kinds of processors, which no
        // comparison sees: to make them the same after each operation takes a policy in floating point up to twice the time.
        Tier::Optimized => settings.strategy(Strategy::Cranelift).relaxed_simd_deterministic(true),
    };
    Engine::new(&settings).map_err(|error| HostError::Setup(format!("{error:#}")))
}
