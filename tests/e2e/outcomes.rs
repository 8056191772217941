//! Every request that is let in ends once, and is told once: in the metrics and in the access log. Every attempt is seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rankwise_sim::{Fault, Fleet, FleetSpec};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{
    Proxy, arrivals, chat, completion, decide_by, fast, fleet, refuse_connections, streamed, wait_until,
};

const CHAT: &str = "/v1/chat/completions";
const LOGGED: &str = "access_log: stderr\n";
/// The proxy's own looks are a minute apart, so that requests are the first to notice.
const UNWATCHED: &str = "limits:\n  upstream: { probe_interval: 1m, load_interval: 1m }\n";

async fn two_workers() -> Fleet {
    fleet(FleetSpec { workers: 2, ranks: 1, ..fast() }).await
}

/// Samples of a family that are not 0, by the value of one label.
async fn by(proxy: &Proxy, family: &str, label: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in proxy.metrics().await.lines().filter(|line| line.starts_with(&format!("{family}{{"))) {
        let name = line.split(&format!("{label}=\"")).nth(1).and_then(|rest| rest.split('"').next());
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        if let (Some(name), Some(value @ 1.0..)) = (name, value) {
            *sums.entry(name.to_owned()).or_default() += value;
        }
    }
    sums
}

async fn outcomes(proxy: &Proxy) -> BTreeMap<String, f64> {
    by(proxy, "rankwise_requests_total", "outcome").await
}

async fn attempts(proxy: &Proxy) -> BTreeMap<String, f64> {
    by(proxy, "rankwise_upstream_attempts_total", "result").await
}

fn counts(pairs: &[(&str, u32)]) -> BTreeMap<String, f64> {
    pairs.iter().map(|(name, count)| (name.to_string(), f64::from(*count))).collect()
}

/// Lines of the access log.
fn log_lines(proxy: &Proxy) -> Vec<Value> {
    let lines = proxy.log().into_iter().filter(|line| line.starts_with('{'));
    lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok()).collect()
}

/// Waits until as many requests have ended as should have.
async fn ended(proxy: &Proxy, expected: &[(&str, u32)]) {
    let expected = counts(expected);
    wait_until("every request to end", async || {
        proxy.metric("rankwise_requests_in_flight", "").await == 0.0 && outcomes(proxy).await == expected
    })
    .await;
    let mut logged = BTreeMap::new();
    wait_until("a line for each", async || {
        logged.clear();
        for line in log_lines(proxy) {
            *logged.entry(line["outcome"].as_str().unwrap_or_default().to_owned()).or_default() += 1.0;
        }
        logged == expected
    })
    .await;
    assert_eq!(outcomes(proxy).await, expected);
    assert!(
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0),
        "something is still booked"
    );
}

#[tokio::test]
async fn a_policy_that_rejects_the_second_try_is_heard() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, &format!("{LOGGED}{UNWATCHED}"), &[]).await;
    // By the attempt: the first row, then no more.
    decide_by(
        &proxy,
        "(if (result i32) (i64.eqz (i64.load offset=40 (local.get $facts)))
           (then (call $rank (i32.const 0))) (else (call $reject)))",
    )
    .await;
    for worker in fleet.workers() {
        refuse_connections(worker).await;
    }
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(reply.json()["error"]["message"], "once is enough");
    assert_eq!(reply.header("retry-after"), "7");
    assert_eq!(reply.header("x-rankwise-error"), "decision");
    ended(&proxy, &[("refused", 1)]).await;
    assert_eq!(attempts(&proxy).await, counts(&[("connect_failed", 1)]));
    let line = &log_lines(&proxy)[0];
    assert_eq!((&line["status"], &line["error"]), (&429.into(), &"decision".into()), "{line}");
    assert!(line["worker"].is_null(), "no worker has it: {line}");
    fleet.stop().await;
}

#[tokio::test]
async fn an_answer_that_another_betters_is_an_attempt_and_no_request() {
    let fleet = two_workers().await;
    let config = format!("{LOGGED}pools: [{{ name: main, retries: 1, retry_statuses: [500] }}]\n");
    let proxy = Proxy::configured(&fleet, &config, &["--policy", "round-robin"]).await;
    fleet.workers()[0].fault(Fault::ServerError);
    for _ in 0..2 {
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("x-rankwise-worker")),
            (200, "w1"),
            "{}",
            reply.text()
        );
    }
    ended(&proxy, &[("ok", 2)]).await;
    // w0, w1 instead of it, and w1 again: w0 has to prove itself by then.
    assert_eq!(attempts(&proxy).await, counts(&[("answered", 2), ("declined", 1)]));
    assert_eq!(arrivals(&fleet).len(), 3);

    fleet.workers()[1].fault(Fault::ServerError);
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 500);
    assert!(!reply.headers.contains_key("x-rankwise-error"), "the engine's word, not the proxy's");
    ended(&proxy, &[("ok", 2), ("engine_error", 1)]).await;
    assert_eq!(attempts(&proxy).await, counts(&[("answered", 2), ("declined", 2)]));
    fleet.stop().await;
}

#[tokio::test]
async fn the_last_engines_word_is_the_clients_if_nobody_is_left() {
    let fleet = two_workers().await;
    let config = format!("{LOGGED}pools: [{{ name: main, retries: 5, retry_statuses: [500] }}]\n");
    let proxy = Proxy::configured(&fleet, &config, &["--policy", "least-loaded"]).await;
    fleet.workers().iter().for_each(|worker| worker.fault(Fault::ServerError));
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 500, "{}", reply.text());
    assert!(!reply.headers.contains_key("x-rankwise-error"), "{:?}", reply.headers);
    assert!(reply.complete && reply.json()["error"].is_object(), "{}", reply.text());
    ended(&proxy, &[("engine_error", 1)]).await;
    assert_eq!(attempts(&proxy).await, counts(&[("declined", 2)]));
    fleet.stop().await;
}

