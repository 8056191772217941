//! The pool of one request thread.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rankwise_core::ids::WorkerId;
use rustc_hash::FxHashMap;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::UpstreamBody;
use super::line::{Line, LineEnd};
use crate::workers::Worker;

/// How long a worker may take.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamTimes {
    /// For the TCP connection.
    pub connect: Duration,
    /// An idle connection is dropped after this, before the engine drops it itself.
    pub idle: Duration,
}

/// What one request may take.
#[derive(Clone, Copy, Debug)]
pub struct SendLimits {
    /// For the head of the answer, once the request is written.
    pub first_byte: Duration,
    /// Open connections to its worker, over all threads.
    pub connections_max: usize,
}

/// Why a request did not get an answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection; nothing was sent.
    #[error("connect: {0}")]
    Connect(std::io::Error),
    /// The worker has as many connections as it may have.
    #[error("{0} connections are open already")]
    Full(usize),
    /// The connection handed the request back; nothing was sent.
    #[error("connection closed before the request was written")]
    Unsent,
    /// Something may have been written.
    #[error("{0}")]
    Broken(hyper::Error),
    /// No head of an answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl SendError {
    /// Whether the request certainly never reached an engine, so that sending it elsewhere runs it once.
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Full(_) | Self::Unsent)
    }
}

struct Connection {
    sender: SendRequest<UpstreamBody>,
    line: Line,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Idle connections by worker. Bounded per worker; the freshest is used first.
pub struct UpstreamPool {
    idle: RefCell<FxHashMap<WorkerId, VecDeque<Idle>>>,
    idle_per_worker_max: usize,
    times: UpstreamTimes,
}

/// A connection in use: goes back to the pool when its answer has been read to the end, is closed otherwise.
pub struct Checkout {
    connection: Connection,
    worker: WorkerId,
    pool: Rc<UpstreamPool>,
}

impl UpstreamPool {
    /// A pool that keeps at most so many idle connections per worker.
    pub fn new(idle_per_worker_max: usize, times: UpstreamTimes) -> Rc<Self> {
        Rc::new(Self { idle: RefCell::default(), idle_per_worker_max, times })
    }

    /// Sends one request and waits for the head of the answer.
    ///
    /// # Errors
    /// [`SendError::is_unsent`] tells whether the request may be decided again.
    pub async fn send(
        self: &Rc<Self>,
        worker: &Arc<Worker>,
        mut request: Request<UpstreamBody>,
        limits: SendLimits,
    ) -> Result<(Response<Incoming>, Checkout), SendError> {
        // An idle connection may have been closed under us: nothing is written to one of which that can be seen. What
        // one hands back unwritten goes on the next one, and at last on a fresh one, whose failure is the worker's.
        while let Some(mut connection) = self.take_idle(worker.id) {
            if connection.sender.ready().await.is_err() || !connection.line.is_quiet() {
                continue;
            }
            match exchange(&mut connection.sender, request, limits.first_byte).await {
                Ok(response) => return Ok((response, self.checkout(connection, worker.id))),
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(error),
            }
        }
        let mut connection = self.connect(worker, limits.connections_max).await?;
        match exchange(&mut connection.sender, request, limits.first_byte).await {
            Ok(response) => Ok((response, self.checkout(connection, worker.id))),
            Err((error, _)) => Err(error),
        }
    }

    async fn connect(&self, worker: &Worker, max: usize) -> Result<Connection, SendError> {
        let open = worker.open_connection(max).ok_or(SendError::Full(max))?;
        let stream = timeout(self.times.connect, TcpStream::connect(worker.address.as_str()))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(SendError::Connect)?;
        stream.set_nodelay(true).map_err(SendError::Connect)?;
        let (end, line) = LineEnd::new(stream);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(end))
            .await
            .map_err(|_| SendError::Unsent)?;
        // Ends by itself when its sender is dropped; the thread's local set is dropped at shutdown.
        tokio::task::spawn_local(async move {
            let _open = open;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection");
            }
        });
        Ok(Connection { sender, line })
    }

    fn checkout(self: &Rc<Self>, connection: Connection, worker: WorkerId) -> Checkout {
        Checkout { connection, worker, pool: Rc::clone(self) }
    }

    fn take_idle(&self, worker: WorkerId) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&worker)?;
        while let Some(idle) = connections.pop_back() {
            if idle.is_fresh(self.times.idle) {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Drops what has idled too long, and the shelves of workers that are gone. Called now and then by the thread.
    pub fn sweep(&self, known: impl Fn(WorkerId) -> bool) {
        self.idle.borrow_mut().retain(|worker, connections| {
            connections.retain(|idle| idle.is_fresh(self.times.idle));
            !connections.is_empty() && known(*worker)
        });
    }
}

impl Idle {
    fn is_fresh(&self, idle_max: Duration) -> bool {
        !self.connection.sender.is_closed() && self.since.elapsed() < idle_max
    }
}

impl Checkout {
    /// Puts the connection back: its answer has been read to the end.
    pub fn give_back(self) {
        if self.connection.sender.is_closed() {
            return;
        }
        let mut idle = self.pool.idle.borrow_mut();
        let connections = idle.entry(self.worker).or_default();
        if connections.len() == self.pool.idle_per_worker_max {
            connections.pop_front();
        }
        connections.push_back(Idle { connection: self.connection, since: Instant::now() });
    }
}

async fn exchange(
    sender: &mut SendRequest<UpstreamBody>,
    request: Request<UpstreamBody>,
    within: Duration,
) -> Result<Response<Incoming>, (SendError, Option<Request<UpstreamBody>>)> {
    match timeout(within, sender.try_send_request(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(mut error)) => match error.take_message() {
            Some(request) => Err((SendError::Unsent, Some(request))),
            None => Err((SendError::Broken(error.into_error()), None)),
        },
        Err(_) => Err((SendError::TimedOut(within), None)),
    }
}
