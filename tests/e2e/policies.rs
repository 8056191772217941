//! Policies are swapped while traffic flows, and what is no policy is turned away.

mod kept;
mod optional;
mod runaway;
mod trials;
mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, Proxy, Reply, chat, fast, fleet, streamed, text, wait_until};

const POLICY: &str = "/v1/pools/main/policy";

async fn two_ranks() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await
}

/// A built component, as anybody would upload it.
fn component(name: &str) -> Vec<u8> {
    let path = format!("{}/../policies/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn message(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

/// The name, without version, of the policy that decided.
fn decided_by(reply: &Reply) -> String {
    reply.header("x-rankwise-policy").split('@').next().unwrap_or_default().to_owned()
}

/// All that the admin API says of policies.
async fn policies(proxy: &Proxy) -> [Value; 2] {
    [proxy.admin.get(POLICY).await.json(), proxy.admin.get("/v1/policies").await.json()]
}

/// What happened to the policy, the last step first: (cause, policy, serving).
async fn steps(proxy: &Proxy) -> Vec<[String; 3]> {
    let log = proxy.admin.get("/v1/pools/main/policy/log").await.json();
    let text = |step: &Value, key: &str| step[key].as_str().unwrap_or_default().to_owned();
    let step = |step: &Value| ["cause", "policy", "serving"].map(|key| text(step, key));
    log["steps"].as_array().expect("a list").iter().map(step).collect()
}

/// In force one after the other: the swaps that have begun, and those that have returned.
#[derive(Default)]
struct Swaps {
    begun: AtomicUsize,
    returned: AtomicUsize,
    replies: AtomicUsize,
}

const IN_TURN: [&str; 8] =
    ["kv", "least-loaded", "mine", "round-robin", "kv", "mine", "random", "least-loaded"];

/// Asks until all swaps are done; fails at the first reply that a policy out of its time decided.
async fn ask_meanwhile(client: Client, number: u64, swaps: Arc<Swaps>) {
    for turn in 0..10_000 {
        let earliest = swaps.returned.load(SeqCst);
        let body = chat(&text(number * 7 + turn % 3, 80));
        let reply = client.chat(&if turn % 2 == 0 { body } else { streamed(body) }).await;
        let latest = swaps.begun.load(SeqCst);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.complete);
        let (policy, allowed) = (decided_by(&reply), &IN_TURN[earliest..=latest]);
        assert!(allowed.contains(&policy.as_str()), "{policy} decided in the time of {allowed:?}");
        swaps.replies.fetch_add(1, SeqCst);
        if earliest + 1 == IN_TURN.len() {
            return;
        }
    }
    panic!("the swaps never came to their end");
}

#[tokio::test]
async fn a_swap_under_load_loses_nothing_and_holds_from_its_answer_on() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", IN_TURN[0]]).await;
    assert_eq!(proxy.upload("mine", &component("least-loaded")).await.status, 201);
    let swaps = Arc::new(Swaps::default());
    let mut clients = JoinSet::new();
    for number in 0..4 {
        clients.spawn(ask_meanwhile(proxy.client, number, Arc::clone(&swaps)));
    }
    for policy in &IN_TURN[1..] {
        let before = swaps.replies.load(SeqCst);
        wait_until("traffic between two swaps", async || {
            swaps.replies.load(SeqCst) >= before + 12
                || clients.try_join_next().is_some_and(|ended| ended.is_err())
        })
        .await;
        swaps.begun.fetch_add(1, SeqCst);
        let reply = proxy.activate(policy, json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        swaps.returned.fetch_add(1, SeqCst);
    }
    while let Some(ended) = clients.join_next().await {
        ended.expect("no request failed");
    }
    assert_eq!(proxy.metric("rankwise_policy_failures_total", "").await, 0.0);
    assert_eq!(proxy.metric("rankwise_errors_total", "").await, 0.0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_is_no_policy_is_refused_in_plain_words_and_changes_nothing() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "least-loaded"]).await;
    let before = policies(&proxy).await;
    let good = component("kv");
    let cut = &good[..good.len() / 2];
    let cases: [(&[u8], &str); 8] = [
        (b"", "the file is empty"),
        (b"fn pick() {}\n", "a text file"),
        (b"(component)", "WebAssembly text"),
        (b"\0asm\x01\0\0\0", "is a core module"),
        (b"\0asm\x0d\0\x01\0", "exports no rankwise:policy/picker"),
        (b"\x7fELF\x02\x01\x01\0", "a native or precompiled file"),
        (b"\0asm\xff\xff\xff\xff", "binary version"),
        (cut, "does not compile"),
    ];
    for (bytes, said) in cases {
        let reply = proxy.upload("bad", bytes).await;
        assert_eq!(reply.status, 400, "{said}: {}", reply.text());
        assert!(message(&reply).contains(said), "{said}: {}", message(&reply));
        assert!(message(&reply).contains("bad"), "which policy? {}", message(&reply));
    }
    for (name, said) in [("", "?name="), ("a%20b", "?name="), ("a/b", "?name="), ("kv", "part of the binary")]
    {
        let reply = proxy.upload(name, &good).await;
        assert_eq!(reply.status, 400, "{name}");
        assert!(message(&reply).contains(said), "{name}: {}", message(&reply));
    }
    assert_eq!(policies(&proxy).await, before);
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "least-loaded");
    fleet.stop().await;
}

