//! Workers that refuse, go away, come back, join and leave.

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{
    Proxy, arrivals, assert_pinned, chat, fast, fleet, refuse_connections, text, wait_until, worker_flags,
};

/// The proxy's own looks are a minute apart, so that requests are the first to notice.
const UNWATCHED: &str = "limits:\n  upstream: { probe_interval: 1m, load_interval: 1m }\n";

async fn two_workers(ranks: usize) -> Fleet {
    fleet(FleetSpec { workers: 2, ranks, ..fast() }).await
}

/// Sends one request after the other, with round robin over ranks; the workers that answered.
async fn ask(proxy: &Proxy, fleet: &Fleet, seeds: std::ops::Range<u64>) -> Vec<usize> {
    let mut workers = Vec::new();
    for seed in seeds {
        workers.push(assert_pinned(fleet, &proxy.client.chat(&chat(&text(seed, 100))).await).0);
    }
    workers
}

#[tokio::test]
async fn a_worker_that_refuses_connections_costs_no_request() {
    // More ranks than a request has tries: a worker that cannot be reached is not tried once for each.
    let fleet = two_workers(8).await;
    let proxy = Proxy::configured(&fleet, UNWATCHED, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    refuse_connections(&fleet.workers()[0]).await;
    let answered = ask(&proxy, &fleet, 0..20).await;
    assert!(answered.iter().all(|worker| *worker == 1), "{answered:?}");
    assert!(proxy.metric("rankwise_retries_total", "").await >= 1.0, "nothing was tried at the other one");

    fleet.workers()[0].heal();
    wait_until("it to be noticed again", async || {
        proxy.ranks().await.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    assert!(ask(&proxy, &fleet, 20..36).await.contains(&0));
    fleet.stop().await;
}

#[tokio::test]
async fn without_any_worker_clients_are_told_to_come_back() {
    let fleet = two_workers(2).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    for worker in fleet.workers() {
        worker.stop().await;
    }
    wait_until("the proxy to notice", async || proxy.status.get("/readyz").await.status == 503).await;
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(reply.header("x-rankwise-error"), "decision");
    for worker in fleet.workers() {
        worker.start().await.expect("the same port");
    }
    proxy.ready().await;
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_may_come_after_the_proxy() {
    let fleet = two_workers(2).await;
    for worker in fleet.workers() {
        worker.stop().await;
    }
    let proxy = Proxy::start(&worker_flags(&fleet)).await;
    assert_eq!(proxy.status.get("/readyz").await.status, 503);
    assert_eq!(proxy.status.get("/healthz").await.status, 200);
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("retry-after"), "1");
    fleet.workers()[1].start().await.expect("the same port");
    proxy.ready().await;
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.header("x-rankwise-worker"), "w1", "{}", reply.text());
    fleet.stop().await;
}

#[tokio::test]
async fn workers_join_and_leave_over_the_admin_api() {
    let fleet = two_workers(2).await;
    let proxy = Proxy::start(&worker_flags(&fleet)[..2]).await;
    proxy.ready().await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    assert!(!ask(&proxy, &fleet, 0..4).await.contains(&1));

    let joining = json!({ "url": fleet.workers()[1].url(), "engine": "vllm", "name": "w1" });
    let path = "/v1/pools/main/workers";
    assert_eq!(proxy.admin.post(path, &joining).await.status, 202);
    assert_eq!(proxy.admin.post(path, &joining).await.status, 409, "it is there already");
    wait_until("it to be ready", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 4 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    let both = ask(&proxy, &fleet, 4..8).await;
    assert!(both.contains(&0) && both.contains(&1), "{both:?}");

    let leaving = format!("{path}/w0");
    assert_eq!(proxy.admin.send(Method::DELETE, &leaving, &[], "").await.status, 202);
    assert_eq!(proxy.admin.send(Method::DELETE, &leaving, &[], "").await.status, 404, "it is gone already");
    wait_until("it to be gone", async || proxy.ranks().await.len() == 2).await;
    assert_eq!(ask(&proxy, &fleet, 8..12).await, [1; 4]);
    assert!(!proxy.metrics().await.contains("worker=\"w0\""), "its series outlive it");
    fleet.stop().await;
}

#[tokio::test]
async fn the_index_is_exact_again_after_a_worker_restarted() {
    for announced in [false, true] {
        let fleet = two_workers(2).await;
        let proxy = Proxy::serving(&fleet, &[]).await;
        proxy.activate("round-robin", json!({ "pin": "rank" })).await;
        ask(&proxy, &fleet, 0..12).await;
        proxy.settled(&fleet).await;
        assert!(fleet.workers()[0].cache(0).len() > 10, "nothing was cached: nothing is shown");

        let worker = &fleet.workers()[0];
        if announced { worker.restart_announced().await } else { worker.restart().await }
            .expect("the same ports");
        wait_until("the worker to be picked again", async || {
            // A broken connection may still be found out by a request: what it gets is its own affair here.
            proxy.client.chat(&chat(&text(99, 40))).await.header("x-rankwise-worker") == "w0"
        })
        .await;
        proxy.ready().await;
        wait_until("all ranks to be back", async || {
            proxy.ranks().await.iter().all(|rank| rank["availability"] == "ready")
        })
        .await;
        ask(&proxy, &fleet, 100..112).await;
        proxy.settled(&fleet).await;

        // And what it says is so: the engine finds what was promised.
        proxy.activate("kv", json!({})).await;
        let before = arrivals(&fleet).len();
        for seed in 100..112 {
            let reply = proxy.client.chat(&chat(&text(seed, 100))).await;
            let expected = reply.promised_tokens();
            assert!(expected > 0, "the index has lost {seed}");
            assert_eq!(reply.cached_tokens(), expected);
        }
        assert_eq!(arrivals(&fleet).len(), before + 12);
        fleet.stop().await;
    }
}
