//! The load of each rank, from `GET /metrics`.

use std::collections::BTreeMap;

use rankwise_core::policy::UNKNOWN;
use rankwise_core::target::EngineReport;

use crate::discovery::RANKS_MAX;
use crate::prometheus::{self, Sample};

/// The path to ask.
pub const PATH: &str = "/metrics";

const RUNNING: &str = "vllm:num_requests_running";
const WAITING: &str = "vllm:num_requests_waiting";
const USAGE: &str = "vllm:kv_cache_usage_perc";
/// What the usage was called before.
const USAGE_OLD: &str = "vllm:gpu_cache_usage_perc";
const SLEEP: &str = "vllm:engine_sleep_state";

/// What the page says about each global rank; a figure that it does not tell is [`UNKNOWN`].
pub fn reports(page: &[u8]) -> BTreeMap<u32, EngineReport> {
    let mut reports = BTreeMap::new();
    for sample in prometheus::samples(page, &[RUNNING, WAITING, USAGE, USAGE_OLD]) {
        let Some(rank) = rank(&sample) else { continue };
        if reports.len() >= RANKS_MAX && !reports.contains_key(&rank) {
            continue;
        }
        let report = reports.entry(rank).or_insert(EngineReport {
            running: UNKNOWN,
            waiting: UNKNOWN,
            kv_permille: UNKNOWN,
        });
        match sample.name {
            RUNNING => report.running = count(sample.value),
            WAITING => report.waiting = count(sample.value),
            _ => report.kv_permille = count((sample.value * 1000.0).round()),
        }
    }
    reports
}

/// Whether the page says that engines behind it sleep (`POST /sleep`): they hold no cache, and answer nothing until they are woken up.
pub fn is_asleep(page: &[u8]) -> bool {
    // Two kinds of sleep, each 0 or 1; a third state says that there is none.
    let sleeps = |sample: &Sample<'_>| sample.label("sleep_state").is_some_and(|state| state != "awake");
    prometheus::samples(page, &[SLEEP]).any(|sample| sleeps(&sample) && sample.value > 0.0)
}

/// The global rank of a sample; a server too old to tell has one.
pub(super) fn rank(sample: &Sample<'_>) -> Option<u32> {
    sample.label("engine").map_or(Some(0), |engine| engine.parse().ok())
}

fn count(value: f64) -> u32 {
    // A cast saturates; UNKNOWN itself is no count.
    if value.is_finite() && value >= 0.0 { (value as u32).min(UNKNOWN - 1) } else { UNKNOWN }
}

#[cfg(test)]
mod tests;
