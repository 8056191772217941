//! Where requests arrive, and as what.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rankwise_sim::FleetSpec;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Proxy, Reply, arrival_of, assert_pinned, chat, config_file, fast, fleet, streamed, text,
};

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_pinned_request_arrives_at_the_rank_that_was_picked() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let policies = [
        ("kv", json!({})),
        ("least-loaded", json!({})),
        ("power-of-two", json!({})),
        ("prefix-hash", json!({})),
        ("session-affinity", json!({})),
        ("round-robin", json!({ "pin": "rank" })),
    ];
    for (policy, settings) in policies {
        assert_eq!(proxy.activate(policy, settings).await.status, 200);
        let mut places = BTreeSet::new();
        for seed in 0..8 {
            let body = chat(&text(seed, 60));
            places.insert(assert_pinned(&fleet, &proxy.client.chat(&body).await));
            places.insert(assert_pinned(&fleet, &proxy.client.chat(&streamed(body)).await));
        }
        assert!(policy != "round-robin" || places.len() == 8, "16 turns of 8 ranks missed one: {places:?}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_takes_its_turn_chooses_the_rank_itself() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    let mut workers = Vec::new();
    for seed in 0..8 {
        let reply = proxy.client.chat(&chat(&text(seed, 20))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(!reply.headers.contains_key("x-rankwise-dp-rank"));
        assert!(arrival_of(&fleet, &reply).rank_headers().is_empty());
        workers.push(reply.header("x-rankwise-worker").to_owned());
    }
    assert!(workers.windows(2).all(|pair| pair[0] != pair[1]), "{workers:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn an_only_rank_is_not_named_to_its_engine() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 1, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.header("x-rankwise-dp-rank"), "0");
    assert!(arrival_of(&fleet, &reply).rank_headers().is_empty());
    fleet.stop().await;
}

#[tokio::test]
async fn streams_of_one_http2_connection_are_placed_one_by_one() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "least-loaded"]).await;
    let stream = TcpStream::connect(proxy.address).await.expect("a connection");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let asked = (0..12).map(|seed| {
        let mut sender = sender.clone();
        async move {
            let body = if seed % 2 == 0 { chat(&text(seed, 40)) } else { streamed(chat(&text(seed, 40))) };
            let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
            *request.method_mut() = Method::POST;
            *request.uri_mut() = format!("http://localhost{CHAT}").parse().expect("a URI");
            let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes();
            Reply { status: head.status, headers: head.headers, body, complete: true }
        }
    });
    let mut places = BTreeSet::new();
    for reply in join_all(asked).await {
        places.insert(assert_pinned(&fleet, &reply));
        assert!(reply.usage()["completion_tokens"].as_u64() > Some(0));
    }
    assert_eq!(places.len(), 4, "twelve at once leave no rank idle: {places:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn bodies_arrive_byte_by_byte_as_they_were_sent() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let odd = "\n\t {\"model\" : \"sim\",\"x_unknown\":{\"a\": 1e2 ,\"a\":[ ]},\r\n \"messages\":\
               [ {\"role\":\"user\",\"content\":\"d\\u00e9j\\u00E0 \\/ vu \u{1f600}\"} ] ,\"x_unknown\":null,\
               \"ma\\u0078_tokens\":4,\"z\":-0.0 } \r\n";
    let reply = proxy.client.send(Method::POST, CHAT, &[], odd).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(String::from_utf8_lossy(&arrival_of(&fleet, &reply).body), odd);

    let large = chat(&text(1, 8_000)).to_string();
    let reply = proxy.client.send(Method::POST, CHAT, &[], large.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(arrival_of(&fleet, &reply).body, large);
    fleet.stop().await;
}

#[tokio::test]
async fn a_request_id_is_kept_if_it_is_plain_and_made_otherwise() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let body = chat("hello").to_string();
    let long = "x".repeat(129);
    let cases =
        [(&[("x-request-id", "mine-1")][..], true), (&[], false), (&[("x-request-id", "two words")], false)];
    for (headers, kept) in cases.into_iter().chain([(&[("x-request-id", long.as_str())][..], false)]) {
        let reply = proxy.client.send(Method::POST, CHAT, headers, body.clone()).await;
        let id = reply.header("x-request-id");
        assert_eq!(id == "mine-1", kept, "{id}");
        assert!(kept || (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{id}");
        // The engine is told the same one.
        arrival_of(&fleet, &reply);
    }
    // An error has one too.
    assert_eq!(proxy.client.get("/nowhere").await.header("x-request-id").len(), 32);
    fleet.stop().await;
}

#[tokio::test]
async fn credentials_travel_on_and_hop_by_hop_headers_and_queries_do_not() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let headers = [
        ("authorization", "Bearer key"),
        ("x-plain", "one"),
        ("x-plain", "two"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("te", "trailers"),
        ("x-rankwise-worker", "w0"),
    ];
    let path = format!("{CHAT}?data_parallel_rank=1");
    let reply = proxy.client.send(Method::POST, &path, &headers, chat("hello").to_string()).await;
    let arrival = arrival_of(&fleet, &reply);
    assert_eq!(arrival.path, CHAT);
    assert_eq!(arrival.headers["authorization"], "Bearer key");
    assert_eq!(arrival.headers.get_all("x-plain").iter().collect::<Vec<_>>(), ["one", "two"]);
    for gone in ["connection", "x-hop", "te", "x-rankwise-worker"] {
        assert!(!arrival.headers.contains_key(gone), "{gone} arrived");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn models_of_all_pools_are_listed_once_and_lead_to_their_pool() {
    let alpha = fleet(FleetSpec { workers: 2, ranks: 1, model_name: "alpha".to_owned(), ..fast() }).await;
    let beta = fleet(FleetSpec { workers: 1, ranks: 2, model_name: "beta".to_owned(), ..fast() }).await;
    let url = |fleet: &rankwise_sim::Fleet, worker: usize| fleet.workers()[worker].url();
    let (_folder, arguments) = config_file(&format!(
        "pools:\n- {{ name: main, workers: [{{ url: \"{}\" }}, {{ url: \"{}\" }}] }}\n\
         - {{ name: other, workers: [{{ url: \"{}\" }}] }}\n",
        url(&alpha, 0),
        url(&alpha, 1),
        url(&beta, 0),
    ));
    let proxy = Proxy::start(&arguments).await;
    proxy.ready().await;
    let list = proxy.client.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    let names: Vec<_> = list["data"].as_array().expect("a list").iter().map(|card| &card["id"]).collect();
    assert_eq!(names, ["alpha", "beta"]);
    for (name, fleet) in [("alpha", &alpha), ("beta", &beta)] {
        let mut body = chat("hello");
        body["model"] = name.into();
        let reply = proxy.client.chat(&body).await;
        assert_eq!(reply.json()["model"], name);
        arrival_of(fleet, &reply);
    }
    alpha.stop().await;
    beta.stop().await;
}
