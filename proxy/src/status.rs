//! The status listener: `/healthz`, `/readyz`, `/metrics`. Read only.

mod readiness;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use crate::control::{self, text};
use crate::listen::{Listener, RequestThreads};
use crate::metrics::{self, Metrics};
use crate::pool::Pools;
use crate::prompts::PromptWork;
use readiness::Findings;
pub use readiness::Readiness;

/// What a scrape reads.
pub struct Scrape {
    /// Counters.
    pub metrics: Metrics,
    /// What each rank holds and how busy it is.
    pub pools: Arc<Pools>,
    /// Connections.
    pub threads: Arc<RequestThreads>,
    /// The prompt cache.
    pub prompts: Arc<PromptWork>,
}

/// Serves until told to stop.
pub async fn serve(listener: Listener, scrape: Scrape, readiness: Arc<Readiness>, stop: CancellationToken) {
    control::serve(listener, (scrape, readiness), stop, answer).await;
}

/// `ready` or what stands in the way, and below it what is missing all the same.
fn ready(findings: &Findings) -> Response<Full<Bytes>> {
    let (status, verdict) = if findings.obstacles.is_empty() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let lines = findings.obstacles.iter().chain(&findings.remarks);
    let body = lines.fold(verdict.to_owned(), |body, line| body + "\n" + line);
    text(status, body + "\n")
}

async fn answer(state: Arc<(Scrape, Arc<Readiness>)>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (scrape, readiness) = &*state;
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET is the method of this path\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => ready(&readiness.findings()),
        "/metrics" => match metrics::render(&scrape.metrics, &scrape.pools, &scrape.threads, &scrape.prompts)
        {
            Ok(page) => {
                let mut response = text(StatusCode::OK, page);
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(error) => {
                tracing::error!(%error, "metrics page");
                text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n")
            }
        },
        _ => text(StatusCode::NOT_FOUND, "here are /healthz, /readyz and /metrics\n"),
    }
}
