//! The compiler and the pool of memory that instances live in.

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::config::HostConfig;
use crate::error::HostError;
use crate::limits::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};

/// An engine within these bounds.
pub(crate) fn build(config: &HostConfig) -> Result<Engine, HostError> {
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
        .strategy(Strategy::Cranelift)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        // Decisions are replayed elsewhere: the same bits on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false);
    Engine::new(&settings).map_err(|error| HostError::Setup(format!("{error:#}")))
}
