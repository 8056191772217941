//! Clients that are trusted to choose worker and rank: obeyed or refused, never something in between.

use std::collections::BTreeSet;

use http::Method;
use rankwise_sim::{Fault, Fleet, FleetSpec};
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{
    Proxy, Reply, arrival_of, arrivals, assert_pinned, chat, fast, fleet, refuse_connections, wait_until,
};

const CHAT: &str = "/v1/chat/completions";
const TRUSTING: &str = "listeners: [{ address: 127.0.0.1:0, trust_pins: true }]\n\
    limits:\n  upstream: { probe_interval: 1m, load_interval: 1m }\n";

/// Request headers.
type Headers<'a> = &'a [(&'a str, &'a str)];

async fn two_workers() -> Fleet {
    fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await
}

async fn ask(proxy: &Proxy, headers: Headers<'_>) -> Reply {
    proxy.client.send(Method::POST, CHAT, headers, chat("hello").to_string()).await
}

fn pin<'a>(worker: &'a str, rank: &'a str) -> [(&'a str, &'a str); 2] {
    [("x-rankwise-worker", worker), ("x-rankwise-dp-rank", rank)]
}

#[tokio::test]
async fn a_trusted_client_chooses_worker_and_rank() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, TRUSTING, &["--policy", "least-loaded"]).await;
    for (worker, name) in ["w0", "w1"].into_iter().enumerate() {
        for rank in 0..4 {
            let reply = ask(&proxy, &pin(name, &rank.to_string())).await;
            assert_eq!(assert_pinned(&fleet, &reply), (worker, rank));
            assert_eq!(reply.header("x-rankwise-policy"), "pinned");
            let arrival = arrival_of(&fleet, &reply);
            assert!(!arrival.headers.contains_key("x-rankwise-worker"), "{:?}", arrival.headers);
        }
    }
    assert_eq!(proxy.metric("rankwise_pinned_requests_total", "").await, 8.0);
    assert_eq!(proxy.metric("rankwise_requests_total", "outcome=\"ok\"").await, 8.0);
    // Without a choice the policy decides, as ever.
    assert!(ask(&proxy, &[]).await.header("x-rankwise-policy").starts_with("least-loaded@"));
    assert_eq!(proxy.metric("rankwise_pinned_requests_total", "").await, 8.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_without_a_rank_leaves_the_rank_to_its_engine() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, TRUSTING, &[]).await;
    let reply = ask(&proxy, &[("x-rankwise-worker", "w1"), ("x-data-parallel-rank", "2")]).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let arrival = arrival_of(&fleet, &reply);
    assert_eq!((arrival.worker, arrival.rank_headers().len()), (1, 0));
    fleet.stop().await;
}

#[tokio::test]
async fn a_pinned_request_is_booked() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, TRUSTING, &[]).await;
    fleet.workers()[1].fault(Fault::Stall);
    let client = proxy.client;
    let mut clients = JoinSet::new();
    clients.spawn(async move {
        let headers = pin("w1", "3");
        client.send(Method::POST, CHAT, &headers, chat("hello").to_string()).await.status
    });
    wait_until("it to arrive", async || arrivals(&fleet).len() == 1).await;
    let ranks = proxy.ranks().await;
    let booked: Vec<_> = ranks.iter().filter(|rank| rank["ledger"]["running"] == 1).collect();
    let [booked] = booked[..] else { panic!("{booked:?}") };
    assert_eq!((&booked["worker"], &booked["dp_rank"]), (&"w1".into(), &3.into()));
    clients.shutdown().await;
    wait_until("its end", async || proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0))
        .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_choice_that_cannot_be_obeyed_is_refused() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, TRUSTING, &[]).await;
    let cases: [(Headers<'_>, u16, &str); 7] = [
        (&pin("w2", "0"), 404, "x-rankwise-worker: pool main has no worker w2"),
        (&[("x-rankwise-worker", "")], 404, "has no worker"),
        (&pin("w0", "4"), 400, "x-rankwise-dp-rank: worker w0 has 4 dp ranks, counted from 0"),
        (&pin("w0", "-1"), 400, "expected the number of a dp rank"),
        (&pin("w0", ""), 400, "expected the number of a dp rank"),
        (&[("x-rankwise-dp-rank", "1")], 400, "needs x-rankwise-worker"),
        (&[("x-rankwise-worker", "w0"), ("x-rankwise-worker", "w1")], 400, "twice"),
    ];
    for (headers, status, said) in cases {
        let reply = ask(&proxy, headers).await;
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.text());
        assert_eq!(reply.header("x-rankwise-error"), "head", "{headers:?}");
        let message = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(said), "{headers:?}: {message}");
    }
    assert!(arrivals(&fleet).is_empty());
    assert_eq!(proxy.metric("rankwise_requests_total", "outcome=\"refused\"").await, 7.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_choice_that_has_gone_is_not_made_good_elsewhere() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, TRUSTING, &[]).await;
    refuse_connections(&fleet.workers()[0]).await;
    let reply = ask(&proxy, &pin("w0", "1")).await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(reply.header("x-rankwise-error"), "connect");
    // The failed connection made the proxy look, and now it knows.
    wait_until("the worker to be out", async || {
        proxy.ranks().await.iter().any(|rank| rank["worker"] == "w0" && rank["availability"] != "ready")
    })
    .await;
    let reply = ask(&proxy, &pin("w0", "1")).await;
    assert_eq!(reply.status, 409, "{}", reply.text());
    assert_eq!(reply.json()["error"]["message"], "worker w0 rank 1 is not available");
    assert_eq!(ask(&proxy, &[("x-rankwise-worker", "w0")]).await.status, 409);
    assert!(arrivals(&fleet).is_empty(), "another worker got what was meant for this one");
    fleet.stop().await;
}

#[tokio::test]
async fn whom_the_listener_does_not_trust_chooses_nothing() {
    let fleet = two_workers().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut places = BTreeSet::new();
    for headers in [pin("w1", "3"), pin("w9", "x")] {
        for _ in 0..4 {
            places.insert(assert_pinned(&fleet, &ask(&proxy, &headers).await));
        }
    }
    assert_eq!(places.len(), 8, "eight turns of eight ranks: {places:?}");
    fleet.stop().await;
}
