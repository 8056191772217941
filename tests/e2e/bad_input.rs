//! What a client sends wrong is answered in the API's words and never reaches an engine.

use std::time::Duration;

use http::Method;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{Proxy, Reply, arrivals, chat, fast, fleet, wait_until};

const CHAT: &str = "/v1/chat/completions";
const COMPLETIONS: &str = "/v1/completions";

async fn two_ranks() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await
}

fn assert_refused(reply: &Reply, status: u16, stage: &str, what: &str) {
    assert_eq!(reply.status, status, "{what}: {}", reply.text());
    assert_eq!(reply.header("x-rankwise-error"), stage, "{what}");
    assert_eq!(reply.header("content-type"), "application/json", "{what}");
    let error = &reply.json()["error"];
    assert_eq!(error["code"], status, "{what}");
    for field in ["message", "type"] {
        assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{what}: {field}");
    }
}

/// Nothing arrived, and the next good request is answered.
async fn assert_unharmed(proxy: &Proxy, fleet: &Fleet) {
    assert!(arrivals(fleet).is_empty(), "{:?}", arrivals(fleet));
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    assert_eq!(arrivals(fleet).len(), 1);
}

#[tokio::test]
async fn anthropic_s_clients_are_told_in_anthropic_s_words() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let other = r#"{"model":"other","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;
    for (body, status, kind) in [("{", 400, "invalid_request_error"), (other, 404, "not_found_error")] {
        let reply = proxy.client.send(Method::POST, "/v1/messages", &[], body).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        let answer = reply.json();
        assert_eq!((&answer["type"], &answer["error"]["type"]), (&json!("error"), &json!(kind)), "{answer}");
    }
    assert_unharmed(&proxy, &fleet).await;
}

#[tokio::test]
async fn broken_bodies_are_refused() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let bodies: [&[u8]; 9] = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"hello",
        br#"{"model":"sim","messages":[{"role":"user","content":"x"}]} {}"#,
        br#"{"model":"sim","messages":[{"role":"user","content":"x"}],}"#,
        br#"{"model":"sim","messages":[{"role":"user","content":"x]}"#,
        b"{\"model\":\"sim\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
    ];
    for path in [CHAT, COMPLETIONS] {
        for body in bodies {
            let reply = proxy.client.send(Method::POST, path, &[], body).await;
            assert_refused(&reply, 400, "body", &format!("{path} {}", String::from_utf8_lossy(body)));
        }
    }
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn wrong_fields_are_refused_by_name() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let with = |field: &str, value: Value| {
        let mut body = chat("hello");
        body[field] = value;
        body
    };
    let cases = [
        (CHAT, with("model", Value::Null), "model"),
        (CHAT, with("model", json!(7)), "model"),
        (CHAT, with("messages", Value::Null), "messages"),
        (CHAT, with("messages", json!([])), "messages"),
        (CHAT, with("messages", json!("hello")), "messages"),
        (CHAT, with("messages", json!({})), "messages"),
        (CHAT, with("stream", json!("yes")), "stream"),
        (CHAT, with("stream_options", json!(true)), "stream_options"),
        (CHAT, with("max_tokens", json!("4")), "max_tokens"),
        (CHAT, with("max_completion_tokens", json!(-1)), "max_completion_tokens"),
        (CHAT, with("n", json!(0)), "n"),
        (CHAT, with("cache_salt", json!(1)), "cache_salt"),
        (COMPLETIONS, json!({ "model": "sim" }), "prompt"),
        (COMPLETIONS, json!({ "model": "sim", "prompt": {} }), "prompt"),
        (COMPLETIONS, json!({ "model": "sim", "prompt": [] }), "prompt"),
    ];
    for (path, body, field) in cases {
        let reply = proxy.client.post(path, &body).await;
        assert_refused(&reply, 400, "body", &body.to_string());
        assert_eq!(reply.json()["error"]["param"], field, "{body}");
    }
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_unknown_model_is_not_found() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    for model in ["gpt", "", "SIM"] {
        let mut body = chat("hello");
        body["model"] = model.into();
        let reply = proxy.client.chat(&body).await;
        assert_refused(&reply, 404, "model", model);
        assert_eq!(reply.json()["error"]["param"], "model");
    }
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn nesting_without_end_is_refused() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"model":"sim","messages":{open}{close}}}"#);
    let reply = proxy.client.send(Method::POST, CHAT, &[], body).await;
    assert_refused(&reply, 400, "body", "100,000 brackets");
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

