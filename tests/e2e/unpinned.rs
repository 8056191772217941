//! APIs on which an engine takes no rank: vLLM's `/v1/responses` is served by whichever rank vLLM chooses, and nobody is told
//! otherwise.

use http::Method;
use rankwise_sim::{EngineWire, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, arrival_of, assert_pinned, chat, fast, fleet, metric, streamed, text, wait_until,
};

const RESPONSES: &str = "/v1/responses";
/// Bit 4: the rank cannot be pinned, the row stands for its worker.
const NOT_PINNABLE: u64 = 1 << 4;

async fn two_workers(engine: EngineWire) -> Fleet {
    fleet(FleetSpec { engine, workers: 2, ranks: 4, ..fast() }).await
}

fn response(seed: u64) -> Value {
    json!({ "model": chat("")["model"], "input": text(seed, 80), "max_output_tokens": 4 })
}

fn assert_left_to_the_engine(fleet: &Fleet, reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let arrival = arrival_of(fleet, reply);
    assert_eq!(format!("w{}", arrival.worker), reply.header("x-rankwise-worker"));
    assert!(arrival.rank_headers().is_empty(), "{:?}", arrival.headers);
    for told in ["x-rankwise-dp-rank", "x-rankwise-overlap-blocks", "x-rankwise-expected-cached-tokens"] {
        assert!(!reply.headers.contains_key(told), "{told}: nobody knows it");
    }
}

#[tokio::test]
async fn vllm_chooses_the_rank_of_a_response_and_nobody_says_otherwise() {
    let fleet = two_workers(EngineWire::Vllm).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    for policy in ["kv", "least-loaded", "round-robin", "random"] {
        assert_eq!(proxy.activate(policy, json!({})).await.status, 200);
        for seed in 0..4 {
            for body in [response(seed), streamed(response(seed))] {
                let reply = proxy.client.post(RESPONSES, &body).await;
                assert_left_to_the_engine(&fleet, &reply);
                // A chat's rank is named where its policy chose one, which kv always does.
                let chat = proxy.client.chat(&chat(&text(seed, 40))).await;
                if policy == "kv" || chat.headers.contains_key("x-rankwise-dp-rank") {
                    assert_pinned(&fleet, &chat);
                } else {
                    assert_left_to_the_engine(&fleet, &chat);
                }
            }
        }
    }
    let page = proxy.metrics().await;
    let ok = |rank| metric(&page, "rankwise_requests_total", &[rank, "outcome=\"ok\""]);
    assert!(ok("dp_rank=\"engine\"") >= 32.0, "the responses, at least");
    assert_eq!(proxy.metric("rankwise_expectation_total", "result=\"missed\"").await, 0.0);
    assert_eq!(proxy.metric("rankwise_prompt_blocks_total", "result=\"unconfirmed\"").await, 0.0);
    wait_until("nothing to be booked any more", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0)
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_policy_is_told_which_rows_stand_for_a_worker() {
    let fleet = two_workers(EngineWire::Vllm).await;
    let proxy = Proxy::configured(&fleet, "decisions: { sample_permille: 1000 }\n", &[]).await;
    for (path, body, bit) in
        [(RESPONSES, response(1), NOT_PINNABLE), ("/v1/chat/completions", chat("hello"), 0)]
    {
        let reply = proxy.client.post(path, &body).await;
        let receipt = proxy.receipt(&reply).await;
        let condition = receipt["columns"]
            .as_array()
            .and_then(|columns| columns.iter().position(|column| column == "condition"))
            .expect("the column");
        let rows = receipt["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 8);
        for row in rows {
            let bits = row["figures"][condition].as_u64().expect("bits");
            assert_eq!(bits & NOT_PINNABLE, bit, "{path}: {row}");
        }
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_stays_on_the_worker_that_it_was_sent_to() {
    let fleet = two_workers(EngineWire::Vllm).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "session-affinity"]).await;
    let mut homes = Vec::new();
    for session in ["a", "b", "c", "d"] {
        for seed in 0..4 {
            let headers = [("x-session-id", session)];
            let reply =
                proxy.client.send(Method::POST, RESPONSES, &headers, response(seed).to_string()).await;
            assert_left_to_the_engine(&fleet, &reply);
            homes.push((session, reply.header("x-rankwise-worker").to_owned()));
        }
    }
    homes.dedup();
    assert_eq!(homes.len(), 4, "one worker each: {homes:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_trusted_clients_rank_is_refused_there_and_its_worker_obeyed() {
    let fleet = two_workers(EngineWire::Vllm).await;
    let proxy =
        Proxy::configured(&fleet, "listeners: [{ address: 127.0.0.1:0, trust_pins: true }]\n", &[]).await;
    let ask = async |headers: &[(&str, &str)]| {
        proxy.client.send(Method::POST, RESPONSES, headers, response(1).to_string()).await
    };
    let reply = ask(&[("x-rankwise-worker", "w1"), ("x-rankwise-dp-rank", "2")]).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text().contains("worker w1: vllm takes no rank on /v1/responses"), "{}", reply.text());
    let reply = ask(&[("x-rankwise-worker", "w1")]).await;
    assert_left_to_the_engine(&fleet, &reply);
    assert_eq!(reply.header("x-rankwise-worker"), "w1");
    fleet.stop().await;
}

#[tokio::test]
async fn the_only_rank_of_a_vllm_server_needs_no_name() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 1, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let first = proxy.client.post(RESPONSES, &response(1)).await;
    assert_eq!(first.header("x-rankwise-dp-rank"), "0");
    assert!(arrival_of(&fleet, &first).rank_headers().is_empty());
    wait_until("its blocks to be found where it went", async || {
        let again = proxy.client.post(RESPONSES, &response(1)).await;
        assert_eq!(again.header("x-rankwise-worker"), first.header("x-rankwise-worker"));
        again.number("x-rankwise-overlap-blocks") > 0
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn sglang_takes_the_rank_of_a_response() {
    let fleet = two_workers(EngineWire::Sglang).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    for seed in 0..8 {
        let reply = proxy.client.post(RESPONSES, &response(seed)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_pinned(&fleet, &reply);
    }
    fleet.stop().await;
}
