//! The load of each rank, from `GET /v1/loads`: read from shared memory, as of the last prefill or up to 15 decode
//! steps ago. Ranks may publish it besides.

mod published;

use std::collections::BTreeMap;

use rankwise_core::policy::UNKNOWN;
use rankwise_core::target::EngineReport;
use serde::Deserialize;

use crate::discovery::RANKS_MAX;
pub use published::{Published, published};

/// The path to ask.
pub const PATH: &str = "/v1/loads?include=core";

#[derive(Deserialize)]
struct Loads {
    loads: Vec<Load>,
}

#[derive(Deserialize)]
struct Load {
    dp_rank: u32,
    num_running_reqs: Option<f64>,
    num_waiting_reqs: Option<f64>,
    token_usage: Option<f64>,
}

/// What the answer says about each rank; a figure that it does not tell is [`UNKNOWN`], and nothing is told by what is no
/// such answer.
pub fn reports(body: &[u8]) -> BTreeMap<u32, EngineReport> {
    let Ok(answer) = serde_json::from_slice::<Loads>(body) else { return BTreeMap::new() };
    let report = |load: Load| {
        let report = EngineReport {
            running: count(load.num_running_reqs),
            waiting: count(load.num_waiting_reqs),
            kv_permille: count(load.token_usage.map(|share| (share * 1000.0).round())),
        };
        (load.dp_rank, report)
    };
    answer.loads.into_iter().take(RANKS_MAX).map(report).collect()
}

fn count(value: Option<f64>) -> u32 {
    // A cast saturates; UNKNOWN itself is no count.
    value.filter(|value| *value >= 0.0).map_or(UNKNOWN, |value| (value as u32).min(UNKNOWN - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rank_tells_its_own() {
        let body = br#"{"timestamp":"t","version":"0.5.23","loads":[
            {"dp_rank":1,"num_running_reqs":3,"num_waiting_reqs":2,"token_usage":0.3437,"gen_throughput":0.0},
            {"dp_rank":0,"num_running_reqs":0,"num_waiting_reqs":null}]}"#;
        let reports = reports(body);
        assert_eq!(reports[&1], EngineReport { running: 3, waiting: 2, kv_permille: 344 });
        assert_eq!(reports[&0], EngineReport { running: 0, waiting: UNKNOWN, kv_permille: UNKNOWN });
        assert_eq!(reports.len(), 2);
    }

    #[test]
    fn other_answers_tell_nothing() {
        for body in
            [&b"{}"[..], b"[]", b"<html>", b"{\"loads\":[1]}", b"{\"loads\":[{\"dp_rank\":-1}]}", b"\xff"]
        {
            assert!(reports(body).is_empty());
        }
    }
}
