//! A host that is gone without a word: it does not even refuse.

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Gate, Proxy, address_of, all_in, chat, failures, fast, fleet, is_whole, metric, out, wait_until,
};

/// Two workers of two ranks; the way to the first can be cut.
async fn behind_a_gate(upstream: Value) -> (Fleet, Gate, Proxy) {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let gate = Gate::before(address_of(&fleet, 0)).await;
    let urls = [format!("http://{}", gate.address()), fleet.workers()[1].url()];
    let workers =
        (0..2).map(|number| json!({ "name": format!("w{number}"), "url": urls[number], "engine": "vllm" }));
    let config = json!({
        "pools": [{ "workers": workers.collect::<Vec<_>>() }],
        "limits": { "upstream": upstream, "health": { "slow_start": "1ms", "proof_timeout": "2s" } },
    });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    (fleet, gate, proxy)
}

async fn is_lost(proxy: &Proxy) {
    wait_until("the worker to be lost", async || {
        proxy.log().iter().any(|line| line.contains("worker lost") && line.contains("w0"))
    })
    .await;
    let out = out(proxy).await;
    assert!(out.len() == 2 && out.keys().all(|(worker, _)| worker == "w0"), "{out:?}");
}

#[tokio::test]
async fn the_first_connection_in_vain_takes_all_ranks_out_and_no_request_with_it() {
    // The proxy's own looks are far apart: requests are the first to notice.
    let unwatched = json!({ "probe_interval": "1m", "load_interval": "1m", "connect_timeout": "500ms" });
    let (fleet, mut gate, proxy) = behind_a_gate(unwatched).await;
    assert_eq!(failures(&proxy, &chat("hello"), 8).await, 0);

    gate.swallow().await;
    for _ in 0..8 {
        let reply = proxy.client.chat(&chat("hello")).await;
        assert!(is_whole(&reply), "{}", reply.text());
        assert_eq!(reply.header("x-rankwise-worker"), "w1");
    }
    let page = proxy.metrics().await;
    let tried =
        metric(&page, "rankwise_upstream_attempts_total", &["worker=\"w0\"", "result=\"connect_failed\""]);
    assert_eq!(tried, 1.0, "the others knew");
    let taken_out =
        metric(&page, "rankwise_ranks_taken_out_total", &["worker=\"w0\"", "reason=\"unreachable\""]);
    assert_eq!(taken_out, 2.0, "one address serves both");
    is_lost(&proxy).await;

    gate.open().await;
    all_in(&proxy).await;
    let mut served = Vec::new();
    for _ in 0..4 {
        served.push(proxy.client.chat(&chat("hello")).await.header("x-rankwise-worker").to_owned());
    }
    assert!(served.contains(&"w0".to_owned()), "{served:?}");
    fleet.stop().await;
}

/// A question may take long, connecting may not.
#[tokio::test]
async fn a_look_in_vain_loses_the_worker_when_the_time_to_connect_is_over() {
    let watched = json!({ "probe_interval": "100ms", "probe_timeout": "10m", "connect_timeout": "300ms" });
    let (fleet, mut gate, proxy) = behind_a_gate(watched).await;
    gate.swallow().await;
    is_lost(&proxy).await;
    assert_eq!(failures(&proxy, &chat("hello"), 8).await, 0);
    gate.open().await;
    all_in(&proxy).await;
    assert_eq!(failures(&proxy, &chat("hello"), 8).await, 0);
    fleet.stop().await;
}
