//! KV-event feeds that lose, lie, fall silent and start again: the index comes back to what the engines hold, and promises
//! nothing until it does.

use std::time::Duration;

use rankwise_sim::{Fault, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Gate, Proxy, UNTRUSTED, Wire, address_of, all_at_once, ask, ask_engine, completion, exact, fast, fleet,
    is_whole, metric, wait_until,
};

const COMPLETIONS: &str = "/v1/completions";
/// Bit 0 of a rank's `condition`: its events contradict what its prompts are predicted to be.
const APPROXIMATE: u64 = 1;

fn two_ranks() -> FleetSpec {
    FleetSpec { workers: 1, ranks: 2, ..fast() }
}

fn four_ranks() -> FleetSpec {
    FleetSpec { workers: 2, ranks: 2, ..fast() }
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

/// Waits until no rank's index is in doubt: a rank that has told nothing for a while proves first that it does.
async fn trusted(proxy: &Proxy) {
    wait_until("the index to be trusted", async || {
        proxy.ranks().await.iter().all(|rank| rank["condition"].as_u64().expect("bits") & UNTRUSTED == 0)
    })
    .await;
}

#[tokio::test]
async fn lost_events_are_replayed() {
    let fleet = fleet(two_ranks()).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
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
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let mut on_silent = 0;
    for seed in (0..12).chain(0..12) {
        let reply = ask(&proxy, seed).await;
        match reply.number("x-rankwise-dp-rank") {
            0 => {
                on_silent += 1;
                assert_eq!(reply.promised_tokens(), 0);
            }
            _ => assert!(reply.promised_tokens() <= reply.cached_tokens()),
        }
    }
    assert!(on_silent > 0);
    // In time it is seen to contradict what was predicted, too.
    let mut seeds = 100..;
    let contradicts =
        async || rank(&proxy, "w0", 0).await["condition"].as_u64().expect("bits") & APPROXIMATE != 0;
    wait_until("its silence to be a contradiction", async || {
        ask(&proxy, seeds.next().expect("a seed")).await;
        contradicts().await
    })
    .await;
    assert_eq!(rank(&proxy, "w0", 0).await["index"]["blocks"], 0);
    // Once it speaks again, what it says continues blocks that nobody heard of: they stay unknown, and nothing is made up.
    fleet.workers()[0].heal();
    for seed in 0..12 {
        let reply = ask(&proxy, seed).await;
        assert!(reply.promised_tokens() <= reply.cached_tokens(), "prompt {seed}");
    }
    // From an empty cache on it is exact, and promises again once enough of what it was sent has been confirmed.
    wait_until("the engine to be idle", async || fleet.workers()[0].clear_caches()).await;
    for rank in 0..2 {
        ask_engine(&fleet, 0, rank, &completion(1000, 20)).await;
    }
    trusted(&proxy).await;
    wait_until("its events to agree with the predictions", async || {
        ask(&proxy, seeds.next().expect("a seed")).await;
        !contradicts().await
    })
    .await;
    let cached = exact(&proxy, &fleet, (0..12).chain(0..12)).await;
    assert!(cached >= 12 * 160, "{cached}");
    fleet.stop().await;
}

/// Nothing is promised while its own batches are not to be had, and everything again from when the rank says that its cache is
/// empty. Batches of the lie stay in the engine's replay buffer.
#[tokio::test]
async fn a_rank_whose_batches_name_another_is_not_trusted_until_they_are_its_own() {
    let fleet = fleet(two_ranks()).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let worker = &fleet.workers()[0];
    let is_untrusted = async |number| {
        let condition = rank(&proxy, "w0", number).await["condition"].as_u64().expect("bits");
        condition & 2 == 2
    };
    for number in 0..2 {
        ask_engine(&fleet, 0, number, &completion(number as u64, 200)).await;
    }
    proxy.settled(&fleet).await;
    assert!(rank(&proxy, "w0", 0).await["index"]["blocks"].as_u64() > Some(0));

    worker.fault(Fault::LieAboutRank(1));
    for seed in 100..104 {
        ask_engine(&fleet, 0, 0, &completion(seed, 200)).await;
    }
    wait_until("the rank to lose trust", async || is_untrusted(0).await).await;
    assert_eq!(rank(&proxy, "w0", 0).await["index"]["blocks"], 0);
    for seed in (0..2).chain(100..104) {
        let reply = ask(&proxy, seed).await;
        assert!(reply.number("x-rankwise-dp-rank") == 1 || reply.promised_tokens() == 0);
    }
    assert!(!is_untrusted(1).await, "the other one speaks for itself");
    let errors = async |rank| sum(&proxy, "rankwise_kv_event_errors_total", &["worker=\"w0\"", rank]).await;
    assert!(errors("dp_rank=\"0\"").await >= 1.0);
    assert_eq!(errors("dp_rank=\"1\"").await, 0.0);

    worker.heal();
    ask_engine(&fleet, 0, 0, &completion(200, 200)).await;
    wait_until("the rank to be trusted again", async || !is_untrusted(0).await).await;
    wait_until("the engine to be idle", async || worker.clear_caches()).await;
    for number in 0..2 {
        ask_engine(&fleet, 0, number, &completion(1000, 20)).await;
    }
    let cached = exact(&proxy, &fleet, (0..12).chain(0..12)).await;
    assert!(cached >= 12 * 160, "{cached}");
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
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    for seed in 0..8 {
        assert_eq!(ask(&proxy, seed).await.promised_tokens(), 0);
    }
    // Bit 1: the index is not to be trusted.
    assert_eq!(rank(&proxy, "w0", 0).await["condition"].as_u64().expect("bits") & 2, 2);
    fleet.workers()[0].heal();
    proxy.settled(&fleet).await;
    trusted(&proxy).await;
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
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
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
            assert_eq!(reply.cached_tokens(), reply.promised_tokens(), "prompt {seed}");
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
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let cached = exact(&proxy, &fleet, 0..8).await;
    assert!(cached > 8 * 160, "{cached}");
    fleet.stop().await;
}

#[tokio::test]
async fn proxies_side_by_side_are_all_exact() {
    let fleet = fleet(four_ranks()).await;
    let first = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let second = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    for round in 0..2 {
        for seed in 0..8 {
            first.settled(&fleet).await;
            second.settled(&fleet).await;
            let proxy = if (seed + round) % 2 == 0 { &first } else { &second };
            let reply = ask(proxy, seed).await;
            assert_eq!(reply.cached_tokens(), reply.promised_tokens(), "prompt {seed}");
            // What one proxy sent, the other finds.
            assert_eq!(reply.cached_tokens() > 160, round == 1, "prompt {seed}");
        }
    }
    fleet.stop().await;
}

/// A rank from which no block is ever heard gets no credit for blocks that it should be computing, and the admin API says why.
/// It is forgiven once it tells.
#[tokio::test]
async fn pending_blocks_that_are_never_stored_stop_counting() {
    let fleet = fleet(two_ranks()).await;
    fleet.workers()[0].fault(Fault::SilentRank(0));
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let ledger = async |number| rank(&proxy, "w0", number).await["ledger"].clone();
    let mut seed = 0;
    let mut until = async |ignored: bool| {
        wait_until(&format!("pending_ignored to become {ignored}"), async || {
            // New prompts of 25 blocks, each of which is judged once.
            let body = completion(seed, 400);
            seed += 1;
            assert_eq!(proxy.client.post(COMPLETIONS, &body).await.status, 200);
            ledger(0).await["pending_ignored"] == ignored
        })
        .await;
    };
    until(true).await;
    let silent = ledger(0).await;
    assert!(silent["pending_unconfirmed"].as_u64() >= Some(1000), "{silent}");
    assert_eq!(silent["pending_confirmed"], 0, "{silent}");
    let reason = silent["pending_ignored_reason"].as_str().expect("a reason");
    assert!(reason.contains("20 %") && reason.contains("prefix caching"), "{reason}");
    let heard = ledger(1).await;
    assert_eq!((&heard["pending_ignored"], &heard["pending_ignored_reason"]), (&false.into(), &Value::Null));
    assert_eq!(heard["pending_unconfirmed"], 0, "{heard}");

    fleet.workers()[0].heal();
    until(false).await;
    assert!(ledger(0).await["pending_confirmed"].as_u64() > Some(0));
    fleet.stop().await;
}

/// A worker's cache is forgotten when the worker is lost. When it is back it is too late: its feeds may have read what the new
/// process has stored before it serves.
#[tokio::test]
async fn what_a_new_process_stores_before_it_serves_is_kept() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let worker = &fleet.workers()[0];
    let mut gate = Gate::before(address_of(&fleet, 0)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let proxy = Proxy::start(&["--policy", "kv", "--worker", &flag].map(str::to_owned)).await;
    proxy.all_ready(&fleet).await;
    exact(&proxy, &fleet, 0..6).await;
    proxy.settled(&fleet).await;
    assert!(worker.cache(0).len() + worker.cache(1).len() > 6 * 10, "nothing is cached: nothing is shown");

    gate.shut().await;
    wait_until("the worker to be lost", async || proxy.status.get("/readyz").await.status == 503).await;
    worker.restart().await.expect("the same ports");
    for (number, seed) in [(0, 100), (1, 101)] {
        ask_engine(&fleet, 0, number, &completion(seed, 200)).await;
    }
    // What the new process stored, and nothing of the old one.
    proxy.settled(&fleet).await;
    assert_eq!(proxy.status.get("/readyz").await.status, 503, "it is still lost");
    for number in 0..2 {
        let blocks = rank(&proxy, "w0", number as u64).await["index"]["blocks"].as_u64();
        assert_eq!(blocks, Some(worker.cache(number).len() as u64));
        assert!(blocks > Some(10), "{blocks:?}");
    }

    gate.open().await;
    proxy.all_ready(&fleet).await;
    proxy.settled(&fleet).await;
    for seed in [100, 101] {
        let reply = ask(&proxy, seed).await;
        assert_eq!((reply.promised_tokens(), reply.cached_tokens()), (192, 192), "prompt {seed}");
    }
    for seed in 0..6 {
        assert_eq!(ask(&proxy, seed).await.promised_tokens(), 0, "prompt {seed}");
    }
    fleet.stop().await;
}

/// Of no use to any prompt, and not silently so.
#[tokio::test]
async fn events_of_another_block_size_are_counted_and_named() {
    for wire in [Wire::Vllm, Wire::TrtllmDrained] {
        let fleet = fleet(wire.spec(FleetSpec { workers: 1, ranks: 2, ..fast() })).await;
        let mut worker = wire.entry(&fleet.workers()[0], &fleet.workers()[0].url());
        worker["block_size"] = 32.into();
        let pool = json!({ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": [worker] });
        let proxy = Proxy::configured_with(&json!({ "pools": [pool] }).to_string(), &[]).await;
        proxy.all_ready(&fleet).await;
        for (rank, seed) in (0..2).zip(0..) {
            wire.ask(&fleet, 0, rank, seed).await;
        }
        wait_until("them to be counted", async || {
            let ranks = proxy.ranks().await;
            ranks.iter().all(|rank| rank["index"]["skipped_events"]["block_size"].as_u64() > Some(0))
        })
        .await;
        assert!(proxy.metric("rankwise_kv_events_skipped_total", "reason=\"block_size\"").await >= 2.0);
        assert!(proxy.ranks().await.iter().all(|rank| rank["index"]["blocks"] == 0), "{wire:?}");
        wait_until("it to be said", async || {
            proxy.log().iter().any(|line| line.contains("events are of blocks of another size"))
        })
        .await;
        fleet.stop().await;
    }
}

/// While an event is due that no replay brings, what the rank evicted since is not known: it is not relied on, and nothing is forgotten,
/// until the event has come.
#[tokio::test]
async fn a_rank_whose_events_are_late_is_not_trusted_until_they_have_come() {
    let fleet = fleet(two_ranks()).await;
    let config = json!({
        "decisions": { "sample_permille": 1000 }, "limits": { "events": { "lag_max": "300ms", "timeout": "2s" } },
        "listeners": [{ "address": "127.0.0.1:0", "trust_pins": true }],
    });
    let proxy = Proxy::configured(&fleet, &config.to_string(), &["--policy", "kv"]).await;
    let worker = &fleet.workers()[0];
    for (number, seed) in [(0, 0), (1, 1)] {
        ask_engine(&fleet, 0, number, &completion(seed, 200)).await;
    }
    exact(&proxy, &fleet, 0..2).await;
    proxy.settled(&fleet).await;
    let condition = async |number| rank(&proxy, "w0", number).await["condition"].as_u64().expect("bits");
    let untrusted = async |rank| sum(&proxy, "rankwise_kv_index_untrusted", &["worker=\"w0\"", rank]).await;
    let held = worker.cache(0).len();

    // The next two batches do not come, nor does the replay for which the third one asks.
    [Fault::NoReplay, Fault::DropEvents(2)].into_iter().for_each(|fault| worker.fault(fault));
    for seed in 100..102 {
        ask_engine(&fleet, 0, 0, &completion(seed, 200)).await;
    }
    worker.fault(Fault::DropEvents(0));
    ask_engine(&fleet, 0, 0, &completion(102, 200)).await;
    wait_until("the rank to lose trust", async || condition(0).await & UNTRUSTED != 0).await;
    let late = rank(&proxy, "w0", 0).await;
    assert!(late["index"]["event_lag_ms"].as_u64() >= Some(300), "{late}");
    assert_eq!(late["index"]["blocks"].as_u64(), Some(held as u64), "it is behind, not empty");
    assert_eq!((untrusted("dp_rank=\"0\"").await, untrusted("dp_rank=\"1\"").await), (1.0, 0.0));
    assert!(sum(&proxy, "rankwise_kv_event_lag_seconds", &["dp_rank=\"0\""]).await >= 0.3);
    assert_eq!(condition(1).await & UNTRUSTED, 0, "the other one's are all there");

    // A policy is told, and nothing is promised.
    let receipt = proxy.receipt(&ask(&proxy, 200).await).await;
    let told = |name: &str| -> Vec<u64> {
        let columns = receipt["columns"].as_array().expect("columns");
        let at = columns.iter().position(|column| column == name).expect("the column");
        let rows = receipt["rows"].as_array().expect("rows");
        rows.iter().map(|row| row["figures"][at].as_u64().expect("a number")).collect()
    };
    let (lags, conditions) = (told("event-lag-ms"), told("condition"));
    assert!(lags[0] >= 300 && lags[1] == 0, "{lags:?}");
    assert_eq!([conditions[0] & UNTRUSTED, conditions[1] & UNTRUSTED], [UNTRUSTED, 0]);
    for (number, promised) in [("0", ""), ("1", "192")] {
        let own = [("x-rankwise-worker", "w0"), ("x-rankwise-dp-rank", number)];
        let body = completion(number.parse().expect("a seed"), 200).to_string();
        let reply = proxy.client.send(http::Method::POST, COMPLETIONS, &own, body).await;
        assert_eq!(
            (reply.cached_tokens(), reply.header("x-rankwise-expected-cached-tokens")),
            (192, promised)
        );
    }

    worker.heal();
    wait_until("what was missing to have come", async || condition(0).await & UNTRUSTED == 0).await;
    proxy.settled(&fleet).await;
    assert_eq!(sum(&proxy, "rankwise_kv_index_untrusted", &[]).await, 0.0);
    let cached = exact(&proxy, &fleet, (0..2).chain(100..103)).await;
    assert_eq!(cached, 5 * 192);
    fleet.stop().await;
}

/// Nothing shows that they are missing but what the rank was sent: blocks that it should have stored stay unconfirmed, so it has to prove
/// itself, and its events do not tell of that in time.
#[tokio::test]
async fn a_rank_whose_events_come_seconds_late_is_not_trusted_until_they_come_in_time() {
    let fleet = fleet(two_ranks()).await;
    let config = "limits: { upstream: { probe_interval: 100ms } }\n";
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..4).await;
    let worker = &fleet.workers()[0];
    // Later than a proof waits for.
    worker.fault(Fault::LateEvents(Duration::from_secs(4)));
    let mut seed = 100;
    wait_until("both ranks to lose trust", async || {
        let bodies = (seed..seed + 16).map(|seed| completion(seed, 400)).collect();
        seed += 16;
        let replies = all_at_once(&proxy, COMPLETIONS, bodies, 4).await;
        assert!(replies.iter().all(is_whole));
        sum(&proxy, "rankwise_kv_index_untrusted", &[]).await == 2.0
    })
    .await;
    for number in 0..2 {
        let row = rank(&proxy, "w0", number).await;
        assert_eq!(row["health"]["proof"]["events"], false, "{row}");
        assert_eq!(row["availability"], "ready", "late events are no reason not to serve: {row}");
    }

    worker.heal();
    // Nor is what it had to store taken for another engine's prompts any more, once enough of it has come.
    wait_until("the ranks to be trusted, and their events to be of what they were sent", async || {
        ask(&proxy, seed).await;
        seed += 1;
        let ranks = proxy.ranks().await;
        ranks.iter().all(|rank| rank["condition"].as_u64().expect("bits") & (UNTRUSTED | APPROXIMATE) == 0)
    })
    .await;
    exact(&proxy, &fleet, 10_000..10_004).await;
    assert_eq!(exact(&proxy, &fleet, 10_000..10_004).await, 4 * 192);
    fleet.stop().await;
}
