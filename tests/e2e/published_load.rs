//! Ranks of SGLang that publish their load: it is known as it changes, whatever the worker answers when it is asked.

use http::{Method, Response};
use hyper::body::Incoming;
use rankwise_sim::{EngineWire, Fault, Fleet, FleetSpec};
use serde_json::Value;

use crate::harness::{Client, Proxy, address_of, completion, fleet, streamed, wait_until};

const COMPLETIONS: &str = "/v1/completions";

fn publishing(workers: usize) -> FleetSpec {
    FleetSpec {
        engine: EngineWire::Sglang,
        workers,
        ranks: 2,
        publish_load: true,
        speed: 0.5,
        ..FleetSpec::default()
    }
}

/// Requests of others than the proxy, which run on a rank for as long as they are held.
async fn others(fleet: &Fleet, worker: usize, rank: usize, count: u64) -> Vec<Response<Incoming>> {
    let mut held = Vec::new();
    for seed in 0..count {
        let mut body = streamed(completion(seed, 100));
        body["max_tokens"] = 20_000.into();
        let rank = [("x-data-parallel-rank", &*rank.to_string())];
        let client = Client::new(address_of(fleet, worker));
        held.push(client.open(Method::POST, COMPLETIONS, &rank, body.to_string()).await);
    }
    held
}

/// What the proxy believes each rank to be running, by the engine's word.
async fn running(proxy: &Proxy) -> Vec<Option<u64>> {
    proxy.ranks().await.iter().map(|rank| rank["engine"]["running"].as_u64()).collect()
}

async fn until_running(proxy: &Proxy, expected: &[u64]) {
    let expected: Vec<_> = expected.iter().copied().map(Some).collect();
    wait_until(&format!("the ranks to run {expected:?}"), async || running(proxy).await == expected).await;
}

#[tokio::test]
async fn the_load_of_a_rank_is_known_without_asking() {
    let fleet = fleet(publishing(2)).await;
    // Asked once, at the start, and no more.
    let proxy = Proxy::configured(&fleet, "limits:\n  upstream: { load_interval: 1h }\n", &[]).await;
    until_running(&proxy, &[0, 0, 0, 0]).await;
    let (first, second) = (others(&fleet, 0, 1, 2).await, others(&fleet, 1, 0, 1).await);
    until_running(&proxy, &[0, 2, 1, 0]).await;
    let ranks = proxy.ranks().await;
    assert!(ranks[1]["engine"]["kv_permille"].as_u64() > Some(0), "{}", ranks[1]);
    assert_eq!(ranks[0]["engine"]["waiting"], 0);
    drop(first);
    until_running(&proxy, &[0, 0, 1, 0]).await;
    drop(second);
    until_running(&proxy, &[0, 0, 0, 0]).await;
    assert!(proxy.metric("rankwise_load_messages_total", "worker=\"w0\"").await >= 4.0);
    fleet.stop().await;
}

/// What it answers is old, and would be believed if nobody spoke by itself.
#[tokio::test]
async fn what_a_rank_says_by_itself_counts_for_more_than_an_older_answer() {
    let fleet = fleet(publishing(1)).await;
    let proxy = Proxy::configured(&fleet, "limits:\n  upstream: { load_interval: 10ms }\n", &[]).await;
    until_running(&proxy, &[0, 0]).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::StaleMetrics);
    let _held = others(&fleet, 0, 0, 3).await;
    until_running(&proxy, &[3, 0]).await;
    let asked = || worker.arrivals().iter().filter(|arrival| arrival.path.starts_with("/v1/loads")).count();
    let before = asked();
    wait_until("it to be asked many times more", async || {
        assert_eq!(running(&proxy).await, [Some(3), Some(0)]);
        asked() > before + 10
    })
    .await;
    fleet.stop().await;
}

/// A restarted rank publishes on the same port: its feed comes back by itself, and nothing of the former load is left.
#[tokio::test]
async fn a_rank_that_was_restarted_is_heard_again() {
    let fleet = fleet(publishing(1)).await;
    let proxy = Proxy::configured(&fleet, "limits:\n  upstream: { load_interval: 1h }\n", &[]).await;
    let held = others(&fleet, 0, 0, 3).await;
    until_running(&proxy, &[3, 0]).await;
    let worker = &fleet.workers()[0];
    worker.stop().await;
    wait_until("the worker to be lost", async || {
        proxy.ranks().await.iter().all(|rank| rank["engine"]["running"].is_null())
    })
    .await;
    drop(held);
    worker.start().await.expect("the same ports");
    proxy.all_ready(&fleet).await;
    let _held = others(&fleet, 0, 1, 2).await;
    until_running(&proxy, &[0, 2]).await;
    fleet.stop().await;
}

/// One that publishes nothing is asked.
#[tokio::test]
async fn the_others_are_asked() {
    let fleet = fleet(FleetSpec { publish_load: false, ..publishing(1) }).await;
    let proxy = Proxy::configured(&fleet, "limits:\n  upstream: { load_interval: 10ms }\n", &[]).await;
    let _held = others(&fleet, 0, 1, 2).await;
    until_running(&proxy, &[0, 2]).await;
    assert_eq!(proxy.metric("rankwise_load_messages_total", "").await, 0.0);
    let ranks: Vec<Value> = proxy.ranks().await;
    assert!(ranks.iter().all(|rank| rank["engine"]["age_ms"].is_number()), "{ranks:?}");
    fleet.stop().await;
}
