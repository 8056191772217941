use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::client::{complete, get, post, send};
use super::{fleet, quick, until};
use crate::{Fault, WorkerHandle};

fn stream() -> serde_json::Value {
    json!({"model": "sim", "prompt": [1, 2], "max_tokens": 5, "stream": true})
}

fn address(worker: &WorkerHandle) -> String {
    worker.url().strip_prefix("http://").unwrap().to_owned()
}

#[tokio::test]
async fn a_stalled_worker_never_answers() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::Stall);
    let body = stream();
    let asking = send(worker, "/v1/completions", &[], Some(&body));
    assert!(tokio::time::timeout(Duration::from_millis(200), asking).await.is_err());
    assert_eq!((worker.arrivals().len(), worker.arrivals()[0].rank), (1, None));
    worker.heal();
    assert_eq!(post(worker, "/v1/completions", stream()).await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn streams_break_where_asked() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::ResetAfter(2));
    let reset = post(worker, "/v1/completions", stream()).await;
    assert!(reset.broken);
    assert!(reset.events().len() <= 2);
    worker.heal();
    worker.fault(Fault::HalfCloseAfter(2));
    let half = post(worker, "/v1/completions", stream()).await;
    assert!(half.broken);
    assert_eq!(half.events().len(), 2);
    worker.heal();
    worker.fault(Fault::AbortAfterFirst);
    let aborted = post(worker, "/v1/completions", stream()).await;
    let events = aborted.events();
    assert_eq!((aborted.broken, events.len(), events[1]), (false, 2, "[DONE]"));
    assert!(events[0].contains("\"finish_reason\":\"abort\""));
    fleet.stop().await;
}

#[tokio::test]
async fn errors_are_answered_where_asked() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::ServerError);
    assert_eq!(post(worker, "/v1/completions", stream()).await.status, 500);
    assert_eq!(get(worker, "/health").await.status, 200);
    worker.heal();
    worker.fault(Fault::StreamError);
    let answer = post(worker, "/v1/completions", stream()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.events()[0].starts_with("{\"error\""));
    worker.heal();
    worker.fault(Fault::SlowFirstByte(Duration::from_millis(150)));
    let start = Instant::now();
    assert_eq!(post(worker, "/v1/completions", stream()).await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(150));
    fleet.stop().await;
}

#[tokio::test]
async fn a_port_can_refuse_and_come_back() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::RefuseConnections);
    let refused = async || TcpStream::connect(address(worker)).await.is_err();
    wait_for("refused", &refused, true).await;
    worker.heal();
    wait_for("accepted", &refused, false).await;
    assert_eq!(get(worker, "/health").await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn a_slow_start_opens_the_port_late() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let refused = async || TcpStream::connect(address(worker)).await.is_err();
    worker.fault(Fault::SlowStart(Duration::from_secs(3600)));
    assert!(!refused().await, "it has started");
    worker.restart().await.unwrap();
    wait_for("refused", &refused, true).await;
    worker.fault(Fault::SlowStart(Duration::from_millis(1)));
    worker.restart().await.unwrap();
    wait_for("accepted", &refused, false).await;
    assert_eq!(get(worker, "/health").await.status, 200);
    fleet.stop().await;
}

