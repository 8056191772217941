//! A worker's process: the sockets of a worker that was started, and the tasks behind them.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept;
use super::rank_sockets::RankSockets;
use super::worker::Worker;
use crate::EngineWire;
use crate::error::SimError;

/// A worker that can be started and stopped.
pub(super) struct Process {
    pub(super) worker: Arc<Worker>,
    fleet: CancellationToken,
    running: Mutex<Option<Running>>,
    /// Whether it runs, for the frontend that it is behind.
    is_up: AtomicBool,
}

/// The sockets of a started worker and the tasks behind them.
struct Running {
    cancel: CancellationToken,
    tasks: TaskTracker,
}

impl Process {
    /// Nothing runs yet. Ends with `fleet` at the latest.
    pub(super) fn new(worker: Worker, fleet: CancellationToken) -> Self {
        Self { worker: Arc::new(worker), fleet, running: Mutex::default(), is_up: AtomicBool::new(false) }
    }

    /// Opens the sockets; nothing if they are open. A second start takes the same ports.
    pub(super) async fn start(&self) -> Result<(), SimError> {
        let mut running = self.running.lock().await;
        if running.is_some() {
            return Ok(());
        }
        let started = Running { cancel: self.fleet.child_token(), tasks: TaskTracker::new() };
        let worker = &self.worker;
        let spec = &worker.site.spec;
        let what = format!("worker {}", worker.site.index);
        let mut ports = worker.ports();
        let http = match spec.has_frontend() {
            true => None,
            false => Some(ports.listen_http(&what).await?),
        };
        if matches!(spec.engine, EngineWire::Sglang | EngineWire::Trtllm) {
            // Their caches are made by clearing them, which the first batch tells.
            worker.clear_caches();
        }
        if spec.publishes() {
            let listeners = ports.listen_events(spec.engine, &what).await?;
            for (rank, listeners) in listeners.into_iter().enumerate() {
                started.spawn(RankSockets::open(worker, rank, listeners).await?.keep());
            }
        }
        worker.set_ports(ports);
        if let Some(http) = http {
            let http = asynchronous(http, &what)?;
            let (tasks, cancel) = (started.tasks.clone(), started.cancel.clone());
            // Nobody listens until the model is loaded.
            let loading = worker.faults.now().slow_start;
            let (worker, first) = (Arc::clone(worker), loading.is_none().then_some(http));
            started.spawn(async move {
                if let Some(loading) = loading {
                    tokio::time::sleep(loading).await;
                }
                accept::connections(worker, first, tasks, cancel).await;
            });
        }
        self.is_up.store(true, Relaxed);
        *running = Some(started);
        Ok(())
    }

    /// Whether it runs.
    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Relaxed)
    }

    /// The process ends: connections break, sequences and caches are lost, sequence numbers begin anew.
    pub(super) async fn stop(&self) {
        let Some(running) = self.running.lock().await.take() else { return };
        self.is_up.store(false, Relaxed);
        running.cancel.cancel();
        running.tasks.close();
        running.tasks.wait().await;
        self.worker.lose_everything();
    }
}

/// A listener for this runtime.
pub(super) fn asynchronous(listener: std::net::TcpListener, what: &str) -> Result<TcpListener, SimError> {
    let failed = |source| SimError::Io { what: format!("{what}: listen"), source };
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}

impl Running {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move { cancel.run_until_cancelled(task).await });
    }
}
