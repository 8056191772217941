use super::*;
use crate::testing::recording;

#[test]
fn the_recorded_load_is_told_per_rank() {
    let reports = reports(&recording("metrics_under_load.txt"));
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[&0], EngineReport { running: 8, waiting: 3, kv_permille: 891 });
    assert_eq!(reports[&1], EngineReport { running: 3, waiting: 0, kv_permille: 344 });
}

#[test]
fn an_idle_server_is_idle() {
    for report in reports(&recording("metrics_idle.txt")).values() {
        assert_eq!((report.running, report.waiting), (0, 0));
    }
}

#[test]
fn what_is_not_told_is_unknown() {
    let page = b"vllm:num_requests_running 2.0\nvllm:num_requests_waiting{engine=\"x\"} 1\n\
        vllm:num_requests_waiting{engine=\"3\"} NaN\nvllm:gpu_cache_usage_perc{engine=\"3\"} 0.5\n";
    let reports = reports(page);
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[&0], EngineReport { running: 2, waiting: UNKNOWN, kv_permille: UNKNOWN });
    assert_eq!(reports[&3], EngineReport { running: UNKNOWN, waiting: UNKNOWN, kv_permille: 500 });
}

#[test]
fn sleep_is_told_by_its_kind() {
    assert!(!is_asleep(&recording("metrics_idle.txt")));
    assert!(!is_asleep(b"vllm:num_requests_running 2.0\n"));
    let page = |offloaded: &str, discarded: &str| {
        let state = |name: &str, value: &str| {
            format!(
                "vllm:engine_sleep_state{{engine=\"1\",model_name=\"m\",sleep_state=\"{name}\"}} {value}\n"
            )
        };
        state("awake", "1.0") + &state("weights_offloaded", offloaded) + &state("discard_all", discarded)
    };
    for (offloaded, discarded, asleep) in [("0.0", "0.0", false), ("1.0", "0.0", true), ("0.0", "1.0", true)]
    {
        assert_eq!(is_asleep(page(offloaded, discarded).as_bytes()), asleep, "{offloaded} {discarded}");
    }
}