const SMALL: &str = "limits:\n  request: { body_bytes_max: 4Ki, head_bytes_max: 8Ki, headers_max: 20, head_timeout: 300ms, body_timeout: 300ms }\n";

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_it_is_sent() {
    let fleet = two_ranks().await;
    let proxy = Proxy::configured(&fleet, SMALL, &[]).await;
    let large = chat(&"x".repeat(5_000)).to_string();
    let reply = proxy.client.send(Method::POST, CHAT, &[], large.clone()).await;
    assert_refused(&reply, 413, "body", "a length that is told");
    let chunked = format!(
        "POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let answer = proxy.client.raw(chunked).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("x-rankwise-error: body"), "{answer}");
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

/// Sends a request but for its last bytes.
async fn begin_upload(proxy: &Proxy, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.address).await.expect("a connection");
    stream.write_all(&request.as_bytes()[..request.len() - 5]).await.expect("the proxy reads");
    stream
}

async fn whole_answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset ends it as well as a close.
    while let Ok(1..) = timeout(Duration::from_secs(60), stream.read_buf(&mut answer)).await.expect("an end")
    {
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn bodies_that_come_slowly_share_the_bound_from_their_first_byte() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, blocks_per_rank: 4096, ..fast() }).await;
    let config = "limits:\n  request: { body_bytes_max: 48Ki, bodies_bytes_max: 64Ki }\n";
    let proxy = Proxy::configured(&fleet, config, &["--policy", "least-loaded"]).await;
    let body = chat(&"x".repeat(40_000)).to_string();
    let told = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for rest in [told, chunked] {
        let request = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{rest}");
        let mut first = begin_upload(&proxy, &request).await;
        wait_until("its bytes to be counted", async || {
            (39_000.0..=65_536.0).contains(&proxy.metric("rankwise_request_body_bytes", "").await)
        })
        .await;
        // Neither is whole, and no byte more than that is held.
        let second = begin_upload(&proxy, &request).await;
        let answer = whole_answer(second).await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("x-rankwise-error: queue"), "{answer}");
        assert!(answer.contains("\"type\":\"ServiceUnavailableError\""), "{answer}");

        first.write_all(&request.as_bytes()[request.len() - 5..]).await.expect("the proxy reads");
        let answer = whole_answer(first).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        wait_until("all of it to be let go", async || {
            proxy.metric("rankwise_request_body_bytes", "").await == 0.0
        })
        .await;
        assert_eq!(arrivals(&fleet).pop().expect("the first").body, body);
    }
    assert_eq!(arrivals(&fleet).len(), 2);
    fleet.stop().await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let fleet = two_ranks().await;
    let proxy = Proxy::configured(&fleet, SMALL, &[]).await;
    let large = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nx-large: {}\r\n\r\n", "x".repeat(12_000));
    let many = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "x-many: 1\r\n".repeat(30));
    for head in [large, many] {
        let answer = proxy.client.raw(head).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        assert!(answer.contains("x-rankwise-error: head") && answer.contains("\"code\":431"), "{answer}");
    }
    // Far beyond it is not even read, and nobody is left to say so in the API's words.
    let larger =
        format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nx-large: {}\r\n\r\n", "x".repeat(30_000));
    let more = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "x-many: 1\r\n".repeat(60));
    for head in [larger, more] {
        let answer = proxy.client.raw(head).await;
        assert!(answer.starts_with("HTTP/1.1 431") && !answer.contains("x-rankwise-error"), "{answer}");
    }
    for nonsense in ["hello\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\u{1}\u{2}\r\n\r\n"] {
        let answer = proxy.client.raw(nonsense).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{nonsense:?}: {answer}");
    }
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_client_that_dawdles_is_let_go() {
    let fleet = two_ranks().await;
    let proxy = Proxy::configured(&fleet, SMALL, &[]).await;
    // Nothing at all, half a preface of h2, half a head.
    for head in ["", "PRI", "POST /v1/chat/completions HTTP/1.1\r\nHost: local"] {
        proxy.client.raw(head).await;
    }
    let body = format!("POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"model\":");
    let answer = proxy.client.raw(body).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("x-rankwise-error: body"), "{answer}");
    assert_unharmed(&proxy, &fleet).await;
    fleet.stop().await;
}
