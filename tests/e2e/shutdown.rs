//! How the proxy ends, and what each request leaves in the log.

use http::Method;
use http_body_util::BodyExt;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::{Proxy, chat, fast, fleet, rest, streamed, wait_until};

const CHAT: &str = "/v1/chat/completions";

/// Engines that take their time, so that a stream is still running when the signal comes.
async fn slow() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 2, ..FleetSpec::default() }).await
}

fn long(tokens: u32) -> String {
    let mut body = streamed(chat("hello"));
    body["max_tokens"] = tokens.into();
    body.to_string()
}

async fn refuses_connections(proxy: &Proxy) {
    wait_until("new connections to be refused", async || TcpStream::connect(proxy.address).await.is_err())
        .await;
}

#[tokio::test]
async fn a_signal_lets_streams_end_and_takes_no_new_ones() {
    let fleet = slow().await;
    let mut proxy = Proxy::serving(&fleet, &[]).await;
    let finished = || fleet.workers()[0].stats().iter().map(|rank| rank.finished).sum::<u64>();
    let before = finished();
    let mut response = proxy.client.open(Method::POST, CHAT, &[], long(100)).await;
    response.body_mut().frame().await.expect("a frame").expect("data");
    // One that idles does not hold it up.
    let _idle = TcpStream::connect(proxy.address).await.expect("a connection");
    proxy.terminate();
    refuses_connections(&proxy).await;
    let (body, complete) = rest(response.body_mut()).await;
    let text = String::from_utf8_lossy(&body);
    assert!(complete, "the stream was cut");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!text.contains("\"error\""), "{text}");
    assert_eq!(proxy.ended().await, Some(0));
    assert_eq!(finished(), before + 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_second_signal_cuts_what_is_left() {
    let fleet = slow().await;
    let mut proxy = Proxy::serving(&fleet, &[]).await;
    let mut response = proxy.client.open(Method::POST, CHAT, &[], long(20_000)).await;
    response.body_mut().frame().await.expect("a frame").expect("data");
    proxy.terminate();
    refuses_connections(&proxy).await;
    proxy.terminate();
    let (_, complete) = rest(response.body_mut()).await;
    assert!(!complete, "half an answer looks like a whole one");
    assert_eq!(proxy.ended().await, Some(0));
    wait_until("the engine to be told", async || {
        fleet.workers()[0].stats().iter().map(|rank| rank.aborted).sum::<u64>() == 1
    })
    .await;
    fleet.stop().await;
}

/// The second signal comes at the first sign that the first was taken, not when the listeners have closed.
#[tokio::test]
async fn a_second_signal_right_after_the_first_counts() {
    let fleet = slow().await;
    let mut proxy = Proxy::serving(&fleet, &[]).await;
    let mut response = proxy.client.open(Method::POST, CHAT, &[], long(20_000)).await;
    response.body_mut().frame().await.expect("a frame").expect("data");
    proxy.terminate();
    wait_until("the first signal to be taken", async || {
        proxy.log().iter().any(|line| line.contains("draining"))
    })
    .await;
    proxy.terminate();
    let (_, complete) = rest(response.body_mut()).await;
    assert!(!complete, "half an answer looks like a whole one");
    assert_eq!(proxy.ended().await, Some(0));
    fleet.stop().await;
}

#[tokio::test]
async fn the_end_of_patience_cuts_what_is_left() {
    let fleet = slow().await;
    let mut proxy = Proxy::configured(&fleet, "shutdown: { drain_timeout: 300ms }\n", &[]).await;
    let mut response = proxy.client.open(Method::POST, CHAT, &[], long(20_000)).await;
    response.body_mut().frame().await.expect("a frame").expect("data");
    proxy.terminate();
    assert!(!rest(response.body_mut()).await.1, "half an answer looks like a whole one");
    assert_eq!(proxy.ended().await, Some(0));
    fleet.stop().await;
}

#[tokio::test]
async fn the_access_log_has_a_line_of_json_for_each_request() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::configured(&fleet, "access_log: stderr\n", &["--policy", "kv"]).await;
    let line_of = async |id: &str| -> Value {
        let mut found = None;
        wait_until("the line", async || {
            let lines = proxy.log();
            let objects = lines.iter().filter(|line| line.starts_with('{'));
            found = objects
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .find(|line| line["request_id"] == id);
            found.is_some()
        })
        .await;
        found.expect("waited for")
    };
    for (id, body) in [("plain-1", chat("a secret")), ("stream-1", streamed(chat("a secret")))] {
        let reply = proxy.client.send(Method::POST, CHAT, &[("x-request-id", id)], body.to_string()).await;
        let line = line_of(id).await;
        for (field, value) in
            [("pool", "main"), ("api", "chat_completions"), ("worker", "w0"), ("outcome", "ok")]
        {
            assert_eq!(line[field], value, "{line}");
        }
        assert_eq!(line["policy"], reply.header("x-rankwise-policy"));
        assert_eq!(line["dp_rank"], reply.number("x-rankwise-dp-rank"));
        assert_eq!((&line["status"], &line["attempt"]), (&200.into(), &0.into()));
        assert_eq!(line["bytes"], reply.body.len());
        assert_eq!(line["overlap_blocks"], reply.number("x-rankwise-overlap-blocks"));
        let usage = reply.usage();
        for field in ["prompt_tokens", "completion_tokens"] {
            assert_eq!(line[field], usage[field], "{line}");
        }
        assert_eq!(line["cached_tokens"], reply.cached_tokens());
        assert!(line["total_ms"].as_f64() > Some(0.0), "{line}");
        assert_eq!(line["first_token_ms"].is_f64(), id == "stream-1", "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
    }
    assert!(!proxy.log().iter().any(|line| line.contains("a secret")), "what clients say is not for the log");
    fleet.stop().await;
}
