//! TensorRT-LLM without rankwise's shim: a rank is named where the server is seen to take one.

use std::collections::BTreeSet;

use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer};
use serde_json::{Value, json};

use crate::harness::{Proxy, arrival_of, chat, fast, fleet, streamed, text, wait_until};

async fn bare(trtllm: TrtllmServer) -> (Fleet, Proxy) {
    let spec = FleetSpec { engine: EngineWire::Trtllm, workers: 1, ranks: 4, trtllm, ..fast() };
    let fleet = fleet(spec).await;
    let worker = &fleet.workers()[0];
    let entry = json!({ "name": "w0", "url": worker.url(), "ranks": 4, "block_size": 16 });
    let pool = json!({ "tokenizer": worker.tokenizer_folder(), "workers": [entry] });
    // JSON is YAML.
    let proxy = Proxy::configured_with(&json!({ "pools": [pool] }).to_string(), &[]).await;
    (fleet, proxy)
}

#[tokio::test]
async fn a_build_that_takes_a_rank_in_the_body_is_named_one() {
    let (fleet, proxy) = bare(TrtllmServer::BareWithRankFields).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut ranks = BTreeSet::new();
    for seed in 0..4 {
        let mut own = chat(&text(seed, 40));
        own["attention_dp_rank"] = json!(3);
        own["attention_dp_relax"] = json!(true);
        for body in [chat(&text(seed, 40)), streamed(chat(&text(seed, 40))), own] {
            let reply = proxy.client.chat(&body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let (arrival, rank) = (arrival_of(&fleet, &reply), reply.number("x-rankwise-dp-rank"));
            assert_eq!(arrival.rank, Some(rank), "another rank served it");
            let arrived: Value = serde_json::from_slice(&arrival.body).expect("JSON arrived");
            assert_eq!(
                (&arrived["attention_dp_rank"], &arrived["attention_dp_relax"]),
                (&json!(rank), &json!(false))
            );
            assert!(arrival.rank_headers().is_empty(), "it reads none");
            ranks.insert(rank);
        }
    }
    assert_eq!(ranks.len(), 4, "12 turns of 4 ranks");
    fleet.stop().await;
}

#[tokio::test]
async fn a_server_that_takes_none_is_one_row_and_says_so() {
    let (fleet, proxy) = bare(TrtllmServer::Bare).await;
    let ranks = proxy.ranks().await;
    assert_eq!(ranks.len(), 1);
    const NOT_PINNABLE: u64 = 1 << 4;
    assert_ne!(ranks[0]["condition"].as_u64().expect("bits") & NOT_PINNABLE, 0);
    for seed in 0..4 {
        let body = chat(&text(seed, 40));
        let reply = proxy.client.chat(&body).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-rankwise-dp-rank")),
            (200, ""),
            "{}",
            reply.text()
        );
        let arrived: Value = serde_json::from_slice(&arrival_of(&fleet, &reply).body).expect("JSON arrived");
        assert_eq!(arrived, body, "its request models forbid fields that they do not know");
    }
    wait_until("it to be said", async || {
        proxy
            .log()
            .iter()
            .any(|line| line.contains("kv is blind here") && line.contains("rankwise_trtllm.py"))
    })
    .await;
    fleet.stop().await;
}
