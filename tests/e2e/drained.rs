//! TensorRT-LLM without rankwise's shim, its events drained: each is told once, to whoever asks first.

use std::net::SocketAddr;

use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer, WorkerHandle};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    Client, Proxy, UNTRUSTED, address_of, ask, completion, exact, fast, fleet, metric, wait_until,
};

const COMPLETIONS: &str = "/v1/completions";

/// Servers that take a rank in the body.
fn servers(workers: usize) -> FleetSpec {
    let trtllm = TrtllmServer::BareWithRankFields;
    FleetSpec { engine: EngineWire::Trtllm, trtllm, workers, ranks: 2, ..fast() }
}

/// A proxy that drains the workers of a fleet, w0 and so on; every rank may be picked when this returns.
async fn draining(fleet: &Fleet) -> Proxy {
    let entry = |(number, worker): (usize, &WorkerHandle)| {
        json!({
            "name": format!("w{number}"), "url": worker.url(), "engine": "trtllm", "ranks": worker.stats().len(),
            "block_size": 16, "drain_events": true,
        })
    };
    let entries: Vec<_> = fleet.workers().iter().enumerate().map(entry).collect();
    let pool = json!({ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": entries });
    let proxy = Proxy::configured_with(&json!({ "pools": [pool] }).to_string(), &[]).await;
    proxy.all_ready(fleet).await;
    proxy
}

/// A prompt of its own, 12 whole blocks long.
fn prompt(seed: u64) -> Value {
    completion(seed, 200)
}

/// Asks a server past the proxy, which chooses the rank if none is named.
async fn ask_server(server: SocketAddr, rank: Option<u32>, seed: u64) {
    let mut body = prompt(seed);
    if let Some(rank) = rank {
        body["attention_dp_rank"] = rank.into();
        body["attention_dp_relax"] = false.into();
    }
    let reply = Client::new(server).post(COMPLETIONS, &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// Waits until the proxy has read all that the only worker has told, whatever it made of it.
async fn caught_up(proxy: &Proxy, fleet: &Fleet) {
    let worker = &fleet.workers()[0];
    wait_until("all that was told to be read", async || {
        let ranks = proxy.ranks().await;
        ranks.iter().enumerate().all(|(number, rank)| {
            rank["ledger"]["running"] == 0
                && rank["index"]["next_sequence"].as_u64() == Some(worker.next_sequence(number))
        })
    })
    .await;
}

/// The ranks whose index is in doubt.
async fn untrusted(proxy: &Proxy) -> Vec<u64> {
    let ranks = proxy.ranks().await;
    let in_doubt = |rank: &&Value| rank["condition"].as_u64().expect("bits") & UNTRUSTED != 0;
    ranks.iter().filter(in_doubt).map(|rank| rank["dp_rank"].as_u64().expect("a number")).collect()
}

/// Gaps that were seen in what the first rank told.
async fn gaps(proxy: &Proxy) -> f64 {
    metric(&proxy.metrics().await, "rankwise_kv_event_gaps_total", &["dp_rank=\"0\""])
}

fn says_why(proxy: &Proxy) -> bool {
    let why = "does somebody else drain them, or is event_buffer_max_size too small?";
    proxy.log().iter().any(|line| line.contains(why))
}

#[tokio::test]
async fn prompts_find_their_blocks_and_a_restart_loses_them() {
    let fleet = fleet(servers(2)).await;
    let proxy = draining(&fleet).await;
    assert_eq!(exact(&proxy, &fleet, 0..8).await, 0);
    assert_eq!(exact(&proxy, &fleet, 0..8).await, 8 * 192);
    assert_eq!(gaps(&proxy).await, 0.0);
    assert!(untrusted(&proxy).await.is_empty());

    fleet.workers()[0].restart().await.expect("the same port");
    for (rank, seed) in [(0, 100), (1, 101)] {
        ask_server(address_of(&fleet, 0), Some(rank), seed).await;
    }
    // The new cache, and nothing of the old one.
    proxy.all_ready(&fleet).await;
    proxy.settled(&fleet).await;
    assert_eq!(exact(&proxy, &fleet, 100..102).await, 2 * 192);
    fleet.stop().await;
}

/// What was lost is gone from the engine by the time it has stored as many blocks as it holds.
#[tokio::test]
async fn events_that_overflow_leave_a_rank_in_doubt_until_what_was_lost_is_gone() {
    // 256 blocks, some twenty of these prompts.
    let spec = FleetSpec { blocks_per_rank: 257, buffer_steps: 6, ..servers(1) };
    let fleet = fleet(spec).await;
    let proxy = draining(&fleet).await;
    exact(&proxy, &fleet, 0..2).await;
    proxy.settled(&fleet).await;

    // Nine of these prompts are computed in one step: nobody can ask in between.
    let (worker, server) = (&fleet.workers()[0], address_of(&fleet, 0));
    let before = worker.stats()[0].requests;
    fleet.hold();
    let mut asked = JoinSet::new();
    for seed in 100..110 {
        asked.spawn(ask_server(server, Some(0), seed));
    }
    wait_until("all to have come", async || worker.stats()[0].requests == before + 10).await;
    fleet.release();
    asked.join_all().await;
    wait_until("the gap to be seen", async || untrusted(&proxy).await == [0]).await;
    assert!(gaps(&proxy).await >= 1.0);
    wait_until("it to be said", async || says_why(&proxy)).await;
    for seed in 100..110 {
        caught_up(&proxy, &fleet).await;
        let reply = ask(&proxy, seed).await;
        assert!(reply.promised_tokens() <= reply.cached_tokens(), "prompt {seed}");
    }

    let mut seed = 200;
    wait_until("the rank to be trusted again", async || {
        caught_up(&proxy, &fleet).await;
        ask_server(server, Some(0), seed).await;
        seed += 1;
        untrusted(&proxy).await.is_empty()
    })
    .await;
    caught_up(&proxy, &fleet).await;
    let reply = ask(&proxy, seed - 1).await;
    assert_eq!((reply.promised_tokens(), reply.cached_tokens()), (192, 192));
    // From an empty cache on it is exact.
    wait_until("the engine to be idle", async || worker.clear_caches()).await;
    ask_server(server, Some(0), 1000).await;
    let cached = exact(&proxy, &fleet, (2000..2004).chain(2000..2004)).await;
    assert_eq!(cached, 4 * 192);
    fleet.stop().await;
}

/// An answer of more bytes than may be is lost, and with it what its ranks hold; from an empty cache on it is exact again.
#[tokio::test]
async fn an_answer_that_is_too_long_empties_the_ranks() {
    let fleet = fleet(servers(1)).await;
    let (worker, server) = (&fleet.workers()[0], address_of(&fleet, 0));
    let entry = json!({
        "name": "w0", "url": worker.url(), "engine": "trtllm", "ranks": 2, "block_size": 16, "drain_events": true,
    });
    let pool = json!({ "tokenizer": worker.tokenizer_folder(), "workers": [entry] });
    // Enough for what one of these prompts tells, which is some 14 KiB, and not for ten.
    let limits = json!({ "events": { "drain_bytes_max": "64Ki" } });
    let proxy = Proxy::configured_with(&json!({ "pools": [pool], "limits": limits }).to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    assert_eq!(exact(&proxy, &fleet, (0..2).chain(0..2)).await, 2 * 192);

    let before = worker.stats()[0].requests;
    fleet.hold();
    let mut asked = JoinSet::new();
    for seed in 100..110 {
        asked.spawn(ask_server(server, Some(0), seed));
    }
    wait_until("all to have come", async || worker.stats()[0].requests == before + 10).await;
    // They are computed in two steps, of which each tells more than may be.
    fleet.release();
    asked.join_all().await;
    wait_until("it to be said", async || {
        proxy.log().iter().any(|line| line.contains("events not drained") && line.contains("length limit"))
    })
    .await;
    wait_until("both ranks to be emptied", async || {
        let ranks = proxy.ranks().await;
        untrusted(&proxy).await == [0, 1] && ranks.iter().all(|rank| rank["index"]["blocks"] == 0)
    })
    .await;
    for seed in (0..2).chain(100..104) {
        assert_eq!(ask(&proxy, seed).await.promised_tokens(), 0, "prompt {seed}");
    }

    wait_until("the engine to be idle", async || worker.clear_caches()).await;
    for (rank, seed) in [(0, 1000), (1, 1001)] {
        ask_server(server, Some(rank), seed).await;
    }
    wait_until("the ranks to be trusted again", async || untrusted(&proxy).await.is_empty()).await;
    assert_eq!(exact(&proxy, &fleet, (2000..2004).chain(2000..2004)).await, 4 * 192);
    fleet.stop().await;
}

#[tokio::test]
async fn two_that_drain_a_server_notice_and_promise_nothing_wrong() {
    let fleet = fleet(servers(1)).await;
    let (worker, server) = (&fleet.workers()[0], address_of(&fleet, 0));
    let first = draining(&fleet).await;
    assert_eq!(exact(&first, &fleet, (0..2).chain(0..2)).await, 2 * 192);

    let second = draining(&fleet).await;
    let mut seed = 100;
    wait_until("events to be missed", async || {
        ask_server(server, Some(0), seed).await;
        seed += 1;
        gaps(&first).await >= 1.0
    })
    .await;
    wait_until("it to be said", async || says_why(&first)).await;
    // The one has heard how its ranks began, and doubts since the gap; the other has not.
    assert!(untrusted(&first).await.contains(&0) && untrusted(&second).await.contains(&0));
    for proxy in [&first, &second] {
        for seed in (0..2).chain(100..104) {
            let reply = ask(proxy, seed).await;
            assert!(reply.promised_tokens() <= reply.cached_tokens(), "prompt {seed}");
        }
    }

    drop(second);
    wait_until("the ranks to be trusted again", async || {
        if worker.clear_caches() {
            ask_server(server, Some(0), seed).await;
            seed += 1;
        }
        untrusted(&first).await.is_empty()
    })
    .await;
    assert_eq!(exact(&first, &fleet, (2000..2004).chain(2000..2004)).await, 4 * 192);
    fleet.stop().await;
}

/// Whoever named it, and whatever it is called: of two that drain one server neither would hear all.
#[tokio::test]
async fn a_second_worker_at_the_same_address_waits_for_the_first_to_leave() {
    let fleet = fleet(servers(1)).await;
    let proxy = draining(&fleet).await;
    assert_eq!(exact(&proxy, &fleet, (0..2).chain(0..2)).await, 2 * 192);
    let again = json!({
        "name": "again", "url": fleet.workers()[0].url(), "engine": "trtllm", "ranks": 2, "block_size": 16, "drain_events": true,
    });
    let workers = "/v1/pools/main/workers";
    let added = proxy.admin.send(http::Method::POST, workers, &[], again.to_string()).await;
    assert!(added.status.is_success(), "{}", added.text());
    let of = async |worker: &str| -> Vec<Value> {
        proxy.ranks().await.into_iter().filter(|rank| rank["worker"] == worker).collect()
    };
    let trusted = |rank: &Value| rank["condition"].as_u64().expect("bits") & UNTRUSTED == 0;
    wait_until("it to serve", async || {
        let ranks = of("again").await;
        ranks.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    wait_until("it to be said", async || {
        let said = |line: &String| line.contains("events not drained") && line.contains("worker w0");
        proxy.log().iter().any(said)
    })
    .await;
    // What it was sent to prove itself the first has heard of, and nothing was missed.
    wait_until("all to be read", async || {
        let worker = &fleet.workers()[0];
        of("w0").await.iter().enumerate().all(|(number, rank)| {
            rank["index"]["next_sequence"].as_u64() == Some(worker.next_sequence(number))
        })
    })
    .await;
    assert!(of("w0").await.iter().all(trusted) && !of("again").await.iter().any(trusted));
    assert_eq!(gaps(&proxy).await, 0.0);

    let gone = proxy.admin.send(http::Method::DELETE, &format!("{workers}/w0"), &[], "").await;
    assert!(gone.status.is_success(), "{}", gone.text());
    let mut seed = 100;
    wait_until("the second to drain", async || {
        if fleet.workers()[0].clear_caches() {
            for rank in 0..2 {
                ask_server(address_of(&fleet, 0), Some(rank), seed).await;
                seed += 1;
            }
        }
        of("again").await.iter().all(trusted)
    })
    .await;
    fleet.stop().await;
}

/// The rank is the engine's choice: a prompt comes to the worker of which some rank holds it, and nothing is promised of the rank.
#[tokio::test]
async fn where_no_rank_can_be_named_the_worker_is_found() {
    let fleet = fleet(FleetSpec { trtllm: TrtllmServer::Bare, ..servers(2) }).await;
    let proxy = draining(&fleet).await;
    for seed in 0..8 {
        ask_server(address_of(&fleet, seed as usize % 2), None, seed).await;
    }
    proxy.settled(&fleet).await;
    assert!(fleet.workers().iter().all(|worker| (0..2).all(|rank| !worker.cache(rank).is_empty())));
    const NOT_PINNABLE: u64 = 1 << 4;
    for rank in proxy.ranks().await {
        let condition = rank["condition"].as_u64().expect("bits");
        assert_eq!(condition & (NOT_PINNABLE | UNTRUSTED), NOT_PINNABLE, "{rank}");
    }
    for seed in 0..8 {
        proxy.settled(&fleet).await;
        let reply = ask(&proxy, seed).await;
        assert_eq!(reply.header("x-rankwise-worker"), format!("w{}", seed % 2), "prompt {seed}");
        assert_eq!(reply.header("x-rankwise-dp-rank"), "");
        assert_eq!(reply.header("x-rankwise-expected-cached-tokens"), "");
    }
    fleet.stop().await;
}
