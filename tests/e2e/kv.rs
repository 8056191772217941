//! What the index promises is what the engine reuses, token for token.

use rankwise_sim::{EngineWire, EventLayout, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Proxy, Reply, chat, fast, fleet, text};

const CHATS: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

/// A request of one of the ways to ask, continuing one of a few prefixes.
fn ask(random: &mut fastrand::Rng, prefixes: u64, prefix_tokens: usize) -> (&'static str, Value) {
    let prefix = random.u64(0..prefixes);
    let tokens = random.usize(1..80);
    let own = text(random.u64(1000..), tokens);
    let opening = text(prefix, prefix_tokens);
    let mut chat = json!({
        "model": "sim", "max_tokens": random.u32(1..24),
        "messages": [{ "role": "system", "content": opening }, { "role": "user", "content": own }],
    });
    match random.u32(0..4) {
        0 => (CHATS, chat),
        1 => {
            chat["stream"] = true.into();
            chat["stream_options"] = json!({ "include_usage": true });
            (CHATS, chat)
        }
        2 => (COMPLETIONS, json!({ "model": "sim", "prompt": format!("{opening}{own}"), "max_tokens": 8 })),
        _ => {
            let mut ids: Vec<u64> =
                (0..prefix_tokens as u64).map(|at| 300 + (prefix * 31 + at * 7) % 1000).collect();
            ids.extend((0..random.u64(1..80)).map(|at| 300 + (at * 13 + prefix) % 1000));
            let stream = random.bool();
            let body = json!({
                "model": "sim", "prompt": ids, "max_tokens": 8, "stream": stream,
                "stream_options": stream.then(|| json!({ "include_usage": true })),
            });
            (COMPLETIONS, body)
        }
    }
}

