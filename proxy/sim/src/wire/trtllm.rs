//! What is TensorRT-LLM's own, behind rankwise's shim: where a rank is named, how it tells what it is and how busy.

use ::http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::http::{Body, json_response, text_body};
use super::rank_header;
use super::refusal::Refused;
use super::worker::Worker;

/// The version that the simulator claims.
const VERSION: &str = "1.3.0rc24";

/// The rank that a request names; `None` where the engine is to choose. The shim takes one clean number and nothing else.
pub(super) fn rank(headers: &HeaderMap, ranks: usize) -> Result<Option<usize>, Refused> {
    let mut values = headers.get_all(rank_header::NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits =
        Some(value.as_bytes()).filter(|bytes| bytes.len() < 10 && bytes.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse::<usize>().ok());
    match number {
        Some(rank) if rank < ranks && values.next().is_none() => Ok(Some(rank)),
        _ => Err(Refused::body(&format!("data_parallel_rank is not one number in [0, {ranks})"))),
    }
}

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::GET, "/health") => Response::new(text_body(String::new())),
        (&Method::GET, "/version") => json_response(StatusCode::OK, &json!({"version": VERSION})),
        (&Method::GET, "/rankwise/worker") => json_response(StatusCode::OK, &about(worker)),
        (&Method::GET, "/rankwise/loads") => json_response(StatusCode::OK, &loads(worker)),
        _ => return None,
    })
}

fn about(worker: &Worker) -> Value {
    let spec = &worker.spec;
    let events = spec.publishes().then(
        || json!({"port": worker.event_port(0), "replay_port": worker.replay_port(0), "topic": spec.topic}),
    );
    json!({
        "ranks": spec.ranks, "tensor_parallel_size": spec.ranks, "block_size": spec.block_size,
        "blocks": spec.blocks_per_rank - 1, "block_reuse": true, "events": events,
        "model_path": worker.text.root().to_string_lossy(),
    })
}

/// With several ranks the engine keeps queue and cache use of each to itself.
fn loads(worker: &Worker) -> Value {
    let load = |(rank, stats): (usize, crate::RankStats)| json!({"dp_rank": rank, "running": stats.running});
    let loads: Vec<_> = worker.stats().into_iter().enumerate().map(load).collect();
    json!({"loads": loads})
}
