//! Strict means strict: no client chooses a rank or reaches what is not for clients.

use std::collections::BTreeSet;

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{Proxy, arrival_of, arrivals, assert_pinned, chat, fast, fleet};

const CHAT: &str = "/v1/chat/completions";

/// Every spelling by which some engine or router is told a rank.
const RANK_HEADERS: [&str; 12] = [
    "x-data-parallel-rank",
    "x_data_parallel_rank",
    "x-data_parallel-rank",
    "x-dp-rank",
    "x_dp_rank",
    "x-routed-dp-rank",
    "x-attention-dp-rank",
    "x-data-parallel-routing-rank",
    "x-data-parallel-host-port",
    "x-override-routed-dp-rank",
    "x-override-disagg-prefill-dp-rank",
    "x-override-bootstrap-room",
];

async fn four_ranks() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 4, ..fast() }).await
}

fn is_rank_header(name: &http::HeaderName) -> bool {
    RANK_HEADERS.contains(&name.as_str().replace('_', "-").as_str())
}

#[tokio::test]
async fn a_clients_rank_header_chooses_nothing() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut ranks = BTreeSet::new();
    for name in RANK_HEADERS {
        let twice = [(name, "3"), (name, "2")];
        let reply = proxy.client.send(Method::POST, CHAT, &twice, chat("hello").to_string()).await;
        ranks.insert(assert_pinned(&fleet, &reply));
        let arrival = arrival_of(&fleet, &reply);
        let named = arrival.headers.iter().filter(|(name, _)| is_rank_header(name)).count();
        assert_eq!(named, 1, "{name}: {:?}", arrival.headers);
    }
    assert_eq!(ranks.len(), 4, "twelve turns of four ranks");
    fleet.stop().await;
}

#[tokio::test]
async fn nor_when_the_engine_is_left_to_choose() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    for name in RANK_HEADERS {
        let reply = proxy.client.send(Method::POST, CHAT, &[(name, "3")], chat("hello").to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let arrival = arrival_of(&fleet, &reply);
        assert!(!arrival.headers.keys().any(is_rank_header), "{name}: {:?}", arrival.headers);
    }
    fleet.stop().await;
}

#[tokio::test]
async fn nor_in_any_case_or_with_a_broken_value() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "least-loaded"]).await;
    let body = chat("hello").to_string();
    for value in ["3", " 3", "1_0", "+3", "-1", "999", "", "\u{e9}", "3, 2"] {
        let answer = proxy
            .client
            .raw(format!(
                "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Data-Parallel-Rank: {value}\r\n\
                 X-DATA-PARALLEL-RANK: 2\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{value:?}: {answer}");
        let arrival = arrivals(&fleet).pop().expect("it arrived");
        let rank = arrival.rank.expect("it was served").to_string();
        assert_eq!(arrival.rank_headers(), [rank.as_str()], "{value:?}");
        assert!(answer.contains(&format!("x-rankwise-dp-rank: {rank}\r\n")), "{value:?}: {answer}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_in_the_body_chooses_nothing() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut ranks = BTreeSet::new();
    for field in ["data_parallel_rank", "routed_dp_rank", "attention_dp_rank", "disagg_prefill_dp_rank"] {
        for rank in [0, 3] {
            let mut body = chat("hello");
            body[field] = rank.into();
            ranks.insert(assert_pinned(&fleet, &proxy.client.chat(&body).await));
        }
    }
    assert_eq!(ranks.len(), 4, "eight turns of four ranks");
    fleet.stop().await;
}

#[tokio::test]
async fn an_engines_own_paths_are_out_of_reach() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let paths = [
        "/metrics",
        "/health",
        "/version",
        "/load",
        "/kv_event_sources",
        "/kv_cache_events",
        "/reset_prefix_cache",
        "/flush_cache",
        "/sleep",
        "/wake_up",
        "/abort_requests",
        "/tokenize",
        "/detokenize",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/models/sim",
        "/collective_rpc",
        "/",
        "//metrics",
        "/%6detrics",
        "/v1/chat/completions/",
        "/v1/chat/completions/../../../metrics",
        "/v1/chat%2fcompletions",
        "/V1/Chat/Completions",
        "/v1/chat/completions;x=1",
    ];
    for path in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let reply =
                proxy.client.send(method.clone(), path, &[("x-marker", "1")], chat("x").to_string()).await;
            assert_eq!(reply.status, 404, "{method} {path}");
            assert_eq!(reply.header("x-rankwise-error"), "head", "{method} {path}");
            assert_eq!(reply.json()["error"]["code"], 404, "{method} {path}");
        }
    }
    let absolute = "GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\nx-marker: 1\r\nConnection: close\r\n\r\n";
    assert!(proxy.client.raw(absolute).await.starts_with("HTTP/1.1 404"));
    let all = fleet.workers()[0].arrivals();
    assert!(!all.iter().any(|arrival| arrival.headers.contains_key("x-marker")), "{all:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_wrong_method_is_told_so() {
    let fleet = four_ranks().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let wrong = [
        (Method::GET, CHAT, "POST"),
        (Method::PUT, CHAT, "POST"),
        (Method::DELETE, "/v1/completions", "POST"),
        (Method::OPTIONS, CHAT, "POST"),
        (Method::POST, "/v1/models", "GET"),
    ];
    for (method, path, right) in wrong {
        let reply = proxy.client.send(method.clone(), path, &[], "").await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.json()["error"]["code"], 405);
        assert_eq!(reply.header("allow"), right, "{method} {path}");
    }
    assert!(arrivals(&fleet).is_empty());
    fleet.stop().await;
}
