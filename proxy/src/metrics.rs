//! What is counted and timed. Families stand in one place, so that the reference can be generated from them.
//!
//! Labels are bounded: pool, worker and dp rank come from config and discovery, all others from fixed lists. Never a
//! prompt, a path or a request id.

mod families;
mod gauges;

pub use families::{Metrics, Outcome, PoolMetrics, TargetMetrics};
pub use gauges::render;
pub(crate) use gauges::serving_name;
