//! KV-event feeds that lose, lie, fall silent and start again: the index comes back to what the engines hold, and promises
//! nothing until it does.

use rankwise_sim::{Fault, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Client, Proxy, Reply, completion, fast, fleet, metric, wait_until};

const COMPLETIONS: &str = "/v1/completions";

fn two_ranks() -> FleetSpec {
    FleetSpec { workers: 1, ranks: 2, ..fast() }
}

fn four_ranks() -> FleetSpec {
    FleetSpec { workers: 2, ranks: 2, ..fast() }
}

async fn ask(proxy: &Proxy, seed: u64) -> Reply {
    let reply = proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

fn promised(reply: &Reply) -> u64 {
    reply.number("x-rankwise-expected-cached-tokens").into()
}

/// Prompts asked before find their blocks; each promise is kept. The tokens that were cached.
async fn exact(proxy: &Proxy, fleet: &Fleet, seeds: impl IntoIterator<Item = u64>) -> u64 {
    let mut cached = 0;
    for seed in seeds {
        proxy.settled(fleet).await;
        let reply = ask(proxy, seed).await;
        assert_eq!(reply.cached_tokens(), promised(&reply), "prompt {seed}");
        cached += reply.cached_tokens();
    }
    cached
}

async fn sum(proxy: &Proxy, family: &str, labels: &[&str]) -> f64 {
    metric(&proxy.metrics().await, family, labels)
}

/// Row of GET ranks.
async fn rank(proxy: &Proxy, worker: &str, number: u64) -> Value {
    let ranks = proxy.ranks().await;
    let found = ranks.into_iter().find(|rank| rank["worker"] == worker && rank["dp_rank"] == number);
    found.expect("a row for the rank")
}

/// Asks an engine directly, past any proxy.
async fn ask_engine(fleet: &Fleet, worker: usize, rank: usize, body: &Value) -> Reply {
    let address = fleet.workers()[worker].url().trim_start_matches("http://").parse().expect("an address");
    let rank = rank.to_string();
    let client = Client::new(address);
    let reply = client
        .send(http::Method::POST, COMPLETIONS, &[("x-data-parallel-rank", &rank)], body.to_string())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

#[tokio::test]
async fn lost_events_are_replayed() {
    let fleet = fleet(two_ranks()).await;
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..4).await;
    fleet.workers()[0].fault(Fault::DropEvents(3));
    // Round-robin over both ranks, so that each gets past what it drops and the gap shows.
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 100..110 {
        ask(&proxy, seed).await;
    }
    proxy.activate("kv", json!({})).await;
    proxy.settled(&fleet).await;
    assert!(sum(&proxy, "rankwise_kv_event_gaps_total", &[]).await >= 2.0);
    let cached = exact(&proxy, &fleet, (0..4).chain(100..110)).await;
    assert!(cached > 14 * 160, "{cached}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_silent_rank_promises_nothing() {
    let fleet = fleet(two_ranks()).await;
    fleet.workers()[0].fault(Fault::SilentRank(0));
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    let mut on_silent = 0;
    for seed in (0..12).chain(0..12) {
        let reply = ask(&proxy, seed).await;
        match reply.number("x-rankwise-dp-rank") {
            0 => {
                on_silent += 1;
                assert_eq!(promised(&reply), 0);
            }
            _ => assert!(promised(&reply) <= reply.cached_tokens()),
        }
    }
    assert!(on_silent > 0);
    assert_eq!(rank(&proxy, "w0", 0).await["index"]["blocks"], 0);
    // Once it speaks again, what it says continues blocks that nobody heard of: they stay unknown, and nothing is made up.
    fleet.workers()[0].heal();
    for seed in 0..12 {
        let reply = ask(&proxy, seed).await;
        assert!(promised(&reply) <= reply.cached_tokens(), "prompt {seed}");
    }
    // From an empty cache on it is exact.
    wait_until("the engine to be idle", async || fleet.workers()[0].clear_caches()).await;
    for rank in 0..2 {
        ask_engine(&fleet, 0, rank, &completion(1000, 20)).await;
    }
    let cached = exact(&proxy, &fleet, (0..12).chain(0..12)).await;
    assert!(cached >= 12 * 160, "{cached}");
    fleet.stop().await;
}

#[tokio::test]
async fn batches_in_the_name_of_another_rank_are_counted_and_not_applied() {
    let fleet = fleet(two_ranks()).await;
    fleet.workers()[0].fault(Fault::LieAboutRank(1));
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    for seed in (0..12).chain(0..12) {
        let reply = ask(&proxy, seed).await;
        if reply.number("x-rankwise-dp-rank") == 0 {
            assert_eq!(promised(&reply), 0);
        }
    }
    let worker = &fleet.workers()[0];
    wait_until("rank 0's batches to be refused", async || {
        let next = rank(&proxy, "w0", 0).await["index"]["next_sequence"].as_u64();
        next == Some(worker.next_sequence(0)) && next > Some(0)
    })
    .await;
    let errors = async |rank| sum(&proxy, "rankwise_kv_event_errors_total", &["worker=\"w0\"", rank]).await;
    assert_eq!(errors("dp_rank=\"0\"").await, worker.next_sequence(0) as f64);
    assert_eq!(errors("dp_rank=\"1\"").await, 0.0);
    assert_eq!(rank(&proxy, "w0", 0).await["index"]["blocks"], 0);
    assert!(rank(&proxy, "w0", 1).await["index"]["blocks"].as_u64() > Some(0));
    fleet.stop().await;
}

/// Without the replay nothing is known: requests flow, nothing is promised. As soon as it answers the index is exact.
#[tokio::test]
async fn without_replay_nothing_is_promised() {
    let fleet = fleet(two_ranks()).await;
    for rank in 0..2 {
        ask_engine(&fleet, 0, rank, &completion(rank as u64, 200)).await;
    }
    fleet.workers()[0].fault(Fault::NoReplay);
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    for seed in 0..8 {
        assert_eq!(promised(&ask(&proxy, seed).await), 0);
    }
    // Bit 1: the index is not to be trusted.
    assert_eq!(rank(&proxy, "w0", 0).await["condition"].as_u64().expect("bits") & 2, 2);
    fleet.workers()[0].heal();
    proxy.settled(&fleet).await;
    assert_eq!(rank(&proxy, "w0", 0).await["condition"], 0);
    let cached = exact(&proxy, &fleet, 0..8).await;
    assert!(cached > 8 * 160, "{cached}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_restart_empties_the_index() {
    restarted(false).await;
}

#[tokio::test]
async fn a_restart_that_says_so_empties_the_index() {
    restarted(true).await;
}

async fn restarted(announced: bool) {
    let fleet = fleet(four_ranks()).await;
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..8).await;
    let worker = &fleet.workers()[0];
    if announced { worker.restart_announced().await } else { worker.restart().await }
        .expect("the same ports");
    proxy.ready().await;
    // The second round finds what the first has left.
    let (mut cached, mut failed) = (0, 0);
    for round in 0..2 {
        for seed in 0..8 {
            proxy.settled(&fleet).await;
            // A connection that the restart cut may be handed out once more: that request fails, clearly.
            let reply = proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
            if reply.status != 200 {
                assert_eq!(round, 0, "{}", reply.text());
                assert!(reply.status.is_server_error() && !reply.header("x-rankwise-error").is_empty());
                failed += 1;
                continue;
            }
            assert_eq!(reply.cached_tokens(), promised(&reply), "prompt {seed}");
            cached += if round == 1 { reply.cached_tokens() } else { 0 };
        }
    }
    assert!(cached >= (8 - failed) * 160, "{cached} cached, {failed} failed");
    wait_until("both workers to be ready", async || {
        proxy.ranks().await.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    proxy.settled(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_proxy_that_starts_late_reads_what_was_cached_before() {
    let fleet = fleet(four_ranks()).await;
    for seed in 0..8 {
        ask_engine(&fleet, seed % 2, seed / 2 % 2, &completion(seed as u64, 200)).await;
    }
    let proxy = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    let cached = exact(&proxy, &fleet, 0..8).await;
    assert!(cached > 8 * 160, "{cached}");
    fleet.stop().await;
}

#[tokio::test]
async fn proxies_side_by_side_are_all_exact() {
    let fleet = fleet(four_ranks()).await;
    let first = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    let second = Proxy::serving_all(&fleet, &["--policy", "kv"]).await;
    for round in 0..2 {
        for seed in 0..8 {
            first.settled(&fleet).await;
            second.settled(&fleet).await;
            let proxy = if (seed + round) % 2 == 0 { &first } else { &second };
            let reply = ask(proxy, seed).await;
            assert_eq!(reply.cached_tokens(), promised(&reply), "prompt {seed}");
            // What one proxy sent, the other finds.
            assert_eq!(reply.cached_tokens() > 160, round == 1, "prompt {seed}");
        }
    }
    fleet.stop().await;
}
