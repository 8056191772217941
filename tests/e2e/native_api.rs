//! SGLang's own API, which reads a rank from the body and no header.

use std::collections::BTreeSet;

use rankwise_sim::{EngineWire, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Proxy, arrival_of, completion, fast, fleet, wait_until};

#[tokio::test]
async fn the_field_in_the_body_pins() {
    let fleet = fleet(FleetSpec { engine: EngineWire::Sglang, workers: 1, ranks: 4, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let body = |seed: u64| json!({ "input_ids": completion(seed, 200)["prompt"], "sampling_params": { "max_new_tokens": 4 } });
    let ask = async |body: &Value| {
        let reply = proxy.client.post("/generate", body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (arrival, rank) = (arrival_of(&fleet, &reply), reply.number("x-rankwise-dp-rank"));
        assert_eq!(arrival.rank, Some(rank), "another rank served it");
        let arrived: Value = serde_json::from_slice(&arrival.body).expect("JSON arrived");
        assert_eq!(arrived["routed_dp_rank"], rank);
        // Whole and streamed, what it says of its cache is held against what was promised.
        let last = reply.events().into_iter().rev().find(|event| event != "[DONE]");
        let answer = match last {
            Some(event) => serde_json::from_str(&event).expect("JSON"),
            None => reply.json(),
        };
        (rank, answer["meta_info"]["cached_tokens"].clone(), reply.promised_tokens())
    };
    let compared = async |result: &str| {
        proxy.metric("rankwise_expectation_total", &format!("result=\"{result}\"")).await
    };
    let mut ranks = BTreeSet::new();
    for seed in 0..4 {
        // A client's own choice is none.
        let mut own = body(seed);
        own["routed_dp_rank"] = 3.into();
        own["data_parallel_rank"] = 3.into();
        for body in [body(seed), own] {
            ranks.insert(ask(&body).await.0);
        }
    }
    assert_eq!(ranks.len(), 4);
    // Its prompts are known, too: the same comes to the rank that has it.
    proxy.activate("kv", json!({})).await;
    let met = compared("met").await;
    for seed in 100..104 {
        let (first, none, _) = ask(&body(seed)).await;
        proxy.settled(&fleet).await;
        let (again, cached, promised) = ask(&body(seed)).await;
        assert_eq!((again, none, cached, promised), (first, json!(0), json!(192), 192));
        proxy.settled(&fleet).await;
        let mut streamed = body(seed);
        streamed["stream"] = true.into();
        assert_eq!(ask(&streamed).await, (first, json!(192), 192));
        proxy.settled(&fleet).await;
    }
    wait_until("every answer to be compared", async || compared("met").await == met + 12.0).await;
    assert_eq!(compared("missed").await, 0.0);
    fleet.stop().await;
}