#[tokio::test]
async fn what_an_engine_refused_to_compute_is_not_waited_for() {
    let fleet = two_workers().await;
    let config = "pools: [{ name: main, retries: 1, retry_statuses: [500] }]\n\
                  limits:\n  index: { pending_grace_min: 1h, pending_grace_max: 1h }\n";
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    fleet.workers().iter().for_each(|worker| worker.fault(Fault::ServerError));
    // Declined by the one, answered by the other.
    assert_eq!(proxy.client.post("/v1/completions", &completion(1, 100)).await.status, 500);
    wait_until("nothing to be pending", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["pending_blocks"] == 0)
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_counted() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, LOGGED, &["--policy", "round-robin"]).await;
    fleet.workers().iter().for_each(|worker| worker.fault(Fault::Stall));
    let mut clients = JoinSet::new();
    for body in [chat("hello"), streamed(chat("hello"))] {
        let client = proxy.client;
        clients.spawn(async move { client.chat(&body).await.status });
    }
    wait_until("both to arrive", async || arrivals(&fleet).len() == 2).await;
    assert_eq!(proxy.metric("rankwise_requests_in_flight", "").await, 2.0);
    clients.shutdown().await;
    ended(&proxy, &[("cancelled", 2)]).await;
    assert_eq!(attempts(&proxy).await, counts(&[("cancelled", 2)]));
    for line in log_lines(&proxy) {
        assert!(line["status"].is_null() && line["worker"].is_string(), "nobody was answered: {line}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_stream_of_http2_that_is_reset_is_counted_while_its_connection_lives() {
    let fleet = two_workers().await;
    let config = format!("{LOGGED}limits:\n  request: {{ head_bytes_max: 8Ki }}\n");
    let proxy = Proxy::configured(&fleet, &config, &["--policy", "round-robin"]).await;
    let stream = TcpStream::connect(proxy.address).await.expect("a connection");
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a handshake");
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let ask = |large: &str| {
        let mut sender = sender.clone();
        let request = Request::post(format!("http://localhost{CHAT}"))
            .header("x-large", large)
            .body(Full::new(Bytes::from(chat("hello").to_string())))
            .expect("a request");
        async move { sender.send_request(request).await.expect("an answer") }
    };
    fleet.workers().iter().for_each(|worker| worker.fault(Fault::Stall));
    let mut clients = JoinSet::new();
    clients.spawn(ask(""));
    wait_until("it to arrive", async || arrivals(&fleet).len() == 1).await;
    clients.shutdown().await;
    ended(&proxy, &[("cancelled", 1)]).await;
    assert_eq!(attempts(&proxy).await, counts(&[("cancelled", 1)]));

    fleet.workers().iter().for_each(rankwise_sim::WorkerHandle::heal);
    let refused = ask(&"x".repeat(12_000)).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["x-rankwise-error"]),
        (431, &"head".parse().expect("a value"))
    );
    assert_eq!(ask("").await.status(), 200, "the connection is as good as before");
    fleet.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_is_counted() {
    let fleet = two_workers().await;
    let proxy = Proxy::configured(&fleet, LOGGED, &[]).await;
    let mut stream = TcpStream::connect(proxy.address).await.expect("a connection");
    let half = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"model\":");
    stream.write_all(half.as_bytes()).await.expect("the proxy reads");
    wait_until("it to be let in", async || proxy.metric("rankwise_requests_in_flight", "").await == 1.0)
        .await;
    drop(stream);
    wait_until("it to end", async || proxy.metric("rankwise_requests_in_flight", "").await == 0.0).await;
    assert_eq!(outcomes(&proxy).await.values().sum::<f64>(), 1.0);
    assert_eq!(proxy.metric("rankwise_request_body_bytes", "").await, 0.0);
    fleet.stop().await;
}

#[tokio::test]
async fn however_it_ends_it_ends_once() {
    let fleet = two_workers().await;
    let config = format!("{LOGGED}limits:\n  request: {{ first_byte_timeout: 200ms }}\n");
    let proxy = Proxy::configured(&fleet, &config, &["--policy", "round-robin"]).await;
    let heal = || fleet.workers().iter().for_each(rankwise_sim::WorkerHandle::heal);
    let fault = |fault: Fault| fleet.workers().iter().for_each(|worker| worker.fault(fault));

    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    assert_eq!(proxy.client.chat(&streamed(chat("hello"))).await.status, 200);
    assert_eq!(proxy.client.send(Method::POST, CHAT, &[], "{").await.status, 400);
    assert_eq!(proxy.client.chat(&json!({ "model": "other", "messages": [{}] })).await.status, 404);
    fault(Fault::Stall);
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 504);
    heal();
    fault(Fault::ServerError);
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 500);
    heal();
    fault(Fault::ResetAfter(2));
    assert_eq!(proxy.client.chat(&streamed(chat("hello"))).await.status, 200);
    heal();
    // Not let in, so not counted here.
    assert_eq!(proxy.client.get("/nowhere").await.status, 404);
    assert_eq!(proxy.client.get(CHAT).await.status, 405);

    let expected = [("ok", 2), ("refused", 2), ("broken", 2), ("engine_error", 1)];
    ended(&proxy, &expected).await;
    let expected = [("answered", 4), ("timed_out", 1)];
    assert_eq!(attempts(&proxy).await, counts(&expected));
    fleet.stop().await;
}
