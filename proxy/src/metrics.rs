//! What is counted and timed. Names, help and labels stand beside each other in literals; a test
//! compares them with `docs/metrics.md`.
//!
//! Labels are bounded: pool, worker and dp rank come from config and discovery, all others from fixed lists. Never a
//! prompt, a path or a request id.

mod builder;
mod decisions;
mod families;
mod gauges;
mod outcome;
mod pools;
mod targets;
#[cfg(test)]
mod tests;

pub use decisions::{DecisionMetrics, LaneMetrics};
pub use families::Metrics;
pub use gauges::render;
pub(crate) use gauges::serving_name;
pub use outcome::{Attempt, Outcome, PrefillOutcome, Way};
pub use pools::PoolMetrics;
pub use targets::TargetMetrics;
