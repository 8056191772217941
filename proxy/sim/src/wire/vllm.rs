//! What is vLLM's own: how it tells where its events are and how busy it is.

use ::http::{Method, Response, StatusCode, Uri};
use serde_json::{Map, Value, json};

use super::feed::QUEUE_BATCHES;
use super::metrics::Sleep;
use super::refusal::Refused;
use super::reply::{self, Body};
use super::tokens;
use super::worker::Worker;

/// The version that the simulator claims.
const VERSION: &str = "0.32.0";

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, uri: &Uri, body: &[u8]) -> Option<Response<Body>> {
    Some(match (method, uri.path()) {
        (&Method::POST, "/tokenize") => tokens::tokenize(worker, body),
        (&Method::POST, "/detokenize") => tokens::detokenize(worker, body),
        (&Method::POST, "/reset_prefix_cache") => {
            reply::json(StatusCode::OK, &json!({"success": worker.clear_caches()}))
        }
        (&Method::POST, "/sleep") => sleep(worker, uri.query()),
        (&Method::POST, "/wake_up") => wake_up(worker),
        (&Method::GET, "/is_sleeping") => {
            reply::json(StatusCode::OK, &json!({"is_sleeping": worker.asleep().is_some()}))
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
    reply::typed("text/plain; version=1.0.0; charset=utf-8", reply::text_body(worker.metrics_page()))
}

/// What runs is aborted, as by the real one unless it is asked for something else.
fn sleep(worker: &Worker, query: Option<&str>) -> Response<Body> {
    let level = query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("level=")));
    let how = match level.unwrap_or("1") {
        "1" => Sleep::Offloaded,
        "2" => Sleep::Discarded,
        _ => return reply::refuse(&Refused::body("level: expected 1 or 2")),
    };
    worker.sleep(how);
    reply::empty(StatusCode::OK)
}

fn wake_up(worker: &Worker) -> Response<Body> {
    worker.wake_up();
    reply::empty(StatusCode::OK)
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
