//! The status listener: `/healthz`, `/readyz`, `/metrics`. Read only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use rankwise_core::target::Availability;
use tokio_util::sync::CancellationToken;

use crate::control::{self, text};
use crate::discovery::Roster;
use crate::listen::{Listener, RequestThreads};
use crate::metrics::{self, Metrics};
use crate::pool::{Pool, Pools};
use crate::prompts::PromptMode;

/// Whether the proxy should be sent traffic.
pub struct Readiness {
    rosters: Arc<Vec<(Arc<Pool>, Roster)>>,
    draining: AtomicBool,
}

impl Readiness {
    /// Of these pools.
    pub fn new(rosters: Arc<Vec<(Arc<Pool>, Roster)>>) -> Self {
        Self { rosters, draining: AtomicBool::new(false) }
    }

    /// Not ready any more, for good.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Why not; empty when it is.
    fn obstacles(&self) -> Vec<String> {
        if self.draining.load(Relaxed) {
            return vec!["draining".to_owned()];
        }
        let mut obstacles = Vec::new();
        for (pool, _) in self.rosters.iter() {
            let ready = |target: &Arc<_>| availability(target) == Availability::Ready;
            if !pool.state.targets().iter().any(ready) {
                obstacles.push(format!("pool {}: no dp rank is available", pool.name));
            } else if pool.policies.needs_prompt()
                && let PromptMode::None { reason, undecided: true } = &*pool.prompts.mode()
            {
                obstacles.push(format!("pool {}: prompts are not read yet: {reason}", pool.name));
            }
        }
        obstacles
    }
}

fn availability(target: &rankwise_core::target::Target) -> Availability {
    target.health.availability()
}

/// What a scrape reads.
pub struct Scrape {
    /// Counters.
    pub metrics: Metrics,
    /// What each rank holds and how busy it is.
    pub pools: Arc<Pools>,
    /// Connections.
    pub threads: Arc<RequestThreads>,
}

/// Serves until told to stop.
pub async fn serve(listener: Listener, scrape: Scrape, readiness: Arc<Readiness>, stop: CancellationToken) {
    control::serve(listener, (scrape, readiness), stop, answer).await;
}

async fn answer(state: Arc<(Scrape, Arc<Readiness>)>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (scrape, readiness) = &*state;
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET is the method of this path\n");
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => {
            let obstacles = readiness.obstacles();
            if obstacles.is_empty() {
                text(StatusCode::OK, "ready\n")
            } else {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", obstacles.join("\n")))
            }
        }
        "/metrics" => match metrics::render(&scrape.metrics, &scrape.pools, &scrape.threads) {
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
