//! Requests in two legs: workers that compute prompts, and workers that answer.

use std::collections::{BTreeMap, BTreeSet};

use rankwise_sim::{Arrival, EngineWire, Fault, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, arrivals, chat, completion, decide_by, fast, fleet, refuse_connections, streamed, text,
    wait_until,
};

const COMPLETIONS: &str = "/v1/completions";
const ENGINES: [EngineWire; 3] = [EngineWire::Vllm, EngineWire::Sglang, EngineWire::Trtllm];

/// Of four workers of two ranks the first two compute prompts.
fn spec(engine: EngineWire) -> FleetSpec {
    FleetSpec { engine, workers: 4, ranks: 2, prefill_workers: 2, ..fast() }
}

/// The proxy's own looks are a minute apart, so that requests are the first to notice.
fn unwatched() -> Value {
    json!({ "upstream": { "probe_interval": "1m", "load_interval": "1m" } })
}

/// In front of it, told the roles where the engine does not tell; every rank may be picked.
async fn proxy_of(fleet: &Fleet, more: Value) -> Proxy {
    let told = |worker: &rankwise_sim::WorkerHandle| {
        let mut entry = json!({
            "name": format!("w{}", worker.index()), "url": worker.url(), "engine": worker.engine().name(),
        });
        if worker.engine() != EngineWire::Sglang {
            entry["role"] = if worker.index() < 2 { "prefill".into() } else { "decode".into() };
        }
        entry
    };
    let mut pool = json!({ "workers": fleet.workers().iter().map(told).collect::<Vec<_>>() });
    for (name, value) in more.as_object().expect("an object") {
        pool[name] = value.clone();
    }
    if fleet.workers()[0].engine() == EngineWire::Trtllm {
        pool["tokenizer"] = json!(fleet.workers()[0].tokenizer_folder());
    }
    // JSON is YAML.
    let config = json!({ "pools": [pool], "limits": unwatched() });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    proxy.all_ready(fleet).await;
    proxy
}

async fn round_robin(fleet: &Fleet) -> Proxy {
    let proxy = proxy_of(fleet, json!({})).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    proxy
}

/// What arrived of a request, by worker.
fn legs(fleet: &Fleet, reply: &Reply) -> BTreeMap<usize, Arrival> {
    let id = reply.header("x-request-id");
    let of_request = arrivals(fleet).into_iter().filter(|arrival| arrival.headers["x-request-id"] == id);
    of_request.map(|arrival| (arrival.worker, arrival)).collect()
}

fn json_of(arrival: &Arrival) -> Value {
    serde_json::from_slice(&arrival.body).expect("JSON arrived")
}

/// Checks that both legs arrived, each once, where the reply says and pinned to the rank it says. The places.
fn assert_legs(fleet: &Fleet, reply: &Reply) -> [(usize, u32); 2] {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let legs = legs(fleet, reply);
    assert_eq!(legs.len(), 2, "{}", reply.text());
    let mut places = legs.values().map(|arrival| {
        let rank = arrival.rank.expect("it was served");
        assert_eq!(arrival.rank_headers(), [rank.to_string()]);
        (arrival.worker, rank)
    });
    let [prefill, decode] = [places.next().expect("a prefill"), places.next().expect("an answer")];
    assert_eq!(format!("w{}", prefill.0), reply.header("x-rankwise-prefill-worker"));
    assert_eq!(prefill.1, reply.number("x-rankwise-prefill-dp-rank"));
    assert_eq!(format!("w{}", decode.0), reply.header("x-rankwise-worker"));
    assert_eq!(decode.1, reply.number("x-rankwise-dp-rank"));
    assert!(prefill.0 < 2 && decode.0 >= 2);
    [prefill, decode]
}

async fn way(proxy: &Proxy, way: &str) -> f64 {
    proxy.metric("rankwise_disaggregation_total", &format!("way=\"{way}\"")).await
}

fn computed(fleet: &Fleet, workers: std::ops::Range<usize>) -> u64 {
    let stats = fleet.workers()[workers].iter().flat_map(rankwise_sim::WorkerHandle::stats);
    stats.map(|rank| rank.prefill_computed_tokens).sum()
}

