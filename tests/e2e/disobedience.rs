//! Ranks that do not do what they are pinned for, and ranks whose events do not show it.

use rankwise_sim::{Fault, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, UNTRUSTED, Wire, all_at_once, all_in, chat, completion, fast, fleet, is_whole, out, two_workers,
    wait_until,
};

async fn is_not_admitted(wire: Wire) {
    let fleet = fleet(wire.spec(FleetSpec { workers: 2, ranks: 2, ..fast() })).await;
    fleet.workers()[0].fault(Fault::IgnorePin);
    let proxy = wire.starting(&fleet, json!({ "limits": { "health": { "slow_start": "1ms" } } })).await;
    wait_until("it to be found out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.iter().all(|((worker, _), why)| worker == "w0" && why == "disobeyed")
    })
    .await;
    let ranks = proxy.ranks().await;
    let error = ranks[0]["health"]["error"].as_str().unwrap_or_default();
    assert_eq!(error, "rank 1 served what was pinned to rank 0");
    assert!(proxy.metric("rankwise_rank_proofs_total", "result=\"disobeyed\"").await >= 2.0);
    assert!(proxy.log().iter().any(|line| line.contains("pin disobeyed")));
    for _ in 0..6 {
        assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-worker"), "w1");
    }
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_of_vllm_that_disobeys_the_pin_is_not_admitted() {
    is_not_admitted(Wire::Vllm).await;
}

#[tokio::test]
async fn a_rank_of_sglang_that_disobeys_the_pin_is_not_admitted() {
    is_not_admitted(Wire::Sglang).await;
}

#[tokio::test]
async fn a_rank_of_trtllm_behind_the_shim_that_disobeys_the_pin_is_not_admitted() {
    is_not_admitted(Wire::Trtllm).await;
}

#[tokio::test]
async fn a_rank_of_trtllm_that_is_drained_and_disobeys_the_pin_is_not_admitted() {
    is_not_admitted(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn a_rank_behind_dynamo_that_disobeys_the_pin_is_not_admitted() {
    is_not_admitted(Wire::Dynamo).await;
}

#[tokio::test]
async fn a_rank_that_begins_to_disobey_is_found_by_what_its_events_do_not_tell() {
    let fleet = two_workers().await;
    let config = "limits:\n  upstream: { probe_interval: 100ms }\n  health: { window: 1ms }\n";
    // One that has prompts read: what they consist of is expected to be told.
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    fleet.workers()[0].fault(Fault::IgnorePin);
    let mut seed = 0;
    // A thousand blocks of each rank have to stay untold before it is doubted.
    wait_until("both ranks to be found out", async || {
        let bodies = (0..40).map(|number| completion(seed + number, 800)).collect();
        seed += 40;
        let replies = all_at_once(&proxy, "/v1/completions", bodies, 8).await;
        assert!(replies.iter().all(is_whole));
        let out = out(&proxy).await;
        out.len() == 2 && out.iter().all(|((worker, _), why)| worker == "w0" && why == "disobeyed")
    })
    .await;
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_whose_events_tell_nothing_is_not_trusted() {
    for wire in [Wire::Vllm, Wire::Sglang, Wire::Trtllm, Wire::TrtllmDrained, Wire::Dynamo] {
        let fleet = fleet(wire.spec(FleetSpec { workers: 1, ranks: 2, ..fast() })).await;
        fleet.workers()[0].fault(Fault::SilentRank(1));
        let proxy = wire.serving(&fleet, json!({})).await;
        let ranks = proxy.ranks().await;
        let untrusted = |rank: &Value| rank["condition"].as_u64().unwrap_or(0) & UNTRUSTED != 0;
        assert!(!untrusted(&ranks[0]) && untrusted(&ranks[1]), "{wire:?}: {ranks:?}");
        let proof = json!({ "pin": null, "events": false, "cached_tokens": true });
        assert_eq!(ranks[1]["health"]["proof"], proof, "{wire:?}");
        assert_eq!(ranks[1]["availability"], "ready", "{wire:?}: it serves");
        fleet.workers()[0].heal();
        wait_until("it to be trusted", async || !proxy.ranks().await.iter().any(untrusted)).await;
        fleet.stop().await;
    }
}
