//! What is counted and timed. Names, help and labels stand beside each other in literals; a test
//! compares them with `docs/metrics.md`.
//!
//! Labels are bounded: pool, worker and dp rank come from config and discovery, all others from fixed lists. Never a
//! prompt, a path or a request id.

mod decisions;
mod families;
mod gauges;
#[cfg(test)]
mod tests;

pub use decisions::{DecisionMetrics, LaneMetrics};
pub use families::{Attempt, Metrics, Outcome, PoolMetrics, TargetMetrics};
pub use gauges::render;
pub(crate) use gauges::serving_name;