async fn runs_in_legs(engine: EngineWire) {
    let fleet = fleet(spec(engine)).await;
    let proxy = round_robin(&fleet).await;
    let before = computed(&fleet, 2..4);
    let mut places = BTreeSet::new();
    for seed in 0..4 {
        let plain = chat(&text(seed, 60));
        for reply in [
            proxy.client.chat(&plain).await,
            proxy.client.chat(&streamed(plain.clone())).await,
            proxy.client.post(COMPLETIONS, &completion(seed, 60)).await,
        ] {
            places.extend(assert_legs(&fleet, &reply));
            assert_eq!(reply.usage()["completion_tokens"], 4, "all of the answer is the second leg's");
        }
    }
    assert_eq!(places.len(), 8, "12 turns of 4 ranks each");
    assert_eq!(computed(&fleet, 2..4), before, "no prompt is computed where it is answered");
    assert_eq!(way(&proxy, "legs").await, 12.0);
    wait_until("every first leg to be read to its end", async || {
        proxy.metric("rankwise_prefills_total", "outcome=\"done\"").await == 12.0
    })
    .await;
    wait_until("nothing to be booked", async || {
        proxy
            .ranks()
            .await
            .iter()
            .all(|rank| rank["ledger"]["running"] == 0 && rank["ledger"]["prefill_tokens"] == 0)
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn vllm_runs_both_legs_where_they_were_decided() {
    runs_in_legs(EngineWire::Vllm).await;
}

#[tokio::test]
async fn sglang_runs_both_legs_where_they_were_decided() {
    runs_in_legs(EngineWire::Sglang).await;
}

#[tokio::test]
async fn trtllm_runs_both_legs_where_they_were_decided() {
    runs_in_legs(EngineWire::Trtllm).await;
}

/// What the prefill rank is promised to have cached is what its answer says; the index follows both ranks.
#[tokio::test]
async fn each_leg_goes_where_its_blocks_are() {
    let fleet = fleet(spec(EngineWire::Vllm)).await;
    let proxy = proxy_of(&fleet, json!({ "policy": { "name": "kv" } })).await;
    let mut homes = BTreeMap::new();
    for seed in (0..4).chain(0..4) {
        proxy.settled(&fleet).await;
        let reply = proxy.client.post(COMPLETIONS, &completion(seed, 200)).await;
        let places = assert_legs(&fleet, &reply);
        let home = homes.entry(seed).or_insert(places);
        assert_eq!(*home, places, "prompt {seed}");
    }
    proxy.settled(&fleet).await;
    let expectation = async |result: &str| {
        proxy.metric("rankwise_expectation_total", &format!("result=\"{result}\"")).await
    };
    assert_eq!((expectation("met").await, expectation("missed").await), (8.0, 0.0));
    // Blocks of 16 of 200 tokens: all that are whole, but for the last, which is computed to say something.
    assert_eq!(proxy.metric("rankwise_overlap_blocks_total", "of=\"reused\"").await, 4.0 * 12.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_receipt_tells_of_each_phase() {
    let fleet = fleet(spec(EngineWire::Vllm)).await;
    let proxy = proxy_of(&fleet, json!({})).await;
    let armed = proxy.admin.post("/v1/pools/main/decisions", &json!({ "request_id": "both" })).await;
    assert_eq!(armed.status, 202, "{}", armed.text());
    let body = chat(&text(1, 60)).to_string();
    let reply = proxy
        .client
        .send(http::Method::POST, "/v1/chat/completions", &[("x-request-id", "both")], body)
        .await;
    assert_legs(&fleet, &reply);
    let mut receipts = Vec::new();
    wait_until("both receipts", async || {
        let page = proxy.admin.get("/v1/pools/main/decisions?request_id=both").await.json();
        receipts = page["decisions"].as_array().cloned().unwrap_or_default();
        receipts.len() == 2 && receipts.iter().all(|receipt| !receipt["truth"].is_null())
    })
    .await;
    let phases: Vec<_> =
        receipts.iter().map(|receipt| (&receipt["phase"], &receipt["truth"]["outcome"])).collect();
    assert_eq!(phases, [(&json!("decode"), &json!("ok")), (&json!("prefill"), &json!("prefill done"))]);
    for (receipt, workers) in receipts.iter().zip([["w2", "w3"], ["w0", "w1"]]) {
        let rows = receipt["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 4);
        assert!(rows.iter().all(|row| workers.contains(&row["worker"].as_str().expect("a name"))));
        assert_eq!(receipt["sequence"], 0, "each phase has numbers of its own");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_policy_that_skips_the_prefill_has_requests_run_whole() {
    let fleet = fleet(spec(EngineWire::Vllm)).await;
    let proxy = proxy_of(&fleet, json!({})).await;
    let skip = "(if (result i32) (i32.eq (local.get $phase) (i32.const 1))
        (then (i64.store (i32.const 128) (i64.const 0x200000000)) (i32.const 128))
        (else (call $rank (i32.const 0))))";
    decide_by(&proxy, skip).await;
    let reply = proxy.client.chat(&chat(&text(1, 60))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(legs(&fleet, &reply).keys().collect::<Vec<_>>(), [&2], "a worker that answers takes it whole");
    assert_eq!(reply.header("x-rankwise-prefill-worker"), "");
    assert_eq!((way(&proxy, "skipped").await, way(&proxy, "legs").await), (1.0, 0.0));

    // Who answers for SGLang waits for KV, so nobody takes it.
    let waiting = crate::harness::fleet(spec(EngineWire::Sglang)).await;
    let proxy = proxy_of(&waiting, json!({})).await;
    decide_by(&proxy, skip).await;
    let reply = proxy.client.chat(&chat(&text(1, 60))).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-rankwise-error")), (503, "decision"));
    assert!(arrivals(&waiting).is_empty());
    waiting.stop().await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_the_engines_do_not_split_runs_whole_and_clients_name_no_kv() {
    let fleet = fleet(spec(EngineWire::Vllm)).await;
    let proxy = round_robin(&fleet).await;
    let mut several = chat(&text(1, 60));
    several["n"] = 2.into();
    let foreign = json!({ "do_remote_prefill": true, "remote_host": "10.9.9.9", "remote_port": 1 });
    several["kv_transfer_params"] = foreign.clone();
    let reply = proxy.client.chat(&several).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let whole = legs(&fleet, &reply);
    assert_eq!(whole.len(), 1);
    let arrived = whole.values().next().expect("one");
    assert!(arrived.worker >= 2 && json_of(arrived)["kv_transfer_params"].is_null());
    assert_eq!(way(&proxy, "indivisible").await, 1.0);

    let mut single = chat(&text(1, 60));
    single["kv_transfer_params"] = foreign;
    let reply = proxy.client.chat(&single).await;
    let [prefill, _] = assert_legs(&fleet, &reply);
    let legs = legs(&fleet, &reply);
    for arrival in legs.values() {
        assert_ne!(json_of(arrival)["kv_transfer_params"]["remote_host"], "10.9.9.9");
    }
    let first = json_of(&legs[&prefill.0]);
    assert_eq!((&first["max_tokens"], &first["stream"]), (&json!(1), &json!(false)));
    fleet.stop().await;
}

/// A prefill that fails before anything was sent to who answers is decided again, and at last the request runs whole.
async fn prefill_fails(engine: EngineWire) {
    let fleet = fleet(spec(engine)).await;
    let proxy = round_robin(&fleet).await;
    refuse_connections(&fleet.workers()[0]).await;
    for seed in 0..4 {
        let reply = proxy.client.chat(&chat(&text(seed, 60))).await;
        let [prefill, _] = assert_legs(&fleet, &reply);
        assert_eq!(prefill.0, 1);
    }
    fleet.workers()[1].stop().await;
    let reply = proxy.client.chat(&chat(&text(9, 60))).await;
    if engine == EngineWire::Sglang {
        assert_eq!(reply.status, 503, "{}", reply.text());
    } else {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(legs(&fleet, &reply).keys().all(|worker| *worker >= 2));
    }
    assert!(proxy.metric("rankwise_prefills_total", "outcome=\"failed\"").await >= 1.0);
    wait_until("nothing to be booked", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0)
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_prefill_of_vllm_that_fails_is_decided_again_or_not_needed() {
    prefill_fails(EngineWire::Vllm).await;
}

#[tokio::test]
async fn a_prefill_of_sglang_that_fails_is_decided_again() {
    prefill_fails(EngineWire::Sglang).await;
}

#[tokio::test]
async fn a_prefill_answered_500_is_decided_again_and_takes_its_rank_out() {
    let fleet = fleet(spec(EngineWire::Trtllm)).await;
    let proxy = round_robin(&fleet).await;
    fleet.workers()[0].fault(Fault::ServerError);
    let mut prefills = BTreeSet::new();
    for seed in 0..4 {
        let reply = proxy.client.chat(&chat(&text(seed, 60))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        prefills.insert(reply.header("x-rankwise-prefill-worker").to_owned());
    }
    assert_eq!(prefills, BTreeSet::from(["w1".to_owned()]));
    let out = proxy.metric("rankwise_ranks_taken_out_total", "worker=\"w0\"").await;
    assert!(out >= 1.0, "{out}");
    fleet.stop().await;
}

/// Nothing is sent twice once it may have begun: the stream ends with an error.
#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_an_error_and_is_not_begun_again() {
    for engine in ENGINES {
        let fleet = fleet(spec(engine)).await;
        let proxy = round_robin(&fleet).await;
        for worker in &fleet.workers()[2..] {
            worker.fault(Fault::ResetAfter(2));
        }
        let reply = proxy.client.chat(&streamed(chat(&text(1, 60)))).await;
        assert_legs(&fleet, &reply);
        let events = reply.events();
        let [.., error, done] = events.as_slice() else { panic!("{events:?}") };
        assert!(error.contains("\"error\"") && done == "[DONE]", "{events:?}");
        fleet.stop().await;
    }
}

/// One that computes a prompt dies: where nobody has begun to answer, another one computes it; where the answer's leg was sent with it,
/// that is an error. Whatever the engine, nobody answers twice.
#[tokio::test]
async fn a_prefill_that_dies_in_the_middle_is_decided_again_or_an_error() {
    for engine in [EngineWire::Vllm, EngineWire::Trtllm, EngineWire::Sglang] {
        let fleet = fleet(spec(engine)).await;
        let proxy = round_robin(&fleet).await;
        let computing = || {
            (0..2).find(|worker| {
                fleet.workers()[*worker].stats().iter().any(|rank| rank.running + rank.waiting > 0)
            })
        };
        fleet.hold();
        let body = chat(&text(1, 60));
        let dies = async {
            wait_until("a prompt to be computed", async || {
                let both = engine == EngineWire::Sglang;
                computing().is_some() && arrivals(&fleet).len() == if both { 2 } else { 1 }
            })
            .await;
            let worker = computing().expect("waited for");
            fleet.workers()[worker].stop().await;
            fleet.release();
            worker
        };
        let (reply, died) = tokio::join!(proxy.client.chat(&body), dies);
        let id = reply.header("x-request-id");
        let arrivals: Vec<_> =
            arrivals(&fleet).into_iter().filter(|it| it.headers["x-request-id"] == id).collect();
        let answering = arrivals.iter().filter(|arrival| arrival.worker >= 2).count();
        assert_eq!(answering, 1, "{engine:?}: {}", reply.text());
        if engine == EngineWire::Sglang {
            assert!(reply.status.is_server_error(), "{}: {}", reply.status, reply.text());
            assert_eq!(arrivals.len(), 2, "nothing is begun again");
        } else {
            assert_eq!(reply.status, 200, "{engine:?}: {}", reply.text());
            let prefills: BTreeSet<_> =
                arrivals.iter().map(|arrival| arrival.worker).filter(|worker| *worker < 2).collect();
            assert_eq!(prefills, BTreeSet::from([0, 1]), "the one that died, and the other");
            assert_eq!(reply.header("x-rankwise-prefill-worker"), format!("w{}", 1 - died));
        }
        // And the next one is served.
        let reply = proxy.client.chat(&chat(&text(2, 60))).await;
        assert_eq!(reply.status, 200, "{engine:?}: {}", reply.text());
        wait_until("nothing to be booked", async || {
            proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0)
        })
        .await;
        fleet.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_both_legs() {
    for engine in ENGINES {
        let fleet = fleet(spec(engine)).await;
        let proxy = round_robin(&fleet).await;
        fleet.hold();
        let body = streamed(chat(&text(1, 60))).to_string();
        let answer = proxy.client.open(http::Method::POST, "/v1/chat/completions", &[], body);
        // The client waits until the first leg is there, and goes.
        tokio::select! {
            _ = answer => panic!("engines are held"),
            () = wait_until("the first leg to arrive", async || !arrivals(&fleet).is_empty()) => {}
        }
        wait_until("the prefill to be cancelled", async || {
            proxy.metric("rankwise_prefills_total", "outcome=\"cancelled\"").await == 1.0
        })
        .await;
        fleet.release();
        wait_until("nothing to be booked", async || {
            proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0)
        })
        .await;
        fleet.stop().await;
    }
}

#[tokio::test]
async fn a_pool_of_prefills_alone_is_not_ready() {
    let fleet = fleet(spec(EngineWire::Vllm)).await;
    let url = fleet.workers()[0].url();
    let (_folder, flags) = crate::harness::config_file(
        &json!({ "pools": [{ "workers": [{ "url": url, "role": "prefill", "name": "w0" }] }] }).to_string(),
    );
    let proxy = Proxy::start(&flags).await;
    wait_until("its ranks to be in", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    let ready = proxy.status.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("takes whole requests"), "{}", ready.text());
    let reply = proxy.client.chat(&chat(&text(1, 40))).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-rankwise-error")), (503, "decision"));
    fleet.stop().await;
}
