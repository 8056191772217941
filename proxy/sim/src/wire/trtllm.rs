//! What is TensorRT-LLM's own, behind rankwise's shim: where a rank is named, how it tells what it is and how busy.

use ::http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::http::{Body, json_response, text_body};
use super::rank_header;
use super::refusal::Refused;
use super::worker::Worker;
use crate::TrtllmServer;

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

/// What the request models of a server know, as far as clients of ours use it: any other field is refused.
const FIELDS: [&str; 11] = [
    "model",
    "messages",
    "prompt",
    "prompt_token_ids",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "n",
    "temperature",
    "disaggregated_params",
];

/// The rank that a request names in its body, to a server without the shim.
pub(super) fn bare_rank(server: TrtllmServer, body: &[u8], ranks: usize) -> Result<Option<usize>, Refused> {
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refused::body(&error.to_string()))?;
    let of_rank = |name: &str| matches!(name, "attention_dp_rank" | "attention_dp_relax");
    let known =
        |name: &str| FIELDS.contains(&name) || (server == TrtllmServer::BareWithRankFields && of_rank(name));
    if let Some(name) = fields.keys().find(|name| !known(name)) {
        return Err(Refused::body(&format!("{name}: Extra inputs are not permitted")));
    }
    match fields.get("attention_dp_rank").filter(|rank| !rank.is_null()) {
        // Relaxed, it is a wish.
        Some(_) if fields.get("attention_dp_relax") != Some(&Value::Bool(false)) => Ok(None),
        // Nobody checks it: the executor's loop ends.
        Some(rank) => match rank.as_u64().and_then(|rank| usize::try_from(rank).ok()) {
            Some(rank) if rank < ranks => Ok(Some(rank)),
            _ => Err(Refused::internal()),
        },
        None => Ok(None),
    }
}

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::GET, "/health") => Response::new(text_body(String::new())),
        (&Method::GET, "/version") => json_response(StatusCode::OK, &json!({"version": VERSION})),
        (_, "/rankwise/worker" | "/rankwise/loads") if worker.spec.trtllm != TrtllmServer::Shim => {
            return None;
        }
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
