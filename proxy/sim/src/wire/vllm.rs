//! What is vLLM's own: how it tells where its events are and how busy it is.

use ::http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::feed::QUEUE_BATCHES;
use super::reply::{self, Body};
use super::worker::Worker;
use super::{metrics, tokens};

/// The version that the simulator claims.
const VERSION: &str = "0.32.0";

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str, body: &[u8]) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::POST, "/tokenize") => tokens::tokenize(worker, body),
        (&Method::POST, "/detokenize") => tokens::detokenize(worker, body),
        (&Method::POST, "/reset_prefix_cache") => {
            reply::json(StatusCode::OK, &json!({"success": worker.clear_caches()}))
        }
        (&Method::GET, "/metrics") => metrics_page(worker),
        (&Method::GET, "/kv_event_sources") => reply::json(StatusCode::OK, &event_sources(worker)),
        (&Method::GET, "/version") => reply::json(StatusCode::OK, &json!({"version": VERSION})),
        (&Method::GET, "/health" | "/ping") => reply::empty(StatusCode::OK),
        (&Method::GET, "/load") => reply::json(StatusCode::OK, &json!({"server_load": 0})),
        _ => return None,
    })
}

fn metrics_page(worker: &Worker) -> Response<Body> {
    let page = worker.stale_metrics().unwrap_or_else(|| metrics::page(&worker.site, &worker.stats()));
    reply::typed("text/plain; version=1.0.0; charset=utf-8", reply::text_body(page))
}

fn event_sources(worker: &Worker) -> Value {
    let spec = &worker.site.spec;
    let mut sources = Map::new();
    if spec.publishes() {
        let ports = worker.ports();
        for (rank, (events, replay)) in ports.events.iter().zip(&ports.replays).enumerate() {
            let source = json!({
                "enable_kv_cache_events": true, "publisher": "zmq",
                "endpoint": format!("tcp://127.0.0.1:{events}"),
                "replay_endpoint": format!("tcp://127.0.0.1:{replay}"),
                "buffer_steps": spec.buffer_steps, "hwm": QUEUE_BATCHES,
                "max_queue_size": QUEUE_BATCHES, "topic": spec.topic,
            });
            sources.insert((worker.site.start_rank() + rank).to_string(), source);
        }
    }
    sources.into()
}
