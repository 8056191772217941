//! Workers that come back with other ranks than they had.

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{
    Gate, Proxy, Reply, Wire, address_of, chat, completion, fast, fleet, streamed, wait_until,
};

const CHAT: &str = "/v1/chat/completions";

/// A server of four ranks, busy and with something cached, is replaced by one of two on the same port. Engines that say themselves what
/// they are are asked again; of others config says it, as a file does here.
async fn leaves_nothing_behind(wire: Wire) {
    let slow = FleetSpec { workers: 1, ranks: 4, ..FleetSpec::default() };
    let (before, after) =
        (fleet(wire.spec(slow)).await, fleet(wire.spec(FleetSpec { workers: 1, ranks: 2, ..fast() })).await);
    let mut gate = Gate::before(address_of(&before, 0)).await;
    let url = format!("http://{}", gate.address());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("workers.json");
    let says = |fleet: &Fleet| {
        let entry = wire.entry(&fleet.workers()[0], &url);
        let next = path.with_extension("next");
        std::fs::write(&next, json!({ "workers": [entry] }).to_string()).expect("a file");
        std::fs::rename(next, &path).expect("the same folder");
    };
    says(&before);
    let pool = json!({
        "tokenizer": before.workers()[0].tokenizer_folder(), "discovery": { "file": path, "interval": "50ms", "handover_timeout": "10ms" },
    });
    let config = json!({ "pools": [pool] });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    wait_until("four ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 4 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 0..8 {
        assert_eq!(proxy.client.post("/v1/completions", &completion(seed, 100)).await.status, 200);
    }
    proxy.settled(&before).await;
    // One more on each, still running when the worker goes.
    let mut clients = tokio::task::JoinSet::new();
    for seed in 10..14 {
        let mut body = streamed(completion(seed, 100));
        body["max_tokens"] = 20_000.into();
        // An answer that had not begun would be a 502.
        let begun = proxy.client.open(Method::POST, "/v1/completions", &[], body.to_string()).await;
        clients.spawn(Reply::of(begun));
    }
    wait_until("every rank to be busy", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 1)
    })
    .await;

    gate.shut().await;
    says(&after);
    if wire.is_told_by_config() {
        // What the new server tells once, the former feed must not take.
        wait_until("the former to be gone", async || proxy.ranks().await.is_empty()).await;
    }
    gate.lead_to(address_of(&after, 0)).await;
    wait_until("two ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    for reply in clients.join_all().await {
        assert!(reply.events().last().is_some_and(|event| event == "[DONE]"), "{}", reply.text());
        assert!(reply.text().contains("\"error\""), "{}", reply.text());
    }
    proxy.settled(&after).await;
    let page = proxy.metrics().await;
    assert!(!page.contains("dp_rank=\"2\"") && !page.contains("dp_rank=\"3\""), "series outlive their rank");
    for rank in proxy.ranks().await {
        let ledger = &rank["ledger"];
        assert_eq!(
            (&ledger["running"], &ledger["active_blocks"], &ledger["pending_blocks"]),
            (&0.into(), &0.into(), &0.into())
        );
    }
    assert_eq!(
        proxy.metric("rankwise_requests_total", "outcome=\"ok\"").await,
        0.0,
        "counted by the one before"
    );
    // What the one before had cached is nobody's.
    for seed in 0..4 {
        let reply = proxy.client.post("/v1/completions", &completion(seed, 100)).await;
        assert_eq!((reply.status.as_u16(), reply.number("x-rankwise-overlap-blocks")), (200, 0));
    }
    before.stop().await;
    after.stop().await;
}

#[tokio::test]
async fn a_vllm_that_restarts_with_fewer_ranks() {
    leaves_nothing_behind(Wire::Vllm).await;
}

#[tokio::test]
async fn an_sglang_that_restarts_with_fewer_ranks() {
    leaves_nothing_behind(Wire::Sglang).await;
}

#[tokio::test]
async fn a_trtllm_behind_the_shim_that_restarts_with_fewer_ranks() {
    leaves_nothing_behind(Wire::Trtllm).await;
}

#[tokio::test]
async fn a_trtllm_that_is_drained_and_restarts_with_fewer_ranks() {
    leaves_nothing_behind(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn a_worker_behind_dynamo_that_restarts_with_fewer_ranks() {
    leaves_nothing_behind(Wire::Dynamo).await;
}

#[tokio::test]
async fn a_worker_that_changes_unnoticed_is_noticed_by_what_it_says() {
    // Its port is never closed for long enough to be seen, and no request meets the change.
    let (before, after) = (
        fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await,
        fleet(FleetSpec { workers: 1, ranks: 3, ..fast() }).await,
    );
    let mut gate = Gate::before(address_of(&before, 0)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let config = "limits:\n  upstream: { probe_interval: 200ms, load_interval: 1m }\n";
    let proxy = Proxy::configured_with(config, &["--worker".to_owned(), flag]).await;
    wait_until("two ranks", async || proxy.ranks().await.len() == 2).await;
    gate.lead_to(address_of(&after, 0)).await;
    wait_until("three ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 3 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    assert_eq!(proxy.client.post(CHAT, &chat("hello")).await.status, 200);
    before.stop().await;
    after.stop().await;
}