/// Asks, lets it settle, and holds the answer against the promise and against who served it.
async fn exact(proxy: &Proxy, fleet: &Fleet, path: &str, body: &Value) -> Reply {
    let reply = proxy.client.post(path, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    proxy.settled(fleet).await;
    let worker: usize =
        reply.header("x-rankwise-worker").trim_start_matches('w').parse().expect("w0, w1 ...");
    let rank = reply.number("x-rankwise-dp-rank");
    let served = fleet.workers()[worker].served();
    let served = served.last().expect("the named worker served it");
    assert_eq!(served.rank, rank, "served where the header says");
    assert_eq!(reply.cached_tokens(), u64::from(served.cached_tokens));
    assert_eq!(reply.cached_tokens(), reply.promised_tokens(), "worker {worker} rank {rank}, {path}: {body}");
    reply
}

/// So many requests one after the other; the share of prompt tokens that was cached.
async fn exact_throughout(spec: FleetSpec, requests: usize, prefixes: u64, prefix_tokens: usize) -> f64 {
    let fleet = fleet(spec).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let mut random = fastrand::Rng::with_seed(7);
    let (mut cached, mut prompt) = (0, 0);
    for _ in 0..requests {
        let (path, body) = ask(&mut random, prefixes, prefix_tokens);
        let reply = exact(&proxy, &fleet, path, &body).await;
        cached += reply.cached_tokens();
        prompt += reply.usage()["prompt_tokens"].as_u64().expect("prompt_tokens");
    }
    let page = proxy.metrics().await;
    let missed = crate::harness::metric(&page, "rankwise_expectation_total", &["result=\"missed\""]);
    assert_eq!(missed, 0.0);
    fleet.stop().await;
    let share = cached as f64 / prompt as f64;
    println!(
        "cached tokens as expected in {requests} of {requests} requests, {:.0} % of the prompts",
        share * 100.0
    );
    share
}

#[tokio::test]
async fn cached_tokens_are_as_expected() {
    let share = exact_throughout(FleetSpec { workers: 2, ranks: 2, ..fast() }, 80, 6, 150).await;
    assert!(share > 0.4, "{share}");
}

#[tokio::test]
async fn cached_tokens_are_as_expected_with_blocks_of_32() {
    let share =
        exact_throughout(FleetSpec { workers: 2, ranks: 2, block_size: 32, ..fast() }, 60, 6, 150).await;
    assert!(share > 0.3, "{share}");
}

#[tokio::test]
async fn cached_tokens_are_as_expected_where_every_rank_names_blocks_differently() {
    let share =
        exact_throughout(FleetSpec { workers: 2, ranks: 2, hash_per_rank: true, ..fast() }, 60, 6, 150).await;
    assert!(share > 0.4, "{share}");
}

#[tokio::test]
async fn cached_tokens_are_as_expected_with_events_as_arrays() {
    let spec = FleetSpec { workers: 2, ranks: 2, layout: EventLayout::Arrays, ..fast() };
    let share = exact_throughout(spec, 60, 6, 150).await;
    assert!(share > 0.4, "{share}");
}

#[tokio::test]
async fn cached_tokens_are_as_expected_of_sglang() {
    let spec = FleetSpec { engine: EngineWire::Sglang, workers: 2, ranks: 2, ..fast() };
    let share = exact_throughout(spec, 60, 6, 150).await;
    assert!(share > 0.4, "{share}");
}

/// Every token is a page of its own, as it is by default on many of its backends.
#[tokio::test]
async fn cached_tokens_are_as_expected_of_sglang_with_pages_of_one_token() {
    let page = FleetSpec { block_size: 1, blocks_per_rank: 1024 + 1, ..fast() };
    let spec = FleetSpec { engine: EngineWire::Sglang, workers: 1, ranks: 2, ..page };
    let share = exact_throughout(spec, 30, 4, 80).await;
    assert!(share > 0.2, "{share}");
}

#[tokio::test]
async fn the_index_is_exact_while_small_caches_of_sglang_evict() {
    let spec = FleetSpec { engine: EngineWire::Sglang, workers: 2, ranks: 2, blocks_per_rank: 49, ..fast() };
    let share = exact_throughout(spec, 100, 12, 60).await;
    assert!((0.05..0.9).contains(&share), "{share}");
}

/// Caches of 48 blocks: nearly every request evicts.
#[tokio::test]
async fn the_index_is_exact_while_small_caches_evict() {
    let spec = FleetSpec { workers: 2, ranks: 2, blocks_per_rank: 49, ..fast() };
    let share = exact_throughout(spec, 200, 12, 60).await;
    assert!((0.05..0.9).contains(&share), "{share}");
}

#[tokio::test]
async fn a_salt_shares_with_itself_alone() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let salted = |salt: Option<&str>| {
        let mut body = chat(&text(1, 200));
        if let Some(salt) = salt {
            body["cache_salt"] = salt.into();
        }
        body
    };
    for (salt, shares) in [
        (Some("a"), false),
        (Some("a"), true),
        (Some("b"), false),
        (None, false),
        (None, true),
        (Some("b"), true),
        (Some("a"), true),
    ] {
        let reply = exact(&proxy, &fleet, CHATS, &salted(salt)).await;
        assert_eq!(reply.cached_tokens() > 0, shares, "salt {salt:?}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_s_blocks_are_listed_as_the_engine_holds_them() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    // Nothing but what is asked for here is in the caches.
    let config = "limits:\n  health: { prove_ranks: false }\n";
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    let reply = exact(&proxy, &fleet, CHATS, &chat(&text(1, 200))).await;
    let (rank, other) = match reply.number("x-rankwise-dp-rank") {
        0 => (0, 1),
        _ => (1, 0),
    };
    let path = |rank: u32| format!("/v1/pools/main/ranks/w0/{rank}/blocks");
    let held = proxy.admin.get(&path(rank)).await.json();
    let blocks = held["blocks"].as_array().expect("a list");
    assert!(blocks.len() > 3, "{held}");
    assert_eq!(held["cached_blocks"], blocks.len());
    for (at, block) in blocks.iter().enumerate() {
        assert_eq!(block["depth"], at + 1, "one prompt: a block at each depth");
        assert_eq!((&block["tier"], &block["copies"]), (&json!("device"), &json!(1)));
    }
    let two = proxy.admin.get(&format!("{}?limit=2", path(rank))).await.json();
    assert_eq!(two["blocks"].as_array().map(Vec::len), Some(2));
    assert_eq!(proxy.admin.get(&path(other)).await.json()["blocks"], json!([]));
    for (path, status) in [(path(2), 404), (path(0).replace("w0", "w9"), 404), (path(0) + "?limit=many", 400)]
    {
        assert_eq!(proxy.admin.get(&path).await.status, status, "{path}");
    }
}
