//! A rank that promises for ever what it does not hold, as its events are wrong and nothing in them shows it.

use rankwise_sim::{Fault, FleetSpec, WorkerHandle};
use serde_json::json;

use crate::harness::{Wire, completion, exact, fast, fleet, metric, wait_until};

const DOUBTED: &str = "its answers say that less was cached than its kv events do";

/// Each rank says so with its next step, unless it keeps that to itself.
async fn cleared(worker: &WorkerHandle) {
    wait_until("the engine to be idle", async || worker.clear_caches()).await;
}

async fn is_found_out_and_recovers(wire: Wire) {
    let fleet = fleet(wire.spec(FleetSpec { workers: 1, ranks: 2, ..fast() })).await;
    let worker = &fleet.workers()[0];
    let more = json!({ "limits": { "index": { "promises_sample": 4 } } });
    let proxy = wire.serving(&fleet, more).await;
    let broken = async |rank: u32| {
        let label = format!("dp_rank=\"{rank}\"");
        metric(&proxy.metrics().await, "rankwise_promises_broken_total", &[&label])
    };
    proxy.activate("kv", json!({})).await;
    // Each has half of them.
    for seed in 0..24 {
        wire.ask(&fleet, 0, (seed % 2) as usize, seed).await;
    }
    assert_eq!(exact(&proxy, &fleet, 0..24).await, 24 * 192, "every promise is kept");
    assert_eq!(broken(0).await + broken(1).await, 0.0);

    worker.fault(Fault::SilentRank(0));
    cleared(worker).await;
    // The other rank says so.
    wire.ask(&fleet, 0, 1, 1000).await;
    wait_until("that to be heard", async || {
        proxy.ranks().await[1]["index"]["blocks"].as_u64() == Some(worker.cache(1).len() as u64)
    })
    .await;
    let mut seeds = 0..24;
    wait_until("it to be found out", async || {
        if let Some(seed) = seeds.next() {
            proxy.client.post("/v1/completions", &completion(seed, 200)).await;
        }
        proxy.log().iter().any(|line| line.contains(DOUBTED))
    })
    .await;
    assert!(broken(0).await >= 3.0 && broken(1).await == 0.0, "{} and {}", broken(0).await, broken(1).await);

    worker.heal();
    cleared(worker).await;
    for rank in 0..2 {
        wire.ask(&fleet, 0, rank, 2000 + rank as u64).await;
    }
    // What it has been told from there on is so.
    wait_until("both to be trusted", async || {
        proxy
            .ranks()
            .await
            .iter()
            .all(|rank| rank["condition"].as_u64().is_some_and(|bits| bits & crate::harness::UNTRUSTED == 0))
    })
    .await;
    let before = broken(0).await;
    assert_eq!(exact(&proxy, &fleet, (3000..3008).chain(3000..3008)).await, 8 * 192);
    assert_eq!(broken(0).await, before);
    fleet.stop().await;
}

#[tokio::test]
async fn of_vllm() {
    is_found_out_and_recovers(Wire::Vllm).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained() {
    is_found_out_and_recovers(Wire::TrtllmDrained).await;
}
