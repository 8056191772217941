//! One worker's HTTP: paths, bodies, and who answers what.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming as IncomingBody;
use serde_json::{Value, json};

use super::arrivals::Arrival;
use super::generate;
use super::incoming::Incoming;
use super::io::Breaker;
use super::refusal::Refused;
use super::reply::{self, Body};
use super::worker::Worker;
use super::{dynamo, sglang, trtllm, vllm};
use crate::EngineWire;
use rankwise_prompt::Api;

/// Answers one request.
pub(super) async fn handle(
    worker: Arc<Worker>,
    breaker: Breaker,
    request: Request<IncomingBody>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, worker.site.spec.body_bytes_max).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            return Ok(reply::refuse(&Refused::body_too_large()));
        }
    };
    let arrival = worker.next_arrival();
    worker.arrivals.push(Arrival {
        number: arrival,
        worker: worker.site.index,
        rank: None,
        at: worker.clock.now(),
        method: head.method.clone(),
        path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: head.headers.clone(),
        body: body.slice(..body.len().min(worker.site.spec.arrival_body_bytes_max)),
        body_bytes: body.len(),
    });
    let generate = |api| Incoming { api, arrival, headers: &head.headers, body: &body, breaker };
    let response = match (&head.method, head.uri.path()) {
        (&Method::POST, "/v1/chat/completions") => {
            generate::serve(&worker, generate(Api::ChatCompletions)).await
        }
        (&Method::POST, "/v1/completions") => generate::serve(&worker, generate(Api::Completions)).await,
        (&Method::POST, "/v1/responses") => generate::serve(&worker, generate(Api::Responses)).await,
        (&Method::POST, "/generate") if worker.site.spec.engine == EngineWire::Sglang => {
            generate::serve(&worker, generate(Api::SglangGenerate)).await
        }
        (&Method::GET, "/v1/models") => reply::json(StatusCode::OK, &models(&worker)),
        (&Method::GET, "/health" | "/ready" | "/ping") if worker.faults.now().unhealthy => {
            reply::empty(StatusCode::SERVICE_UNAVAILABLE)
        }
        (method, path) if path.starts_with("/v1/responses/") => worker
            .stored
            .answer(worker.site.spec.engine, method, path)
            .unwrap_or_else(|| reply::json(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"}))),
        (method, path) => {
            let answered = match worker.site.spec.engine {
                EngineWire::Vllm => vllm::answer(&worker, method, &head.uri, &body),
                EngineWire::Sglang => sglang::answer(&worker, method, path, &body),
                EngineWire::Trtllm => trtllm::answer(&worker, method, path),
                EngineWire::Dynamo if (method, path) == (&Method::GET, "/health") => {
                    Some(reply::json(StatusCode::OK, &dynamo::health([worker.instance_id()])))
                }
                EngineWire::Dynamo | EngineWire::Generic => None,
            };
            answered.unwrap_or_else(|| reply::json(StatusCode::NOT_FOUND, &json!({"detail": "Not Found"})))
        }
    };
    Ok(response)
}

/// The list of models.
pub(super) fn models(worker: &Worker) -> Value {
    let spec = &worker.site.spec;
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
        EngineWire::Dynamo => "nvidia",
        EngineWire::Vllm | EngineWire::Sglang | EngineWire::Generic => engine.name(),
    }
}
