//! What one instance may hold, and what is known of the call that runs in it: the data of its store.

use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::config::HostConfig;
use crate::deadline::{Deadline, thread_cpu};

/// Core modules in one component. An embedded interpreter with its adapters has about twenty.
pub(crate) const CORE_INSTANCES_MAX: u32 = 64;
/// Linear memories in one component.
pub(crate) const MEMORIES_MAX: u32 = 2;
/// Tables in one component.
pub(crate) const TABLES_MAX: u32 = 4;

/// The data of an instance's store.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) deadline: Deadline,
    memory_bytes_max: usize,
    memory_bytes: usize,
    growing_bytes: usize,
    table_elements_max: usize,
    refused: bool,
}

impl Limits {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            deadline: Deadline::default(),
            memory_bytes_max: config.memory_bytes_max,
            memory_bytes: 0,
            growing_bytes: 0,
            table_elements_max: config.table_elements_max,
            refused: false,
        }
    }

    /// A call begins.
    pub(crate) fn start(&mut self, budget: std::time::Duration) {
        self.deadline.start(budget);
        self.refused = false;
    }

    /// Whether the running call was refused memory.
    pub(crate) fn memory_refused(&self) -> bool {
        self.refused
    }

    /// The memory cap.
    pub(crate) fn memory_bytes_max(&self) -> usize {
        self.memory_bytes_max
    }

    /// Whether the instance is so full that it will soon be refused memory: better replaced while it still answers.
    pub(crate) fn nearly_full(&self) -> bool {
        self.memory_bytes > self.memory_bytes_max / 8 * 7
    }

    /// A tick falls into the running call.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        if self.deadline.is_over(thread_cpu()) {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Continue(1)
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.growing_bytes = 0;
        let more = desired.saturating_sub(current);
        let total = self.memory_bytes.saturating_add(more);
        // A maximum below the cap is the module's own business: it knows that growing may fail there.
        if total > self.memory_bytes_max {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.growing_bytes = more;
        self.memory_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory_bytes = self.memory_bytes.saturating_sub(std::mem::take(&mut self.growing_bytes));
        Ok(())
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max && maximum.is_none_or(|maximum| desired <= maximum))
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX as usize
    }

    fn tables(&self) -> usize {
        TABLES_MAX as usize
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX as usize
    }
}
