use serde_json::{Value, json};

use super::client::{ask, complete, get, post};
use super::{fleet, quick, until};
use crate::FleetSpec;

#[tokio::test]
async fn a_repeated_prompt_is_cached_up_to_its_last_token() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let prompt: Vec<u32> = (100..112).collect();
    let cached = async |rank| {
        let answer = complete(worker, rank, &prompt, 2).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached(0).await, 0);
    // Three whole blocks are cached, but the last token is always computed.
    assert_eq!(cached(0).await, 8);
    assert_eq!(cached(1).await, 0);
    let stats = worker.stats();
    assert_eq!((stats[0].prompt_tokens, stats[0].cached_tokens, stats[1].cached_tokens), (24, 8, 0));
    assert_eq!(stats[0].prefill_computed_tokens, 16);
    assert_eq!(worker.served().len(), 3);
    fleet.stop().await;
}

#[tokio::test]
async fn the_rank_header_means_what_it_means_to_vllm() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let body = json!({"model": "sim", "prompt": [1, 2, 3], "max_tokens": 1});
    for (value, rank) in [("0", 0), ("1", 1), (" 1", 1), ("01", 1), ("+1", 1)] {
        worker.clear_logs();
        let answer =
            ask(worker, "/v1/completions", &[("X-data-parallel-rank", value.as_bytes())], Some(&body)).await;
        assert_eq!(answer.status, 200, "{value}");
        assert_eq!(worker.arrivals()[0].rank, Some(rank), "{value}");
    }
    for (value, printed) in [("2", "2"), ("-1", "-1"), ("99999999999999999999", "99999999999999999999")] {
        let answer =
            ask(worker, "/v1/completions", &[("x-data-parallel-rank", value.as_bytes())], Some(&body)).await;
        assert_eq!(answer.status, 400);
        let message = format!("data_parallel_rank {printed} is out of range [0, 2).");
        let error = json!({"message": message, "type": "BadRequestError", "param": null, "code": 400});
        assert_eq!(answer.json(), json!({"error": error}));
    }
    for value in ["abc", "", "1.0", "0, 1", "\u{ff11}"] {
        let answer =
            ask(worker, "/v1/completions", &[("x-data-parallel-rank", value.as_bytes())], Some(&body)).await;
        assert_eq!(answer.status, 200, "{value:?}");
        assert_eq!(worker.arrivals().last().unwrap().rank_headers(), [value.trim()]);
    }
    fleet.stop().await;
}

#[tokio::test]
async fn without_the_header_requests_spread_over_the_ranks() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    for number in 0..8 {
        post(worker, "/v1/completions", json!({"model": "sim", "prompt": [number], "max_tokens": 1})).await;
    }
    assert_eq!(worker.stats().iter().map(|rank| rank.requests).collect::<Vec<_>>(), [4, 4]);
    fleet.stop().await;
}

/// The body of the recorded answer of vLLM 0.32 to a streamed request for rank 7 of 2.
const OUT_OF_RANGE_STREAM: &str = include_str!("../../../../../tests/data/vllm-0.32/stream_out_of_range.txt");

#[tokio::test]
async fn a_stream_for_a_rank_that_is_not_there_begins_with_200() {
    let fleet = fleet(quick()).await;
    let body = json!({"model": "sim", "messages": [{"role": "user", "content": "x"}], "stream": true});
    let header: (&str, &[u8]) = ("x-data-parallel-rank", b"7");
    let answer = ask(&fleet.workers()[0], "/v1/chat/completions", &[header], Some(&body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text, OUT_OF_RANGE_STREAM);
    fleet.stop().await;
}

/// Keys in order, with the names of the values' types.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| json!([key, shape(value)]));
            json!({"object": fields.collect::<Vec<_>>()})
        }
        Value::Array(items) => json!(items.iter().map(shape).collect::<Vec<_>>()),
        Value::Number(_) => json!("number"),
        Value::String(_) => json!("string"),
        Value::Bool(_) => json!("bool"),
        Value::Null => json!("null"),
    }
}

fn shapes<'a>(events: impl Iterator<Item = &'a str>) -> Vec<Value> {
    events
        .map(|event| serde_json::from_str(event).map_or_else(|_| json!(event), |event| shape(&event)))
        .collect()
}

fn recorded_events(stream: &str) -> Vec<Value> {
    shapes(stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")))
}

#[tokio::test]
async fn streams_have_the_recorded_shapes() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let chat = |options: Value, tokens: u32| {
        json!({"model": "sim", "messages": [{"role": "user", "content": "hi"}], "max_tokens": tokens,
               "stream": true, "stream_options": options})
    };
    let plain = post(worker, "/v1/chat/completions", chat(Value::Null, 4)).await;
    assert_eq!(
        shapes(plain.events().into_iter()),
        recorded_events(include_str!("../../../../../tests/data/vllm-0.32/sse_plain.txt"))
    );
    assert_eq!(plain.headers["content-type"], "text/event-stream; charset=utf-8");
    let usage = post(worker, "/v1/chat/completions", chat(json!({"include_usage": true}), 8)).await;
    assert_eq!(
        shapes(usage.events().into_iter()),
        recorded_events(include_str!("../../../../../tests/data/vllm-0.32/sse_include_usage.txt"))
    );
    let always = json!({"include_usage": true, "continuous_usage_stats": true});
    let continuous = post(worker, "/v1/chat/completions", chat(always, 8)).await;
    assert_eq!(
        shapes(continuous.events().into_iter()),
        recorded_events(include_str!("../../../../../tests/data/vllm-0.32/sse_continuous_usage.txt"))
    );
    let completion = json!({"model": "sim", "prompt": "once upon", "max_tokens": 5, "stream": true,
                            "stream_options": {"include_usage": true}});
    let completion = post(worker, "/v1/completions", completion).await;
    assert_eq!(
        shapes(completion.events().into_iter()),
        recorded_events(include_str!("../../../../../tests/data/vllm-0.32/sse_completions.txt"))
    );
    fleet.stop().await;
}

