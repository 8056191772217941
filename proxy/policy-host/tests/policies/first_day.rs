//! Components built when the interface was settled run on every later host of 0.1, whatever columns and facts have been
//! appended since. They are never built again.

use rankwise_core::policy::{Column, Decision, Fact, PolicyRequest};
use rankwise_policy_host::{PolicyHost, Smoke, SmokeTable, ThreadPolicies};
use serde_json::{Value, json};

use super::guests::*;

const ROUND_ROBIN: &[u8] = include_bytes!("../../../../tests/data/first-day/round-robin.wasm");
const KV: &[u8] = include_bytes!("../../../../tests/data/first-day/kv.wasm");

/// What it decides for sequence 0, 1 and so on over 2 workers of 4 ranks, with every fact of today set.
fn decisions(host: &PolicyHost, wasm: &[u8], settings: &Value, count: u64) -> Vec<Decision> {
    let compiled = host.compile("first-day", wasm).expect("it compiles");
    let activation = host.activate(&compiled, &pool(), settings, &Smoke::example(), 1).expect("it fits");
    let table = SmokeTable::example(activation.needs());
    let mut policies = ThreadPolicies::new();
    let mut request = Smoke::example().request;
    for fact in Fact::ALL {
        let value = request.facts.get(fact).max(1);
        request.facts.set(fact, value);
    }
    (0..count)
        .map(|sequence| {
            let request = PolicyRequest { sequence, seed: sequence, ..request.clone() };
            let has_worker = |worker| table.workers.contains(&worker);
            policies.pick(&activation, &request, table.rows, &table.columns, has_worker).expect("it decides")
        })
        .collect()
}

#[test]
fn round_robin_takes_turns() {
    let host = host();
    let turns = |of: u32| (0..20).map(move |sequence| sequence % of);
    let workers = decisions(&host, ROUND_ROBIN, &json!({}), 20);
    assert_eq!(workers, turns(2).map(Decision::Worker).collect::<Vec<_>>());
    let ranks = decisions(&host, ROUND_ROBIN, &json!({ "pin": "rank" }), 20);
    assert_eq!(ranks, turns(8).map(Decision::Rank).collect::<Vec<_>>());
}

#[test]
fn kv_goes_where_the_prefix_is() {
    let host = host();
    // The last worker's first rank: 28 of 62 blocks, and nobody waits there.
    assert_eq!(decisions(&host, KV, &json!({}), 20), vec![Decision::Rank(4); 20]);
    let compiled = host.compile("first-day", KV).unwrap();
    let needs = activate(&host, &compiled).unwrap().needs().clone();
    assert!(needs.prompt && needs.columns.contains(&Column::DeviceOverlap));
}
