//! Engines that stall, break off, lie or go away, and clients that do.

use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rankwise_sim::{Fault, Fleet, FleetSpec, RankStats};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::harness::{Client, Proxy, RawEngine, arrivals, chat, fast, fleet, streamed, wait_until};

const CHAT: &str = "/v1/chat/completions";
const REQUESTS: &str = "rankwise_requests_total";

async fn one_worker() -> Fleet {
    fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await
}

/// The error of an event that carries one.
fn error_of(event: &str) -> Value {
    serde_json::from_str::<Value>(event).expect("JSON")["error"].clone()
}

fn sum(fleet: &Fleet, of: impl Fn(&RankStats) -> u64) -> u64 {
    fleet.workers().iter().flat_map(rankwise_sim::WorkerHandle::stats).map(|stats| of(&stats)).sum()
}

async fn nothing_is_booked(proxy: &Proxy) {
    wait_until("every booking to end", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 0)
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_stalls_is_given_up() {
    let fleet = one_worker().await;
    let proxy = Proxy::configured(&fleet, "limits:\n  request: { first_byte_timeout: 200ms }\n", &[]).await;
    fleet.workers()[0].fault(Fault::Stall);
    for body in [chat("hello"), streamed(chat("hello"))] {
        let reply = proxy.client.chat(&body).await;
        assert_eq!(reply.status, 504, "{}", reply.text());
        assert_eq!(reply.header("x-rankwise-error"), "upstream_timeout");
        assert_eq!(reply.json()["error"]["code"], 504);
    }
    // It was sent once: the engine may have done the work.
    assert_eq!(arrivals(&fleet).len(), 2);
    nothing_is_booked(&proxy).await;
    fleet.workers()[0].heal();
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error_and_the_end_mark() {
    let fleet = one_worker().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    for fault in [Fault::ResetAfter(3), Fault::HalfCloseAfter(3)] {
        fleet.workers()[0].fault(fault);
        let mut body = streamed(chat("hello"));
        body["max_tokens"] = 20.into();
        let reply = proxy.client.chat(&body).await;
        assert_eq!(reply.status, 200, "{fault:?}");
        assert!(reply.complete, "{fault:?}: the client is told, not cut off");
        let events = reply.events();
        let [before @ .., error, done] = events.as_slice() else { panic!("{fault:?}: {events:?}") };
        assert_eq!(done, "[DONE]", "{fault:?}");
        assert_eq!(error_of(error)["code"], 502, "{fault:?}: {error}");
        assert!(before.iter().all(|event| error_of(event).is_null()), "{fault:?}: {before:?}");
        fleet.workers()[0].heal();
    }
    assert_eq!(proxy.metric(REQUESTS, "outcome=\"broken\"").await, 2.0);
    nothing_is_booked(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_engine_that_falls_silent_is_given_up() {
    let silent = [
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {\"choices\":[]}\n\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":",
    ];
    for (answer, stream) in silent.into_iter().zip([true, false]) {
        let engine = RawEngine::falling_silent_after(answer).await;
        let yaml = "limits:\n  request: { stream_idle_timeout: 300ms }\n";
        let proxy = Proxy::configured_with(yaml, &engine.worker_flag()).await;
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(reply.complete, stream, "only a stream can say in words that it is broken");
        if stream {
            let [_, error, done] = &reply.events()[..] else { panic!("{}", reply.text()) };
            assert_eq!(error_of(error)["code"], 504, "{error}");
            assert_eq!(done, "[DONE]");
        }
        nothing_is_booked(&proxy).await;
    }
}

#[tokio::test]
async fn a_plain_answer_that_breaks_off_does_not_end_cleanly() {
    let broken = [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n6\r\n{\"id\":\r\n",
    ];
    for answer in broken {
        let engine = RawEngine::answering(answer).await;
        let proxy = Proxy::start(&engine.worker_flag()).await;
        proxy.ready().await;
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text(), "{\"id\":");
        assert!(!reply.complete, "half an answer looks like a whole one");
        wait_until("it to count", async || proxy.metric(REQUESTS, "outcome=\"broken\"").await == 1.0).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_a_bad_gateway() {
    for answer in ["", "220 smtp ready\r\n", "HTTP/1.1 2x0 OK\r\n\r\n"] {
        let engine = RawEngine::answering(answer).await;
        let proxy = Proxy::start(&engine.worker_flag()).await;
        proxy.ready().await;
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(reply.status, 502, "{answer:?}: {}", reply.text());
        assert_eq!(reply.header("x-rankwise-error"), "upstream");
        assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    }
}

#[tokio::test]
async fn an_error_in_a_stream_passes_through_and_counts_as_the_engines() {
    let fleet = one_worker().await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    fleet.workers()[0].fault(Fault::StreamError);
    let reply = proxy.client.chat(&streamed(chat("hello"))).await;
    assert_eq!(reply.status, 200);
    let events = reply.events();
    assert_eq!(error_of(&events[0])["type"], "InternalServerError");
    assert_eq!(events[1..], ["[DONE]"]);
    assert_eq!(proxy.metric(REQUESTS, "outcome=\"engine_error\"").await, 1.0);

    fleet.workers()[0].heal();
    fleet.workers()[0].fault(Fault::ServerError);
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 500);
    assert!(!reply.headers.contains_key("x-rankwise-error"), "the engine's error, not the proxy's");
    assert_eq!(arrivals(&fleet).len(), 2, "an answered request is not sent again");
    assert_eq!(proxy.metric(REQUESTS, "outcome=\"engine_error\"").await, 2.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_frees_the_engine() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..FleetSpec::default() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let finished = sum(&fleet, |stats| stats.finished);
    let mut body = streamed(chat("hello"));
    body["max_tokens"] = 20_000.into();
    let mut response: Response<Incoming> = proxy.client.open(Method::POST, CHAT, &[], body.to_string()).await;
    response.body_mut().frame().await.expect("a frame").expect("data");
    drop(response);
    wait_until("the engine to abort", async || sum(&fleet, |stats| stats.aborted) == 1).await;
    assert_eq!(sum(&fleet, |stats| stats.finished), finished);
    nothing_is_booked(&proxy).await;
    assert_eq!(proxy.metric(REQUESTS, "outcome=\"cancelled\"").await, 1.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_frees_the_engine() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..FleetSpec::default() }).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let mut body = chat("hello");
    body["max_tokens"] = 20_000.into();
    let client: Client = proxy.client;
    let mut clients = JoinSet::new();
    clients.spawn(async move { client.chat(&body).await.status });
    wait_until("the engine to begin", async || sum(&fleet, |stats| stats.running as u64) == 1).await;
    clients.shutdown().await;
    wait_until("the engine to abort", async || sum(&fleet, |stats| stats.aborted) == 1).await;
    nothing_is_booked(&proxy).await;
    fleet.stop().await;
}
