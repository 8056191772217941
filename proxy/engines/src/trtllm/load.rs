//! The load of each rank, from the shim.

use std::collections::BTreeMap;

use rankwise_core::policy::UNKNOWN;
use rankwise_core::target::EngineReport;
use serde::Deserialize;

use crate::discovery::RANKS_MAX;

/// The path to ask. A bare server answers 404, and its load stays unknown: its own `/metrics` hands out each figure once.
pub const PATH: &str = "/rankwise/loads";

#[derive(Deserialize)]
struct Loads {
    loads: Vec<Load>,
}

#[derive(Deserialize)]
struct Load {
    dp_rank: u32,
    #[serde(default)]
    running: Option<u32>,
    #[serde(default)]
    waiting: Option<u32>,
    #[serde(default)]
    kv_permille: Option<u32>,
}

/// What the answer says about each rank; a figure that it does not tell is [`UNKNOWN`].
pub fn reports(body: &[u8]) -> BTreeMap<u32, EngineReport> {
    let Ok(answer) = serde_json::from_slice::<Loads>(body) else { return BTreeMap::new() };
    let told = |figure: Option<u32>| figure.map_or(UNKNOWN, |figure| figure.min(UNKNOWN - 1));
    let report = |load: Load| {
        let report = EngineReport {
            running: told(load.running),
            waiting: told(load.waiting),
            kv_permille: told(load.kv_permille),
        };
        (load.dp_rank, report)
    };
    answer.loads.into_iter().take(RANKS_MAX).map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_keeps_to_itself_is_unknown() {
        let reports =
            reports(br#"{"loads":[{"dp_rank":0,"running":3,"waiting":1},{"dp_rank":1,"running":null}]}"#);
        assert_eq!(reports[&0], EngineReport { running: 3, waiting: 1, kv_permille: UNKNOWN });
        assert_eq!(reports[&1], EngineReport { running: UNKNOWN, waiting: UNKNOWN, kv_permille: UNKNOWN });
        for body in [&b"[]"[..], b"{}", b"{\"loads\":[{\"dp_rank\":-1}]}", b"<html>"] {
            assert!(super::reports(body).is_empty());
        }
    }
}
