//! What is TensorRT-LLM's own: behind rankwise's shim, how it tells what it is and how busy; bare, what happened to its caches.

use ::http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::drained;
use super::reply::{self, Body};
use super::worker::Worker;

/// The version that the simulator claims.
const VERSION: &str = "1.3.0rc24";

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::GET, "/health") => reply::empty(StatusCode::OK),
        (&Method::GET, "/version") => reply::json(StatusCode::OK, &json!({"version": VERSION})),
        // At once, as newer versions answer; older ones wait 2 s for something to tell.
        (&Method::POST, "/kv_cache_events") if worker.site.spec.is_bare() => {
            let events: Vec<_> = worker.feeds.iter().flat_map(|feed| feed.drain()).collect();
            reply::typed("application/json", reply::text_body(drained::answer(&events)))
        }
        (_, "/rankwise/worker" | "/rankwise/loads") if worker.site.spec.is_bare() => return None,
        (&Method::GET, "/rankwise/worker") => reply::json(StatusCode::OK, &about(worker)),
        (&Method::GET, "/rankwise/loads") => reply::json(StatusCode::OK, &loads(worker)),
        _ => return None,
    })
}

fn about(worker: &Worker) -> Value {
    let spec = &worker.site.spec;
    let events = spec.publishes().then(
        || json!({"port": worker.ports().events.first(), "replay_port": worker.ports().replays.first(), "topic": spec.topic}),
    );
    json!({
        "backend": "pytorch", "ranks": spec.ranks, "tensor_parallel_size": spec.ranks, "block_size": spec.block_size,
        "blocks": spec.blocks_per_rank - 1, "block_reuse": true, "events": events,
        "model_path": worker.text.root().to_string_lossy(),
    })
}

/// With several ranks the engine keeps queue and cache use of each to itself.
fn loads(worker: &Worker) -> Value {
    let load = |(rank, stats): (usize, crate::RankStats)| json!({"dp_rank": rank, "running": stats.running});
    let loads: Vec<_> = worker.reported().into_iter().enumerate().map(load).collect();
    json!({"loads": loads})
}
