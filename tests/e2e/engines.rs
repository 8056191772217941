//! What is promised of vLLM in the other tests, of the other engines over their own wires: SGLang, TensorRT-LLM behind the
//! shim, workers behind Dynamo's frontend.

use std::collections::BTreeSet;

use rankwise_sim::{EngineWire, Fault, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, arrival_of, assert_pinned, chat, completion, exact, fast, fleet, metric, streamed, text,
    wait_until,
};

const COMPLETIONS: &str = "/v1/completions";

fn spec(engine: EngineWire, workers: usize, ranks: usize) -> FleetSpec {
    FleetSpec { engine, workers, ranks, ..fast() }
}

fn sglang(workers: usize, ranks: usize) -> FleetSpec {
    spec(EngineWire::Sglang, workers, ranks)
}

/// The body as it arrived.
fn arrived(fleet: &Fleet, reply: &Reply) -> Value {
    serde_json::from_slice(&arrival_of(fleet, reply).body).expect("JSON arrived")
}

#[tokio::test]
async fn sglang_is_named_a_rank_by_header_and_field_whatever_the_client_says() {
    let fleet = fleet(sglang(2, 4)).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut places = BTreeSet::new();
    for seed in 0..4 {
        let plain = chat(&text(seed, 40));
        let mut own = plain.clone();
        own["routed_dp_rank"] = json!(3);
        own["data_parallel_rank"] = json!(2);
        for reply in [
            proxy.client.chat(&plain).await,
            proxy.client.chat(&streamed(plain.clone())).await,
            proxy.client.chat(&own).await,
            proxy.client.post(COMPLETIONS, &completion(seed, 40)).await,
        ] {
            let (worker, rank) = assert_pinned(&fleet, &reply);
            let body = arrived(&fleet, &reply);
            assert_eq!(body["routed_dp_rank"], rank);
            assert!(body["data_parallel_rank"].is_null());
            places.insert((worker, rank));
        }
    }
    assert_eq!(places.len(), 8, "16 turns of 8 ranks");

    // Where the engine is to choose, the client is not.
    proxy.activate("round-robin", json!({})).await;
    let mut own = chat(&text(9, 40));
    own["routed_dp_rank"] = json!(3);
    let reply = proxy.client.chat(&own).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(arrived(&fleet, &reply)["routed_dp_rank"].is_null());
    assert!(arrival_of(&fleet, &reply).rank_headers().is_empty());
    fleet.stop().await;
}

#[tokio::test]
async fn trtllm_behind_the_shim_is_named_a_rank_by_header() {
    let fleet = fleet(spec(EngineWire::Trtllm, 2, 4)).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut places = BTreeSet::new();
    for seed in 0..8 {
        let body = chat(&text(seed, 40));
        places.insert(assert_pinned(&fleet, &proxy.client.chat(&body).await));
        let reply = proxy.client.chat(&streamed(body.clone())).await;
        places.insert(assert_pinned(&fleet, &reply));
        // Its request models forbid fields that they do not know.
        assert_eq!(arrived(&fleet, &reply), streamed(body));
    }
    assert_eq!(places.len(), 8, "16 turns of 8 ranks");
    fleet.stop().await;
}

