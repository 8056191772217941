//! Ranks whose early events are gone: asked for by the body's last field, and by nothing else.

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Client, Proxy, Reply, arrival_of, completion, fast, fleet, wait_until};

const COMPLETIONS: &str = "/v1/completions";
const REPORTS: &str = "rankwise_cold_root_reports_total";

/// Rank 0 has told more than it can replay, rank 1 nothing yet. Each has room for 48 blocks.
async fn half_cold() -> Fleet {
    let spec = FleetSpec { workers: 1, ranks: 2, buffer_steps: 2, blocks_per_rank: 49, ..fast() };
    let fleet = fleet(spec).await;
    let address = fleet.workers()[0].url().trim_start_matches("http://").parse().expect("an address");
    let engine = Client::new(address);
    for seed in 0..5 {
        let body = completion(seed, 100).to_string();
        let reply = engine.send(Method::POST, COMPLETIONS, &[("x-data-parallel-rank", "0")], body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert!(fleet.workers()[0].next_sequence(0) > 4, "all of it can still be replayed");
    fleet
}

async fn proxy_that_heals(fleet: &Fleet, heals: bool) -> Proxy {
    let config = format!(
        "listeners: [{{ address: 127.0.0.1:0, trust_pins: true }}]\n\
         pools: [{{ name: main, heal_cold_roots: {heals} }}]\n"
    );
    let proxy = Proxy::configured(fleet, &config, &[]).await;
    wait_until("both feeds to be live", async || {
        proxy.ranks().await.iter().zip(0..).all(|(rank, number)| {
            rank["index"]["next_sequence"].as_u64() == Some(fleet.workers()[0].next_sequence(number))
        })
    })
    .await;
    proxy
}

async fn ask(proxy: &Proxy, rank: &str, body: &str) -> Reply {
    let headers = [("x-rankwise-worker", "w0"), ("x-rankwise-dp-rank", rank)];
    let reply = proxy.client.send(Method::POST, COMPLETIONS, &headers, body.to_owned()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

fn arrived(fleet: &Fleet, reply: &Reply) -> String {
    String::from_utf8(arrival_of(fleet, reply).body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn a_request_to_a_cold_rank_asks_for_a_report_at_the_end_of_its_body() {
    let fleet = half_cold().await;
    let proxy = proxy_that_heals(&fleet, true).await;
    let prompt: Vec<u32> = (300..400).collect();
    let body = format!("{{\"model\" : \"sim\",\"max_tokens\":4 ,\"prompt\":{prompt:?} }} \n");
    let (front, _) = body.rsplit_once('}').expect("a brace");
    let asking = format!("{front},\"vllm_xargs\":{{\"kv_cache_report_mode\":\"full\"}}}}");
    assert_eq!(arrived(&fleet, &ask(&proxy, "0", &body).await), asking);
    assert_eq!(arrived(&fleet, &ask(&proxy, "1", &body).await), body, "nothing is missing there");
    assert_eq!(proxy.metric(REPORTS, "dp_rank=\"0\"").await, 1.0);

    // Of two fields of one name the last wins: the client's own stays alone, however it is written.
    for own in ["\"vllm_xargs\":{\"a\":1}", "\"vllm\\u005fxargs\":{}"] {
        let body = format!("{{\"model\":\"sim\",\"max_tokens\":4,\"prompt\":{prompt:?},{own}}}");
        assert_eq!(arrived(&fleet, &ask(&proxy, "0", &body).await), body);
    }
    assert_eq!(proxy.metric(REPORTS, "").await, 1.0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_is_reported_again_is_known_until_it_is_removed() {
    let fleet = half_cold().await;
    let proxy = proxy_that_heals(&fleet, true).await;
    let body = completion(1, 100).to_string();
    let expected = |reply: &Reply| reply.promised_tokens();
    let first = ask(&proxy, "0", &body).await;
    assert_eq!((first.cached_tokens(), expected(&first)), (96, 0), "it holds what nobody told of");
    wait_until("the report to be indexed", async || expected(&ask(&proxy, "0", &body).await) == 96).await;
    assert!(
        proxy.metric(REPORTS, "dp_rank=\"0\"").await >= 2.0,
        "it was reported once only: no copy to count"
    );

    // Everything goes, each block by one removal, however often it was reported.
    for seed in 100..112 {
        ask(&proxy, "0", &completion(seed, 100).to_string()).await;
    }
    assert!(fleet.workers()[0].cache(0).len() > 40, "the cache was not filled: nothing went");
    proxy.settled(&fleet).await;
    assert_eq!(expected(&ask(&proxy, "0", &body).await), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn bodies_stay_as_they_are_unless_the_config_says_so() {
    let fleet = half_cold().await;
    let proxy = proxy_that_heals(&fleet, false).await;
    let body: Value = json!({ "model": "sim", "max_tokens": 4, "prompt": (300..400).collect::<Vec<u32>>() });
    assert_eq!(arrived(&fleet, &ask(&proxy, "0", &body.to_string()).await), body.to_string());
    assert_eq!(proxy.metric(REPORTS, "").await, 0.0);
    fleet.stop().await;
}
