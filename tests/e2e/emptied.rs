//! vLLM's caches are emptied from outside, by a reset or by sleep: nothing is promised any more, and requests go on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http::Method;
use rankwise_sim::{FleetSpec, WorkerHandle};
use serde_json::Value;

use crate::harness::{
    Client, Proxy, Reply, UNWATCHED, address_of, all_at_once, all_in, arrivals, ask_engine, completion, fast,
    fleet, is_whole, out, two_workers, wait_until,
};

const COMPLETIONS: &str = "/v1/completions";

async fn manage(client: Client, path: &str) -> Reply {
    let reply = client.send(Method::POST, path, &[], String::new()).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply
}

fn bodies(seeds: std::ops::Range<u64>) -> Vec<Value> {
    seeds.map(|seed| completion(seed, 200)).collect()
}

fn blocks(worker: &WorkerHandle) -> usize {
    (0..worker.stats().len()).map(|rank| worker.cache(rank).len()).sum()
}

/// Sends prompts that nobody has seen until the second worker has one: its share grows, by the clock, from little.
async fn gets_some_again(proxy: &Proxy) {
    let seed = AtomicU64::new(1000);
    wait_until("w1 to get a request", async || {
        let first = seed.fetch_add(16, Relaxed);
        let replies = all_at_once(proxy, COMPLETIONS, bodies(first..first + 16), 8).await;
        assert!(replies.iter().all(is_whole));
        replies.iter().any(|reply| reply.header("x-rankwise-worker") == "w1")
    })
    .await;
}

/// Asks the same again, one after the other, and holds each promise against what was cached.
async fn exact(proxy: &Proxy, fleet: &rankwise_sim::Fleet, seeds: std::ops::Range<u64>) -> u64 {
    let mut cached = 0;
    for body in bodies(seeds) {
        proxy.settled(fleet).await;
        let reply = proxy.client.post(COMPLETIONS, &body).await;
        assert!(is_whole(&reply), "{}", reply.text());
        assert_eq!(reply.promised_tokens(), reply.cached_tokens());
        cached += reply.cached_tokens();
    }
    cached
}

#[tokio::test]
async fn a_reset_empties_the_index_of_each_rank_with_its_next_step() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..8).await;
    assert!(exact(&proxy, &fleet, 0..8).await > 8 * 160);
    proxy.settled(&fleet).await;
    let reply = manage(Client::new(address_of(&fleet, 0)), "/reset_prefix_cache").await;
    assert_eq!(reply.json()["success"], true);
    assert_eq!(blocks(&fleet.workers()[0]), 0);
    for rank in 0..2 {
        ask_engine(&fleet, 0, rank, &completion(100, 20)).await;
    }
    assert_eq!(exact(&proxy, &fleet, 0..8).await, 0, "all of it was forgotten");
    assert!(exact(&proxy, &fleet, 0..8).await > 8 * 160);
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_put_to_sleep_is_out_and_comes_back_empty() {
    let fleet = two_workers().await;
    // Nobody looks: requests are the first to notice.
    let config = format!(
        "pools: [{{ name: main, retry_statuses: [503] }}]\n{UNWATCHED}  health: {{ slow_start: 1ms }}\n"
    );
    let proxy = Proxy::configured(&fleet, &config, &["--policy", "kv"]).await;
    let replies = all_at_once(&proxy, COMPLETIONS, bodies(0..16), 4).await;
    assert!(replies.iter().all(is_whole));
    proxy.settled(&fleet).await;
    let (worker, engine) = (&fleet.workers()[1], Client::new(address_of(&fleet, 1)));
    assert!(blocks(worker) > 0, "it has nothing to lose");

    manage(engine, "/sleep?level=1").await;
    assert_eq!(engine.get("/is_sleeping").await.json()["is_sleeping"], true);
    assert_eq!(engine.get("/health").await.status, 200, "it does not say so there");
    // Its ranks are tried, say that they do not serve, and the others do.
    let replies = all_at_once(&proxy, COMPLETIONS, bodies(0..16), 4).await;
    assert!(replies.iter().all(is_whole), "a request is lost that nobody had begun");
    assert!(replies.iter().all(|reply| reply.header("x-rankwise-worker") == "w0"));
    wait_until("it to be out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.keys().all(|(worker, _)| worker == "w1")
    })
    .await;

    manage(engine, "/wake_up").await;
    all_in(&proxy).await;
    // The steps in which its ranks prove themselves tell that they hold nothing else.
    proxy.settled(&fleet).await;
    assert_eq!(blocks(worker), 2, "a block for each rank's proof");
    gets_some_again(&proxy).await;
    exact(&proxy, &fleet, 1000..1008).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_says_it_sleeps_is_sent_nothing() {
    let fleet = two_workers().await;
    let config = "limits:\n  upstream: { load_interval: 20ms }\n  health: { slow_start: 1ms }\n";
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    let engine = Client::new(address_of(&fleet, 1));
    for rank in 0..2 {
        ask_engine(&fleet, 1, rank, &completion(100, 200)).await;
    }
    proxy.settled(&fleet).await;
    manage(engine, "/sleep?level=2").await;
    wait_until("the proxy to know", async || {
        let workers = proxy.admin.get("/v1/pools/main/workers").await.json();
        workers["workers"].as_array().is_some_and(|all| {
            all.iter().any(|worker| worker["name"] == "w1" && worker["reason"] == "/metrics: asleep")
        })
    })
    .await;
    fleet.workers()[1].clear_logs();
    let replies = all_at_once(&proxy, COMPLETIONS, bodies(0..16), 4).await;
    assert!(replies.iter().all(is_whole));
    assert!(arrivals(&fleet).iter().all(|arrival| arrival.worker == 0), "it was tried");
    manage(engine, "/wake_up").await;
    all_in(&proxy).await;
    // The steps in which its ranks proved themselves have told that nothing is left of what they held before.
    proxy.settled(&fleet).await;
    assert_eq!(blocks(&fleet.workers()[1]), 2, "a block for each rank's proof");
    gets_some_again(&proxy).await;
    fleet.stop().await;
}