/// Nobody says what it is but itself.
async fn told_by_its_own_words(engine: EngineWire) {
    let fleet = fleet(spec(engine, 1, 4)).await;
    let worker = &fleet.workers()[0];
    let flags = ["--worker".to_owned(), format!("{},name=w0", worker.url())];
    let proxy = Proxy::start(&flags).await;
    proxy.all_ready(&fleet).await;
    let log = proxy.log().join("\n");
    assert!(log.contains(&format!("engine=\"{}\"", engine.name())), "{log}");
    wait_until("its load to be told", async || {
        proxy.metrics().await.contains("rankwise_engine_running_requests{")
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn sglang_is_told_by_its_own_words() {
    told_by_its_own_words(EngineWire::Sglang).await;
}

#[tokio::test]
async fn trtllm_is_told_by_its_own_words() {
    told_by_its_own_words(EngineWire::Trtllm).await;
}

async fn loses_events(engine: EngineWire) {
    let fleet = fleet(spec(engine, 1, 2)).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..4).await;
    fleet.workers()[0].fault(Fault::DropEvents(3));
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 100..110 {
        let reply = proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    proxy.activate("kv", json!({})).await;
    proxy.settled(&fleet).await;
    assert!(metric(&proxy.metrics().await, "rankwise_kv_event_gaps_total", &[]) >= 2.0);
    let cached = exact(&proxy, &fleet, (0..4).chain(100..110)).await;
    assert!(cached > 14 * 160, "{cached}");

    wait_until("the engine to be idle", async || fleet.workers()[0].clear_caches()).await;
    // Each rank tells it with its next batch.
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 200..202 {
        proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
    }
    proxy.activate("kv", json!({})).await;
    assert_eq!(exact(&proxy, &fleet, 0..1).await, 0);
    fleet.stop().await;
}

async fn restarts(engine: EngineWire) {
    let fleet = fleet(spec(engine, 2, 2)).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    exact(&proxy, &fleet, 0..8).await;
    fleet.workers()[0].restart().await.expect("the same ports");
    // A connection that the restart cut may still be handed out: what that request gets is not asked here.
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut answered = BTreeSet::new();
    wait_until("every rank to answer again", async || {
        let reply = proxy.client.chat(&chat(&text(99, 40))).await;
        if reply.status == 200 {
            answered.insert(assert_pinned(&fleet, &reply));
        }
        answered.len() == 4
    })
    .await;
    proxy.activate("kv", json!({})).await;
    proxy.all_ready(&fleet).await;
    exact(&proxy, &fleet, 0..8).await;
    let cached = exact(&proxy, &fleet, 0..8).await;
    assert!(cached >= 8 * 160, "{cached}");
    fleet.stop().await;
}

async fn is_silent(engine: EngineWire) {
    let fleet = fleet(spec(engine, 1, 2)).await;
    fleet.workers()[0].fault(Fault::SilentRank(0));
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let mut on_silent = 0;
    for seed in (0..12).chain(0..12) {
        let reply = proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        if reply.number("x-rankwise-dp-rank") == 0 {
            on_silent += 1;
            assert_eq!(reply.promised_tokens(), 0);
        }
    }
    assert!(on_silent > 0);
    fleet.stop().await;
}

#[tokio::test]
async fn sglang_lost_events_are_replayed_and_a_flushed_cache_is_empty() {
    loses_events(EngineWire::Sglang).await;
}

#[tokio::test]
async fn a_restart_of_sglang_empties_the_index() {
    restarts(EngineWire::Sglang).await;
}

#[tokio::test]
async fn a_silent_rank_of_sglang_promises_nothing() {
    is_silent(EngineWire::Sglang).await;
}

#[tokio::test]
async fn trtllm_lost_events_are_replayed_and_a_flushed_cache_is_empty() {
    loses_events(EngineWire::Trtllm).await;
}

#[tokio::test]
async fn a_restart_of_trtllm_empties_the_index() {
    restarts(EngineWire::Trtllm).await;
}

#[tokio::test]
async fn a_silent_rank_of_trtllm_promises_nothing() {
    is_silent(EngineWire::Trtllm).await;
}

/// Caches of 48 blocks, which nearly every request evicts from.
#[tokio::test]
async fn the_index_is_exact_while_small_caches_of_trtllm_evict() {
    let fleet = fleet(FleetSpec { blocks_per_rank: 49, ..spec(EngineWire::Trtllm, 2, 2) }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let mut random = fastrand::Rng::with_seed(5);
    let cached = exact(&proxy, &fleet, (0..60).map(|_| random.u64(0..12))).await;
    assert!(cached > 0);
    fleet.stop().await;
}

/// A frontend that passes requests on to the worker that a header names: what it got from us is what counts.
#[tokio::test]
async fn a_worker_behind_dynamo_is_named_by_id_and_rank() {
    let fleet = fleet(spec(EngineWire::Vllm, 1, 2)).await;
    let worker = &fleet.workers()[0];
    let events: Vec<_> = (0..2)
        .map(|rank| {
            let (endpoint, replay) = (worker.event_endpoint(rank), worker.replay_endpoint(rank));
            json!({ "endpoint": endpoint, "replay": replay, "topic": "kv-events" })
        })
        .collect();
    let behind = |name: &str, id: &str, events: &[Value]| {
        json!({
            "name": name, "url": worker.url(), "engine": "dynamo", "ranks": 2, "block_size": 16,
            "events": events, "headers": { "x-worker-instance-id": id },
        })
    };
    let tokenizer = worker.tokenizer_folder();
    let pool =
        |workers: &[Value]| json!({ "pools": [{ "tokenizer": tokenizer, "workers": workers }] }).to_string();

    // JSON is YAML.
    let one = Proxy::configured_with(&pool(&[behind("w0", "42", &events)]), &[]).await;
    one.all_ready(&fleet).await;
    let cached = exact(&one, &fleet, (0..6).chain(0..6)).await;
    assert!(cached >= 6 * 160, "{cached}");
    drop(one);

    let two = [behind("w0", "42", &[]), behind("w1", "7", &[])];
    let proxy = Proxy::configured_with(&pool(&two), &[]).await;
    wait_until("both workers' ranks to be ready", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 4 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut places = BTreeSet::new();
    for seed in 0..8 {
        let own = [
            ("x-worker-instance-id", "666"),
            ("x-dynamo-dp-rank", "0"),
            ("X-Dynamo-Worker-Instance-Id", "1"),
        ];
        let body = chat(&text(seed, 40)).to_string();
        let reply = proxy.client.send(http::Method::POST, "/v1/chat/completions", &own, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let arrival = arrival_of(&fleet, &reply);
        let ids: Vec<_> = arrival.headers.get_all("x-worker-instance-id").iter().collect();
        assert_eq!(ids, [if reply.header("x-rankwise-worker") == "w0" { "42" } else { "7" }]);
        assert!(!arrival.headers.keys().any(|name| name.as_str().starts_with("x-dynamo-")));
        assert_eq!(arrival.rank_headers(), [reply.header("x-rankwise-dp-rank")]);
        places.insert((reply.header("x-rankwise-worker").to_owned(), arrival.rank));
    }
    assert_eq!(places.len(), 4, "8 turns of 4 ranks");
    fleet.stop().await;
}

/// vLLM's hybrid mode: two servers of one deployment, whose events and metrics count ranks throughout.
#[tokio::test]
async fn ranks_with_global_numbers_are_named_by_their_local_ones() {
    let hybrid = FleetSpec { workers_per_group: 2, global_ranks: true, ..spec(EngineWire::Vllm, 2, 2) };
    let fleet = fleet(hybrid).await;
    let worker = |worker: &rankwise_sim::WorkerHandle| json!({ "name": format!("w{}", worker.index()), "url": worker.url(), "group": "all" });
    let workers: Vec<_> = fleet.workers().iter().map(worker).collect();
    let proxy = Proxy::configured_with(&json!({ "pools": [{ "workers": workers }] }).to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    let groups: BTreeSet<_> = proxy.ranks().await.iter().map(|rank| rank["group"].as_u64()).collect();
    assert_eq!(groups.len(), 1, "all four step together");
    let cached = exact(&proxy, &fleet, (0..8).chain(0..8)).await;
    assert!(cached >= 8 * 160, "{cached}");
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut places = BTreeSet::new();
    for seed in 0..8 {
        places.insert(assert_pinned(&fleet, &proxy.client.chat(&chat(&text(seed, 40))).await));
    }
    assert_eq!(places, BTreeSet::from([(0, 0), (0, 1), (1, 0), (1, 1)]));
    fleet.stop().await;
}

/// vLLM's external mode: each rank is a server of its own, with a global number that requests must not name.
#[tokio::test]
async fn a_server_of_one_rank_is_named_none() {
    let external = FleetSpec { workers_per_group: 3, global_ranks: true, ..spec(EngineWire::Vllm, 3, 1) };
    let fleet = fleet(external).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let cached = exact(&proxy, &fleet, (0..6).chain(0..6)).await;
    assert!(cached >= 6 * 160, "{cached}");
    for arrival in crate::harness::arrivals(&fleet) {
        assert!(arrival.rank_headers().is_empty(), "{:?}", arrival.headers);
    }
    fleet.stop().await;
}
