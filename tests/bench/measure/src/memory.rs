//! Bytes that are allocated and not yet freed, by all threads of the process.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// The system's allocator, counting. `#[global_allocator] static ALLOCATOR: &CountingAllocator = COUNTING;`
pub type CountingAllocator = StatsAlloc<System>;

/// The one that [`live_bytes`] reads.
pub static COUNTING: &CountingAllocator = &INSTRUMENTED_SYSTEM;

/// Bytes in use, 0 for ever if the binary has not installed [`COUNTING`].
pub fn live_bytes() -> i64 {
    let stats = COUNTING.stats();
    // Growing and shrinking in place is booked under allocated and freed as well.
    stats.bytes_allocated as i64 - stats.bytes_deallocated as i64
}