#[tokio::test]
async fn plain_answers_carry_usage_and_the_simulated_time_to_first_token() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let body =
        json!({"model": "sim", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "n": 2});
    let answer = post(worker, "/v1/chat/completions", body).await;
    let json = answer.json();
    assert_eq!(json["choices"].as_array().unwrap().len(), 2);
    assert_eq!(json["choices"][1]["finish_reason"], "length");
    assert_eq!(json["usage"]["completion_tokens"], 6);
    let milliseconds: f64 = answer.headers["x-sim-ttft-ms"].to_str().unwrap().parse().unwrap();
    assert!((1.0..1000.0).contains(&milliseconds), "{milliseconds}");
    fleet.stop().await;
}

#[tokio::test]
async fn the_seed_alone_decides_the_words() {
    let words = async |seed| {
        let fleet = fleet(FleetSpec { seed, ..quick() }).await;
        let body = json!({"model": "sim", "prompt": [5, 6, 7], "max_tokens": 6});
        let answer = post(&fleet.workers()[0], "/v1/completions", body).await.json();
        fleet.stop().await;
        answer["choices"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(words(1).await, words(1).await);
    assert_ne!(words(1).await, words(2).await);
}

#[tokio::test]
async fn tokens_come_back_as_text() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let text = "Hello wörld, again";
    let tokens = post(worker, "/tokenize", json!({"model": "sim", "prompt": text})).await.json();
    assert_eq!(tokens["count"], tokens["tokens"].as_array().unwrap().len());
    let back = post(worker, "/detokenize", json!({"model": "sim", "tokens": tokens["tokens"]})).await.json();
    assert_eq!(back, json!({"prompt": text}));
    fleet.stop().await;
}

#[tokio::test]
async fn pages_tell_what_the_fleet_is() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    complete(worker, 1, &[1, 2, 3, 4, 5], 2).await;
    let page = get(worker, "/metrics").await.text;
    for line in [
        "vllm:num_requests_running{engine=\"0\",model_name=\"sim\"} 0.0",
        "vllm:request_success_total{engine=\"1\",finished_reason=\"length\",model_name=\"sim\"} 1.0",
        "vllm:num_requests_waiting_by_reason{engine=\"1\",model_name=\"sim\",reason=\"capacity\"} 0.0",
        "vllm:prefix_cache_queries_total{engine=\"1\",model_name=\"sim\"} 5.0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(page.contains("kv_cache_size_tokens=\"260\",num_gpu_blocks=\"130\""), "{page}");
    let sources = get(worker, "/kv_event_sources").await.json();
    assert_eq!(sources["1"]["endpoint"], json!(worker.event_endpoint(1)));
    assert_eq!(sources["1"]["replay_endpoint"], json!(worker.replay_endpoint(1)));
    let models = get(worker, "/v1/models").await.json();
    assert_eq!(models["data"][0]["id"], "sim");
    let root = std::path::Path::new(models["data"][0]["root"].as_str().unwrap()).to_owned();
    assert!(root.join("tokenizer.json").is_file());
    assert_eq!(get(worker, "/health").await.status, 200);
    assert_eq!(get(worker, "/version").await.json(), json!({"version": "0.32.0"}));
    assert_eq!(get(worker, "/nope").await.status, 404);
    assert_eq!(post(worker, "/v1/completions", json!({"model": "nope", "prompt": "x"})).await.status, 404);
    assert_eq!(post(worker, "/v1/chat/completions", json!({"model": "sim"})).await.status, 400);
    let too_long = complete(worker, 0, &vec![1; 256], 1).await;
    assert_eq!(
        (too_long.status.as_u16(), too_long.json()["error"]["param"].as_str()),
        (400, Some("input_tokens"))
    );
    fleet.stop().await;
    assert!(!root.exists());
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_request_with_it() {
    let fleet = fleet(FleetSpec { blocks_per_rank: 2000, ..quick() }).await;
    let worker = &fleet.workers()[0];
    for stream in [true, false] {
        let body = json!({"model": "sim", "prompt": [1], "max_tokens": 6000, "stream": stream});
        let going = super::client::send(worker, "/v1/completions", &[], Some(&body));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), going).await;
    }
    let body = json!({"model": "sim", "prompt": [1], "max_tokens": 6000, "stream": true});
    let response = super::client::send(worker, "/v1/completions", &[], Some(&body)).await.unwrap();
    until("running", || worker.stats().iter().any(|rank| rank.running > 0)).await;
    drop(response);
    until("aborted", || worker.stats().iter().all(|rank| rank.running + rank.waiting == 0)).await;
    assert!(worker.stats().iter().map(|rank| rank.aborted).sum::<u64>() >= 1);
    fleet.stop().await;
}
