//! What the benches share: the workload, clocks, percentiles, figures; and the KV index under measurement, so that its rivals
//! can be measured beside it from a workspace of their own.
//!
//! A binary that reports bytes installs [`memory::CountingAllocator`] as its global allocator.

#![forbid(unsafe_code)]

pub mod contender;
pub mod cpu;
pub mod figure;
pub mod memory;
mod ours;
pub mod race;
pub mod samples;
pub mod trace;
pub mod workload;

pub use ours::{Ours, cache_event, fleet_of, prompt_of};
