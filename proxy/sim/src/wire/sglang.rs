//! What is SGLang's own: how it tells what it is and how busy.

use ::http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::load_publisher;
use super::refusal::Refused;
use super::reply::{self, Body};
use super::tokens;
use super::worker::Worker;

/// The version that the simulator claims.
const VERSION: &str = "0.5.23";

/// What is answered on its own paths.
pub(super) fn answer(worker: &Worker, method: &Method, path: &str, body: &[u8]) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::POST, "/tokenize" | "/v1/tokenize") => tokens::tokenize(worker, body),
        (&Method::POST, "/detokenize" | "/v1/detokenize") => tokens::detokenize(worker, body),
        (&Method::GET, "/ready" | "/health") => reply::empty(StatusCode::OK),
        (&Method::GET, "/server_info" | "/get_server_info") => {
            reply::json(StatusCode::OK, &server_info(worker))
        }
        (&Method::GET, "/v1/loads") => reply::json(StatusCode::OK, &loads(worker)),
        (&Method::POST, "/flush_cache") if worker.clear_caches() => {
            Response::new(reply::text_body("Cache flushed.\n".to_owned()))
        }
        (&Method::POST, "/flush_cache") => reply::refuse(&Refused::body("requests are running")),
        _ => return None,
    })
}

fn server_info(worker: &Worker) -> Value {
    let spec = &worker.site.spec;
    let attention = if spec.lockstep { spec.ranks } else { 1 };
    let events = spec.publishes().then(|| {
        json!({
            "publisher": "zmq", "endpoint_host": "*", "endpoint_port_base": worker.ports().events.first(),
            "topic": spec.topic, "block_size": spec.block_size, "dp_size": spec.ranks,
            "replay_endpoint_port_base": worker.ports().replays.first(),
            "load_endpoint_port_base": worker.ports().loads.first(), "load_topic": load_publisher::TOPIC,
        })
    });
    let root = worker.text.root().to_string_lossy();
    json!({
        "version": VERSION, "model_path": root, "tokenizer_path": root, "served_model_name": spec.model_name,
        "tp_size": spec.ranks, "dp_size": spec.ranks / attention, "attn_dp_size": attention,
        "page_size": spec.block_size, "max_total_num_tokens": spec.tokens_per_rank(),
        "disaggregation_mode": worker.site.role().mode(), "disaggregation_bootstrap_port": worker.site.bootstrap_port(),
        "disable_radix_cache": false, "enable_cache_report": true,
        "kv_events": events, "internal_states": [],
    })
}

fn loads(worker: &Worker) -> Value {
    let spec = &worker.site.spec;
    let usable = f64::from(spec.blocks_per_rank - 1);
    let load = |(rank, stats): (usize, crate::RankStats)| {
        json!({
            "dp_rank": rank, "num_running_reqs": stats.running, "num_waiting_reqs": stats.waiting,
            "token_usage": f64::from(stats.used_blocks) / usable,
            "num_used_tokens": u64::from(stats.used_blocks) * u64::from(spec.block_size),
            "max_total_num_tokens": spec.tokens_per_rank(), "max_running_requests": spec.max_running,
        })
    };
    let loads: Vec<_> = worker.reported().into_iter().enumerate().map(load).collect();
    json!({"version": VERSION, "loads": loads})
}
