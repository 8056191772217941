//! The request threads: each a runtime of one thread, with its own upstream connections and policy instances.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use super::connection;
use super::{ConnectionLimits, ListenerOptions};

/// What a request thread does with a request. Lives on its thread and is never sent.
pub trait Service: 'static {
    /// The answer's body.
    type Body: Body<Data = bytes::Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static;

    /// Answers one request that came over a listener with these options.
    fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        listener: ListenerOptions,
    ) -> impl Future<Output = Response<Self::Body>>;

    /// Called about once a second.
    fn tidy(&self);
}

struct Thread {
    connections: mpsc::Sender<(TcpStream, ListenerOptions)>,
    open: Arc<AtomicUsize>,
}

/// All request threads of the proxy.
pub struct RequestThreads {
    threads: Vec<Thread>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    connections_max: usize,
    drain: CancellationToken,
    cut: CancellationToken,
    refused: AtomicUsize,
}

/// Connections that were accepted and that their thread has not yet taken.
const HANDED_OVER_MAX: usize = 1024;

impl RequestThreads {
    /// Starts `count` threads; `make` builds each thread's service on that thread.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be made.
    pub fn start<S: Service>(
        count: usize,
        connections_max: usize,
        limits: ConnectionLimits,
        make: impl Fn(usize) -> S + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let (drain, cut) = (CancellationToken::new(), CancellationToken::new());
        let mut threads = Vec::with_capacity(count);
        let mut handles = Vec::with_capacity(count);
        for number in 0..count {
            let (connections, taken) = mpsc::channel(HANDED_OVER_MAX);
            let open = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let make = make.clone();
            let given =
                Given { taken, open: Arc::clone(&open), limits, drain: drain.clone(), cut: cut.clone() };
            handles.push(std::thread::Builder::new().name(format!("request-{number}")).spawn(move || {
                let local = LocalSet::new();
                local.block_on(&runtime, given.serve(make(number)));
            })?);
            threads.push(Thread { connections, open });
        }
        let handles = Mutex::new(handles);
        Ok(Self { threads, handles, connections_max, drain, cut, refused: AtomicUsize::new(0) })
    }

    /// Gives a connection to the thread with the fewest. Over the limit it is closed at once: a client that is told
    /// no early can go elsewhere.
    pub fn hand_over(&self, stream: TcpStream, peer: SocketAddr, options: ListenerOptions) {
        let open = self.open();
        let fewest = self.threads.iter().min_by_key(|thread| thread.open.load(Relaxed));
        let Some(thread) = fewest.filter(|_| open < self.connections_max) else {
            self.refused.fetch_add(1, Relaxed);
            return tracing::debug!(%peer, open, "connection refused: too many are open");
        };
        thread.open.fetch_add(1, Relaxed);
        if thread.connections.try_send((stream, options)).is_err() {
            thread.open.fetch_sub(1, Relaxed);
            self.refused.fetch_add(1, Relaxed);
        }
    }

    /// Open client connections.
    pub fn open(&self) -> usize {
        self.threads.iter().map(|thread| thread.open.load(Relaxed)).sum()
    }

    /// Connections that were closed unserved because too many were open.
    pub fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }

    /// Lets requests in flight end, for at most `within`, and stops the threads.
    pub async fn drain(&self, within: Duration) {
        self.drain.cancel();
        let ended = async {
            while self.open() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!(open = self.open(), "connections cut");
        }
        self.cut();
    }

    /// Stops the threads with whatever is in flight.
    pub fn cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
        for handle in self.handles.lock().drain(..) {
            if handle.join().is_err() {
                tracing::error!("a request thread panicked");
            }
        }
    }
}

/// What a thread is given to start with.
struct Given {
    taken: mpsc::Receiver<(TcpStream, ListenerOptions)>,
    open: Arc<AtomicUsize>,
    limits: ConnectionLimits,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Given {
    /// Serves until cut. What is still open dies with the thread's local set.
    async fn serve<S: Service>(mut self, service: S) {
        let service = Rc::new(service);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.cut.cancelled() => return,
                _ = second.tick() => service.tidy(),
                stream = self.taken.recv() => match stream {
                    Some((stream, options)) => self.take(stream, options, &service),
                    None => return,
                },
            }
        }
    }

    fn take<S: Service>(&self, stream: TcpStream, options: ListenerOptions, service: &Rc<S>) {
        let open = OpenConnection(Arc::clone(&self.open));
        match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => {
                let serving =
                    connection::serve(stream, self.limits, options, Rc::clone(service), self.drain.clone());
                tokio::task::spawn_local(async move {
                    let _open = open;
                    serving.await;
                });
            }
            Err(error) => tracing::warn!(%error, "client connection"),
        }
    }
}

/// Counts a connection for as long as it lives, whatever ends it.
struct OpenConnection(Arc<AtomicUsize>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