#[tokio::test]
async fn an_activation_that_does_not_fit_changes_nothing() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "least-loaded"]).await;
    let before = policies(&proxy).await;
    let cases = [
        ("kv", json!({ "overlap": 1 }), 400, "overlap"),
        ("kv", json!({ "temperature": "warm" }), 400, "temperature"),
        ("round-robin", json!({ "pin": "row" }), 400, "pin"),
        ("least-loaded", json!({ "x": 1 }), 400, "x"),
        ("least-loaded", json!([]), 400, "expected a map"),
        ("mine", json!({}), 404, "no policy mine"),
        ("kv@7", json!({}), 404, "no policy kv@7"),
    ];
    for (policy, settings, status, said) in cases {
        let reply = proxy.activate(policy, settings.clone()).await;
        assert_eq!(reply.status, status, "{policy} {settings}: {}", reply.text());
        assert!(message(&reply).contains(said), "{policy} {settings}: {}", message(&reply));
    }
    for body in ["", "{", r#"{"policy":"kv","setings":{}}"#, r#"{"settings":{}}"#] {
        assert_eq!(proxy.admin.send(Method::PUT, POLICY, &[], body).await.status, 400, "{body}");
    }
    let elsewhere = proxy.admin.send(Method::PUT, "/v1/pools/other/policy", &[], r#"{"policy":"kv"}"#).await;
    assert_eq!(elsewhere.status, 404);
    assert_eq!(policies(&proxy).await, before);
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "least-loaded");
    fleet.stop().await;
}

#[tokio::test]
async fn a_rollback_goes_back_one_by_one_with_settings_and_all() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    assert_eq!(proxy.activate("round-robin", json!({ "pin": "rank" })).await.status, 200);
    assert_eq!(proxy.activate("least-loaded", json!({})).await.status, 200);
    let rollback = || proxy.admin.send(Method::POST, "/v1/pools/main/policy/rollback", &[], "");
    for policy in ["round-robin", "kv"] {
        let reply = rollback().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(
            reply.json()["policy"].as_str().is_some_and(|name| name.starts_with(policy)),
            "{}",
            reply.text()
        );
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(decided_by(&reply), policy);
        assert!(
            reply.headers.contains_key("x-rankwise-dp-rank"),
            "round robin has forgotten that it pins ranks"
        );
    }
    assert_eq!(rollback().await.status, 409);
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "kv");
    fleet.stop().await;
}

#[tokio::test]
async fn web_pages_do_not_administer_a_proxy() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let body = r#"{"policy":"random"}"#;
    let page = [("origin", "http://evil.example")];
    assert_eq!(proxy.admin.send(Method::PUT, POLICY, &page, body).await.status, 403);
    let rebound = format!(
        "PUT {POLICY} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert!(proxy.admin.raw(rebound).await.starts_with("HTTP/1.1 403"));
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "kv");
    fleet.stop().await;
}
