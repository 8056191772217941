//! Servers that know the OpenAI API and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use rankwise_sim::{EngineWire, Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{Proxy, arrival_of, ask, chat, fast, fleet, text, wait_until};

/// Bit 4: the rank cannot be pinned, the row stands for its worker.
const NOT_PINNABLE: u64 = 1 << 4;

/// Two servers whose ranks nobody can name, and nobody says what they are.
async fn two_servers() -> (Fleet, Proxy) {
    let fleet = fleet(FleetSpec { engine: EngineWire::Generic, workers: 2, ranks: 2, ..fast() }).await;
    let flag = |worker: &rankwise_sim::WorkerHandle| {
        ["--worker".to_owned(), format!("{},name=w{}", worker.url(), worker.index())]
    };
    let proxy = Proxy::start(&fleet.workers().iter().flat_map(flag).collect::<Vec<_>>()).await;
    wait_until("both workers to be ready", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    (fleet, proxy)
}

#[tokio::test]
async fn a_worker_is_one_row_and_its_rank_is_its_own_affair() {
    let (fleet, proxy) = two_servers().await;
    for rank in proxy.ranks().await {
        let condition = rank["condition"].as_u64().expect("bits");
        assert_eq!(condition & NOT_PINNABLE, NOT_PINNABLE, "{rank}");
    }
    for policy in ["kv", "least-loaded", "round-robin", "random"] {
        assert_eq!(proxy.activate(policy, json!({})).await.status, 200);
        for seed in 0..4 {
            let reply = proxy.client.chat(&chat(&text(seed, 40))).await;
            assert_eq!(reply.status, 200, "{policy}: {}", reply.text());
            let arrival = arrival_of(&fleet, &reply);
            assert_eq!(format!("w{}", arrival.worker), reply.header("x-rankwise-worker"));
            assert!(arrival.rank_headers().is_empty());
            assert!(!reply.headers.contains_key("x-rankwise-dp-rank"), "nobody knows it");
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&arrival.body).expect("JSON"),
                chat(&text(seed, 40))
            );
        }
    }
    fleet.stop().await;
}

/// What such a server caches nobody tells, so it is learned from what it is sent.
#[tokio::test]
async fn a_prompt_comes_back_to_the_worker_that_has_had_it() {
    const APPROXIMATE: u64 = 1;
    let fleet = fleet(FleetSpec { engine: EngineWire::Generic, workers: 4, ranks: 1, ..fast() }).await;
    let entry = |worker: &rankwise_sim::WorkerHandle| json!({ "name": format!("w{}", worker.index()), "url": worker.url(), "engine": "generic", "block_size": 16 });
    let pool = json!({
        "tokenizer": fleet.workers()[0].tokenizer_folder(),
        "workers": fleet.workers().iter().map(entry).collect::<Vec<_>>(),
    });
    let proxy = Proxy::configured_with(&json!({ "pools": [pool] }).to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    for rank in proxy.ranks().await {
        assert_ne!(rank["condition"].as_u64().expect("bits") & APPROXIMATE, 0, "{rank}");
    }
    let mut homes = BTreeMap::new();
    for seed in 0..16 {
        let reply = ask(&proxy, seed).await;
        assert_eq!(reply.cached_tokens(), 0);
        homes.insert(seed, arrival_of(&fleet, &reply).worker);
    }
    assert!(homes.values().collect::<BTreeSet<_>>().len() > 1, "{homes:?}");
    for round in 0..2 {
        for (seed, home) in &homes {
            let reply = ask(&proxy, *seed).await;
            assert_eq!(arrival_of(&fleet, &reply).worker, *home, "prompt {seed} in round {round}");
            assert_eq!(reply.cached_tokens(), 192);
            // A guess is no promise.
            assert!(!reply.headers.contains_key("x-rankwise-expected-cached-tokens"));
        }
    }
    fleet.stop().await;
}

#[tokio::test]
async fn requests_in_flight_spread_over_the_workers() {
    let (fleet, proxy) = two_servers().await;
    assert_eq!(proxy.activate("least-loaded", json!({})).await.status, 200);
    let asked = (0..16).map(|seed| {
        let proxy = &proxy;
        async move { proxy.client.chat(&chat(&text(seed, 40))).await.header("x-rankwise-worker").to_owned() }
    });
    let workers = futures_util::future::join_all(asked).await;
    assert!(workers.contains(&"w0".to_owned()) && workers.contains(&"w1".to_owned()), "{workers:?}");
    fleet.stop().await;
}
