//! One worker's HTTP: paths, bodies, and everything but generation.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming as IncomingBody;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arrivals::Arrival;
use super::generate::{self, Incoming};
use super::io::Breaker;
use super::metrics;
use super::refusal::Refused;
use super::sglang;
use super::trtllm;
use super::worker::Worker;
use crate::EngineWire;
use rankwise_prompt::Api;

/// What every answer's body is.
pub(super) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The version that the simulator claims.
const VERSION: &str = "0.32.0";

/// Answers one request.
pub(super) async fn handle(
    worker: Arc<Worker>,
    breaker: Breaker,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, worker.spec.body_bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let refused = Refused::body_too_large();
            return Ok(json_response(refused.status, &refused.json()));
        }
    };
    let arrival = worker.next_arrival();
    worker.arrivals.push(Arrival {
        number: arrival,
        worker: worker.index,
        rank: None,
        at: worker.clock.now(),
        method: head.method.clone(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers.clone(),
        body: body.slice(..body.len().min(worker.spec.arrival_body_bytes_max)),
        body_bytes: body.len(),
    });
    let generate = |api| Incoming { api, arrival, headers: &head.headers, body: &body, breaker };
    let response = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => {
            generate::serve(&worker, generate(Api::ChatCompletions)).await
        }
        (&Method::POST, "/v1/completions") => generate::serve(&worker, generate(Api::Completions)).await,
        (&Method::POST, "/v1/responses") => generate::serve(&worker, generate(Api::Responses)).await,
        (&Method::GET, "/v1/models") => json_response(StatusCode::OK, &models(&worker)),
        (&Method::GET, "/health" | "/ready" | "/ping") if worker.faults.now().unhealthy => {
            let mut response = Response::new(text_body(String::new()));
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        }
        (method, path) => {
            let answered = match worker.spec.engine {
                EngineWire::Vllm => vllm(&worker, method, path, &body),
                EngineWire::Sglang => sglang::answer(&worker, method, path, &body),
                EngineWire::Trtllm => trtllm::answer(&worker, method, path),
                EngineWire::Generic => None,
            };
            answered.unwrap_or_else(|| json_response(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"})))
        }
    };
    Ok(response)
}

/// What is vLLM's own.
fn vllm(worker: &Worker, method: &Method, path: &str, body: &[u8]) -> Option<Response<Body>> {
    Some(match (method, path) {
        (&Method::POST, "/tokenize") => tokenize(worker, body),
        (&Method::POST, "/detokenize") => detokenize(worker, body),
        (&Method::POST, "/reset_prefix_cache") => {
            json_response(StatusCode::OK, &json!({"success": worker.clear_caches()}))
        }
        (&Method::GET, "/metrics") => metrics_page(worker),
        (&Method::GET, "/kv_event_sources") => json_response(StatusCode::OK, &worker.event_sources()),
        (&Method::GET, "/version") => json_response(StatusCode::OK, &json!({"version": VERSION})),
        (&Method::GET, "/health" | "/ping") => Response::new(text_body(String::new())),
        (&Method::GET, "/load") => json_response(StatusCode::OK, &json!({"server_load": 0})),
        _ => return None,
    })
}

pub(super) fn text_body(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn json_response(status: StatusCode, json: &Value) -> Response<Body> {
    let mut response = Response::new(text_body(json.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn metrics_page(worker: &Worker) -> Response<Body> {
    let page = worker
        .stale_metrics()
        .unwrap_or_else(|| metrics::page(&worker.spec, worker.start_rank(), &worker.stats()));
    let mut response = Response::new(text_body(page));
    let kind = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn models(worker: &Worker) -> Value {
    let spec = &worker.spec;
    json!({"object": "list", "data": [{
        "id": spec.model_name, "object": "model", "created": worker.created, "owned_by": owner(spec.engine),
        "root": worker.text.root().to_string_lossy(), "parent": null, "max_model_len": spec.model_len(),
        "permission": [],
    }]})
}

/// Who the engine says owns its models.
fn owner(engine: EngineWire) -> &'static str {
    match engine {
        EngineWire::Trtllm => "tensorrt_llm",
        EngineWire::Vllm | EngineWire::Sglang | EngineWire::Generic => engine.name(),
    }
}

#[derive(Deserialize)]
struct Tokenize {
    prompt: Option<String>,
}

pub(super) fn tokenize(worker: &Worker, body: &[u8]) -> Response<Body> {
    let tokens =
        serde_json::from_slice::<Tokenize>(body).map_err(|error| error.to_string()).and_then(|asked| {
            match asked.prompt {
                Some(prompt) => worker.text.tokens(&prompt),
                None => worker.text.prompt(Api::ChatCompletions, body),
            }
        });
    match tokens {
        Ok(tokens) => {
            let mut answer = Map::new();
            answer.insert("count".to_owned(), tokens.len().into());
            answer.insert("max_model_len".to_owned(), worker.spec.model_len().into());
            answer.insert("tokens".to_owned(), tokens.into());
            answer.insert("token_strs".to_owned(), Value::Null);
            json_response(StatusCode::OK, &answer.into())
        }
        Err(message) => bad_request(&message),
    }
}

#[derive(Deserialize)]
struct Detokenize {
    tokens: Vec<u32>,
}

pub(super) fn detokenize(worker: &Worker, body: &[u8]) -> Response<Body> {
    match serde_json::from_slice::<Detokenize>(body) {
        Ok(asked) => json_response(StatusCode::OK, &json!({"prompt": worker.text.text(&asked.tokens)})),
        Err(error) => bad_request(&error.to_string()),
    }
}

fn bad_request(message: &str) -> Response<Body> {
    json_response(StatusCode::BAD_REQUEST, &Refused::body(message).json())
}
