//! What is SGLang's own: where a rank is named, how it tells what it is and how busy.

use ::http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};

use super::http::{self, Body, json_response, text_body};
use super::refusal::Refused;
use super::worker::Worker;

/// The version that the simulator claims.
const VERSION: &str = "0.5.23";

/// The rank that a request names, by header or by body, the header first; `None` where the engine is to choose.
pub(super) fn rank(header: Option<&[u8]>, body: &[u8], ranks: usize) -> Result<Option<usize>, Refused> {
    let by_header = match header {
        Some(value) => {
            let number = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            Some(number.ok_or_else(|| Refused::body("X-Data-Parallel-Rank must be an integer"))?)
        }
        None => None,
    };
    // Of a field that is there twice the last counts, as in Python.
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refused::body(&error.to_string()))?;
    let field = |name: &str| fields.get(name).and_then(Value::as_i64);
    let Some(asked) = by_header.or_else(|| field("routed_dp_rank")).or_else(|| field("data_parallel_rank"))
    else {
        return Ok(None);
    };
    match usize::try_from(asked) {
        Ok(rank) if rank < ranks => Ok(Some(rank)),
        _ => Err(Refused::body(&format!("routed_dp_rank={asked} out of range [0, {ranks})"))),
    }
}

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str, body: &[u8]) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::POST, "/tokenize" | "/v1/tokenize") => http::tokenize(worker, body),
        (&Method::POST, "/detokenize" | "/v1/detokenize") => http::detokenize(worker, body),
        (&Method::GET, "/ready" | "/health") => Response::new(text_body(String::new())),
        (&Method::GET, "/server_info" | "/get_server_info") => {
            json_response(StatusCode::OK, &server_info(worker))
        }
        (&Method::GET, "/v1/loads") => json_response(StatusCode::OK, &loads(worker)),
        (&Method::POST, "/flush_cache") if worker.clear_caches() => {
            Response::new(text_body("Cache flushed.\n".to_owned()))
        }
        (&Method::POST, "/flush_cache") => {
            json_response(StatusCode::BAD_REQUEST, &Refused::body("requests are running").json())
        }
        _ => return None,
    })
}

fn server_info(worker: &Worker) -> Value {
    let spec = &worker.spec;
    let attention = if spec.lockstep { spec.ranks } else { 1 };
    let events = spec.publishes().then(|| {
        json!({
            "publisher": "zmq", "endpoint_host": "*", "endpoint_port_base": worker.event_port(0),
            "topic": spec.topic, "block_size": spec.block_size, "dp_size": spec.ranks,
            "replay_endpoint_port_base": worker.replay_port(0),
            "load_endpoint_port_base": null, "load_topic": "load",
        })
    });
    let root = worker.text.root().to_string_lossy();
    json!({
        "version": VERSION, "model_path": root, "tokenizer_path": root, "served_model_name": spec.model_name,
        "tp_size": spec.ranks, "dp_size": spec.ranks / attention, "attn_dp_size": attention,
        "page_size": spec.block_size, "max_total_num_tokens": spec.tokens_per_rank(),
        "disaggregation_mode": worker.role().mode(), "disaggregation_bootstrap_port": worker.bootstrap_port(),
        "disable_radix_cache": false, "enable_cache_report": true,
        "kv_events": events, "internal_states": [],
    })
}

fn loads(worker: &Worker) -> Value {
    let spec = &worker.spec;
    let usable = f64::from(spec.blocks_per_rank - 1);
    let load = |(rank, stats): (usize, crate::RankStats)| {
        json!({
            "dp_rank": rank, "num_running_reqs": stats.running, "num_waiting_reqs": stats.waiting,
            "token_usage": f64::from(stats.used_blocks) / usable,
            "num_used_tokens": u64::from(stats.used_blocks) * u64::from(spec.block_size),
            "max_total_num_tokens": spec.tokens_per_rank(), "max_running_requests": spec.max_running,
        })
    };
    let loads: Vec<_> = worker.stats().into_iter().enumerate().map(load).collect();
    json!({"version": VERSION, "loads": loads})
}

#[cfg(test)]
mod tests;
