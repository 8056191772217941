//! Two legs that do not fit together are refused.

use serde_json::{Value, json};

use super::client::{self, Answer};
use super::{fleet, quick};
use crate::{EngineWire, Fleet, FleetSpec, WorkerHandle};

const PATH: &str = "/v1/completions";

async fn pair(engine: EngineWire) -> Fleet {
    fleet(FleetSpec { engine, workers: 2, prefill_workers: 1, ..quick() }).await
}

fn body(more: Value) -> Value {
    let mut body = json!({ "model": "sim", "prompt": (1..20).collect::<Vec<u32>>(), "max_tokens": 1 });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn post(worker: &WorkerHandle, path: &str, body: &Value) -> Answer {
    client::post(worker, path, body.clone()).await
}

async fn status(worker: &WorkerHandle, body: &Value) -> u16 {
    post(worker, PATH, body).await.status.as_u16()
}

#[tokio::test]
async fn vllm_fetches_what_it_was_told_to_the_letter_and_once() {
    let fleet = pair(EngineWire::Vllm).await;
    let [prefill, decode] = fleet.workers() else { panic!("two workers") };
    let keep =
        body(json!({ "kv_transfer_params": { "do_remote_decode": true, "do_remote_prefill": false } }));
    let told = post(prefill, PATH, &keep).await.json()["kv_transfer_params"].clone();
    assert_eq!(status(decode, &keep).await, 400, "it does not prefill");
    let mut streamed = keep.clone();
    streamed["stream"] = true.into();
    assert_eq!(status(prefill, &streamed).await, 400, "a stream has no place for what is kept");

    let mut without_blocks = told.clone();
    without_blocks.as_object_mut().unwrap().remove("remote_block_ids");
    let mut of_another_rank = told.clone();
    of_another_rank["remote_port"] = 5601.into();
    for wrong in [without_blocks, of_another_rank, json!({ "do_remote_prefill": true })] {
        assert_eq!(status(decode, &body(json!({ "kv_transfer_params": wrong }))).await, 400);
    }
    let fetch = body(json!({ "kv_transfer_params": told }));
    assert_eq!(status(prefill, &fetch).await, 400, "it does not answer for others");
    assert_eq!(status(decode, &fetch).await, 200);
    assert_eq!(status(decode, &fetch).await, 400, "it is not kept any more");
    let computed: u64 = decode.stats().iter().map(|rank| rank.prefill_computed_tokens).sum();
    assert_eq!(computed, 0);
    fleet.stop().await;
}

#[tokio::test]
async fn tensorrt_llm_generates_for_the_context_it_was_told() {
    let fleet = pair(EngineWire::Trtllm).await;
    let [prefill, decode] = fleet.workers() else { panic!("two workers") };
    let context = body(json!({ "disaggregated_params": { "request_type": "context_only" } }));
    let answer = post(prefill, PATH, &context).await.json();
    let mut told = answer["choices"][0]["disaggregated_params"].clone();
    assert_eq!(status(decode, &body(json!({ "disaggregated_params": told }))).await, 400, "not a generation");
    told["request_type"] = "generation_only".into();
    let other = json!({ "disaggregated_params": told, "prompt": [1, 2, 3] });
    assert_eq!(status(decode, &body(other)).await, 400, "another prompt");
    let mut rounded = told.clone();
    rounded["ctx_request_id"] = 9_007_199_254_740_992_u64.into();
    assert_eq!(status(decode, &body(json!({ "disaggregated_params": rounded }))).await, 400);
    assert_eq!(status(decode, &body(json!({ "disaggregated_params": told }))).await, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn sglang_meets_in_the_room_of_the_rank_that_prefills() {
    let fleet = pair(EngineWire::Sglang).await;
    let [prefill, decode] = fleet.workers() else { panic!("two workers") };
    let room = |more: Value| {
        let mut room =
            body(json!({ "bootstrap_host": "127.0.0.1", "bootstrap_port": 8998, "bootstrap_room": 11 }));
        room.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        room
    };
    let first = json!({ "routed_dp_rank": 0 });
    assert_eq!(status(prefill, &room(first)).await, 400, "room 11 of 2 ranks is of rank 1");
    assert_eq!(status(prefill, &room(json!({ "bootstrap_port": 9 }))).await, 400, "not its own");
    assert_eq!(status(decode, &body(json!({}))).await, 400, "no room");

    // The rank that is told wins over the room's number, on both legs.
    let told = room(json!({ "routed_dp_rank": 0, "disagg_prefill_dp_rank": 0 }));
    let both = async |decode_leg: &Value| {
        let (first, second) = tokio::join!(post(prefill, PATH, &told), post(decode, PATH, decode_leg));
        [first.status.as_u16(), second.status.as_u16()]
    };
    assert_eq!(both(&room(json!({ "disagg_prefill_dp_rank": 0 }))).await, [200, 200]);
    assert_eq!(both(&room(json!({}))).await, [200, 500], "by its number it is of rank 1");
    fleet.stop().await;
}
