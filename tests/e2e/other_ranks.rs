//! Workers that come back with other ranks than they had.

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{Gate, Proxy, chat, completion, fast, fleet, streamed, wait_until};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_worker_that_restarts_with_fewer_ranks_leaves_nothing_behind() {
    let slow = FleetSpec { workers: 1, ranks: 4, ..FleetSpec::default() };
    let (before, after) = (fleet(slow).await, fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await);
    let address =
        |fleet: &Fleet| fleet.workers()[0].url().trim_start_matches("http://").parse().expect("an address");
    let mut gate = Gate::before(address(&before)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let proxy = Proxy::configured_with("", &["--worker".to_owned(), flag]).await;
    wait_until("four ranks", async || proxy.ranks().await.len() == 4).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 0..8 {
        assert_eq!(proxy.client.post("/v1/completions", &completion(seed, 100)).await.status, 200);
    }
    // One more on each, still running when the worker goes.
    let mut clients = tokio::task::JoinSet::new();
    for seed in 10..14 {
        let (client, mut body) = (proxy.client, streamed(completion(seed, 100)));
        body["max_tokens"] = 20_000.into();
        clients.spawn(async move { client.post("/v1/completions", &body).await });
    }
    wait_until("every rank to be busy", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 1)
    })
    .await;

    gate.shut().await;
    gate.lead_to(address(&after)).await;
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
async fn a_worker_that_changes_unnoticed_is_noticed_by_what_it_says() {
    // Its port is never closed for long enough to be seen, and no request meets the change.
    let (before, after) = (
        fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await,
        fleet(FleetSpec { workers: 1, ranks: 3, ..fast() }).await,
    );
    let address =
        |fleet: &Fleet| fleet.workers()[0].url().trim_start_matches("http://").parse().expect("an address");
    let mut gate = Gate::before(address(&before)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let config = "limits:\n  upstream: { probe_interval: 200ms, load_interval: 1m }\n";
    let proxy = Proxy::configured_with(config, &["--worker".to_owned(), flag]).await;
    wait_until("two ranks", async || proxy.ranks().await.len() == 2).await;
    gate.lead_to(address(&after)).await;
    wait_until("three ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 3 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    assert_eq!(proxy.client.post(CHAT, &chat("hello")).await.status, 200);
    before.stop().await;
    after.stop().await;
}