async fn wait_for(what: &str, probe: &impl AsyncFn() -> bool, wanted: bool) {
    let waiting = async {
        while probe().await != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(super::PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_stopped_worker_is_gone_with_its_requests() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let body = json!({"model": "sim", "prompt": [1], "max_tokens": 250, "stream": true});
    let response = send(worker, "/v1/completions", &[], Some(&body)).await.unwrap();
    until("running", || worker.stats().iter().any(|rank| rank.running > 0)).await;
    worker.stop().await;
    assert!(http_body_util::BodyExt::collect(response.into_body()).await.is_err());
    assert!(TcpStream::connect(address(worker)).await.is_err());
    assert!(worker.stats().iter().all(|rank| rank.running == 0 && rank.used_blocks == 0));
    worker.start().await.unwrap();
    assert_eq!(get(worker, "/health").await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn a_pin_can_be_ignored_and_metrics_can_stand_still() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::IgnorePin);
    worker.fault(Fault::StaleMetrics);
    let before = get(worker, "/metrics").await.text;
    complete(worker, 0, &[1, 2, 3], 1).await;
    assert_eq!(worker.arrivals().last().unwrap().rank, Some(1));
    assert_eq!(get(worker, "/metrics").await.text, before);
    worker.heal();
    assert_ne!(get(worker, "/metrics").await.text, before);
    fleet.stop().await;
}

#[tokio::test]
async fn a_dead_rank_leaves_the_others_alone_and_comes_back_empty_on_its_ports() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    assert_eq!(complete(worker, 1, &[1; 40], 1).await.status, 200);
    let body = json!({"model": "sim", "prompt": [1], "max_tokens": 250, "stream": true});
    let response = send(worker, "/v1/completions", &[("x-data-parallel-rank", b"1")], Some(&body)).await;
    until("running", || worker.stats()[1].running > 0).await;
    worker.fault(Fault::DeadRank(1));
    assert!(http_body_util::BodyExt::collect(response.unwrap().into_body()).await.is_err());
    assert_eq!(complete(worker, 1, &[1], 1).await.status, 500);
    assert_eq!(complete(worker, 0, &[1], 1).await.status, 200);
    assert_eq!((worker.cache(1).len(), worker.next_sequence(1)), (0, 0));
    let endpoints = [worker.event_endpoint(1).unwrap(), worker.replay_endpoint(1).unwrap()];
    for endpoint in endpoints {
        let address = endpoint.strip_prefix("tcp://").unwrap();
        let refused = async || TcpStream::connect(address).await.is_err();
        wait_for("closed", &refused, true).await;
        worker.heal();
        wait_for("open again", &refused, false).await;
        worker.fault(Fault::DeadRank(1));
    }
    worker.heal();
    assert_eq!(complete(worker, 1, &[1; 40], 1).await.status, 200);
    assert_eq!(worker.next_sequence(1), 1);
    fleet.stop().await;
}

#[tokio::test]
async fn a_hung_rank_answers_nothing_and_the_others_do() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::HungRank(1));
    let hung = tokio::time::timeout(Duration::from_millis(200), complete(worker, 1, &[1], 1)).await;
    assert!(hung.is_err());
    assert_eq!(worker.arrivals()[0].rank, Some(1));
    assert_eq!(complete(worker, 0, &[1], 1).await.status, 200);
    worker.heal();
    assert_eq!(complete(worker, 1, &[1], 1).await.status, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn a_dying_rank_is_an_error_when_its_server_knows_and_silence_after_that() {
    let fleet = fleet(quick()).await;
    let worker = &fleet.workers()[0];
    let long = json!({"model": "sim", "prompt": [1], "max_tokens": 250, "stream": true});
    let ran = send(worker, "/v1/completions", &[("x-data-parallel-rank", b"1")], Some(&long)).await;
    until("running", || worker.stats()[1].running > 0).await;
    let endpoint = worker.event_endpoint(1).unwrap();
    let began = Instant::now();
    let unnoticed = Duration::from_millis(300);
    worker.fault(Fault::DyingRank(1, unnoticed));
    let refused = async || TcpStream::connect(endpoint.trim_start_matches("tcp://")).await.is_err();
    wait_for("its events to be gone", &refused, true).await;
    assert_eq!(complete(worker, 1, &[1], 1).await.status, 500);
    assert!(http_body_util::BodyExt::collect(ran.unwrap().into_body()).await.is_err());
    assert!(began.elapsed() >= unnoticed);
    assert_eq!(complete(worker, 0, &[1], 1).await.status, 200);
    let later = tokio::time::timeout(Duration::from_millis(200), complete(worker, 1, &[1], 1)).await;
    assert!(later.is_err(), "it is answered");
    worker.heal();
    assert_eq!(complete(worker, 1, &[1; 40], 1).await.status, 200);
    wait_for("its events to be back", &refused, false).await;
    fleet.stop().await;
}
