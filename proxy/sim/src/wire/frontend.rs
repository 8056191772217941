//! Dynamo's frontend in direct mode, in front of all workers: it lists those that run, and hands each request to the one that its
//! header names.

use std::convert::Infallible;
use std::sync::Arc;

use ::http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dynamo;
use super::http;
use super::io::{Breaker, Connection};
use super::named_rank::named_worker;
use super::ports::{Ports, REBIND_PAUSE};
use super::process::{Process, asynchronous};
use super::refusal::Refused;
use super::reply::{self, Body};
use crate::error::SimError;
use crate::spec::FleetSpec;

/// Those behind it.
type Processes = Arc<[Arc<Process>]>;

/// Listens where the first worker would, and serves until `cancel`.
pub(super) async fn start(
    spec: &FleetSpec,
    processes: Processes,
    tasks: &TaskTracker,
    cancel: CancellationToken,
) -> Result<(), SimError> {
    const WHAT: &str = "frontend";
    let mut ports = Ports::of(spec, 0);
    let listener = asynchronous(ports.listen_http(WHAT).await?, WHAT)?;
    for process in &*processes {
        // They have none of their own: this is where each is reached.
        let own = Ports { http: ports.http, ..process.worker.ports() };
        process.worker.set_ports(own);
    }
    let (of_connections, places) = (tasks.clone(), Arc::new(Semaphore::new(spec.connections_max)));
    tasks.spawn(async move {
        let accepted = connections(listener, processes, places, of_connections, cancel.clone());
        cancel.run_until_cancelled(accepted).await
    });
    Ok(())
}

async fn connections(
    listener: TcpListener,
    processes: Processes,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(REBIND_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (processes, cancel) = (Arc::clone(&processes), cancel.clone());
        tasks.spawn(async move {
            cancel.run_until_cancelled(serve(stream, processes)).await;
            drop(place);
        });
    }
}

async fn serve(stream: TcpStream, processes: Processes) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let breaker = Breaker::default();
    let io = TokioIo::new(Connection::new(stream, breaker.clone()));
    let service = service_fn(move |request| answer(Arc::clone(&processes), breaker.clone(), request));
    if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn answer(
    processes: Processes,
    breaker: Breaker,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let up = || processes.iter().filter(|process| process.is_up()).map(|process| &process.worker);
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/health") => {
            return Ok(reply::json(StatusCode::OK, &dynamo::health(up().map(|worker| worker.instance_id()))));
        }
        (&Method::GET, "/v1/models") => {
            let models = up()
                .next()
                .map_or_else(|| json!({"object": "list", "data": []}), |worker| http::models(worker));
            return Ok(reply::json(StatusCode::OK, &models));
        }
        _ => {}
    }
    let named = named_worker(request.headers());
    match up().find(|worker| named == Some(worker.instance_id())) {
        Some(worker) => http::handle(Arc::clone(worker), breaker, request).await,
        None => Ok(reply::refuse(&Refused::body("Invalid request"))),
    }
}
