//! Takes a worker's connections.

use std::net::Ipv4Addr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::http;
use super::io::{Breaker, Connection};
use super::ports::REBIND_PAUSE;
use super::worker::Worker;

/// Serves what connects to `first`, or to its port where that is closed or was in between, on `tasks` until `cancel`.
pub(super) async fn connections(
    worker: Arc<Worker>,
    first: Option<TcpListener>,
    tasks: TaskTracker,
    cancel: CancellationToken,
) {
    let mut faults = worker.faults.watch();
    let places = Arc::new(Semaphore::new(worker.site.spec.connections_max));
    let mut listener = first;
    loop {
        if faults.borrow_and_update().refuse_connections {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, worker.ports().http)).await.ok();
            if listener.is_none() {
                tokio::time::sleep(REBIND_PAUSE).await;
                continue;
            }
        }
        let Some(open) = &listener else {
            if faults.changed().await.is_err() {
                return;
            }
            continue;
        };
        let stream = tokio::select! {
            accepted = open.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::debug!(%error, "connection not accepted");
                    tokio::time::sleep(REBIND_PAUSE).await;
                    continue;
                }
            },
            changed = faults.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        let worker = Arc::clone(&worker);
        let served = async move {
            let breaker = Breaker::default();
            let io = TokioIo::new(Connection::new(stream, breaker.clone()));
            let service =
                service_fn(move |request| http::handle(Arc::clone(&worker), breaker.clone(), request));
            if let Err(error) = http1::Builder::new().serve_connection(io, service).await {
                tracing::debug!(%error, "connection ended");
            }
            drop(place);
        };
        let cancel = cancel.clone();
        tasks.spawn(async move { cancel.run_until_cancelled(served).await });
    }
}
