//! What an engine says of its load may be old: what counts is what the proxy itself has sent there.

use http::Method;
use rankwise_sim::{Fault, FleetSpec};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, Proxy, address_of, all_at_once, completion, fast, fleet, requests, wait_until};

const COMPLETIONS: &str = "/v1/completions";
const RANKS: usize = 4;
/// What each rank but the first is busy with when its figures stop.
const STALE: u64 = 8;
const BURST: usize = 40;

#[tokio::test]
async fn a_rank_that_seems_idle_for_ever_is_not_flooded() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: RANKS, ..fast() }).await;
    let worker = &fleet.workers()[0];
    let proxy = Proxy::configured(&fleet, "limits:\n  upstream: { load_interval: 20ms }\n", &[]).await;
    fleet.hold();
    let mut others = JoinSet::new();
    for seed in 0..STALE * (RANKS as u64 - 1) {
        let (client, rank) = (Client::new(address_of(&fleet, 0)), 1 + seed % (RANKS as u64 - 1));
        others.spawn(async move {
            let headers = [("x-data-parallel-rank", &*rank.to_string())];
            let body = completion(10_000 + seed, 100).to_string();
            client.send(Method::POST, COMPLETIONS, &headers, body).await.status
        });
    }
    let busy = |rank: &rankwise_sim::RankStats| (rank.running + rank.waiting) as u64;
    wait_until("the others to be busy", async || {
        worker.stats().iter().skip(1).all(|rank| busy(rank) == STALE)
    })
    .await;
    worker.fault(Fault::StaleMetrics);
    fleet.release();
    assert!(others.join_all().await.iter().all(|status| *status == 200));
    wait_until("the proxy to believe it", async || {
        let ranks = proxy.ranks().await;
        let told = |rank: &Value| {
            let count = |what: &str| rank["engine"][what].as_u64().unwrap_or_default();
            count("running") + count("waiting")
        };
        ranks.iter().map(told).eq([0, STALE, STALE, STALE])
    })
    .await;

    for (round, policy) in ["least-loaded", "kv"].into_iter().enumerate() {
        proxy.activate(policy, json!({})).await;
        let before = requests(&fleet);
        fleet.hold();
        let first = round as u64 * 1000;
        let bodies = (first..first + BURST as u64).map(|seed| completion(seed, 100)).collect();
        let came = || -> Vec<u64> {
            requests(&fleet).iter().zip(&before).map(|(now, before)| now - before).collect()
        };
        let all_there = async {
            wait_until("the burst to be there", async || came().iter().sum::<u64>() == BURST as u64).await;
            fleet.release();
        };
        let (replies, ()) = tokio::join!(all_at_once(&proxy, COMPLETIONS, bodies, BURST), all_there);
        assert!(replies.iter().all(|reply| reply.status == 200));
        // Ten each; a few are decided at the same moment.
        assert!(came().iter().all(|count| (7..=13).contains(count)), "{policy}: {:?}", came());
    }
    fleet.stop().await;
}
