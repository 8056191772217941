//! One client connection: told apart by its first bytes, served as h1 or h2.

use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{ListenerOptions, Service};

/// Bounds of a client connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Largest request head that is to be answered in words, bytes.
    pub head_bytes_max: usize,
    /// Most header lines of such a request.
    pub headers_max: usize,
    /// For a whole head, from its first byte or from the end of the request before.
    pub head_timeout: Duration,
    /// Most concurrent h2 streams of one connection.
    pub streams_max: u32,
}

impl ConnectionLimits {
    /// Bytes of a head that are read, the same again on top: what lies between is refused by the service, in the API's words,
    /// and the rest by the connection, which knows none.
    fn head_bytes_read_max(&self) -> usize {
        // hyper wants room for a piece of a body in any case.
        self.head_bytes_max.saturating_mul(2).max(8192)
    }

    /// Header lines that are read.
    fn headers_read_max(&self) -> usize {
        self.headers_max.saturating_add(32)
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge.
    Http2,
}

/// Every h2 connection starts with this; no h1 method is called PRI.
const HTTP2_PREFACE_START: &[u8] = b"PRI ";

/// Tells h2 from h1 by the first bytes, without taking them.
async fn sniff(stream: &TcpStream) -> io::Result<Option<Protocol>> {
    let mut first = [0; HTTP2_PREFACE_START.len()];
    loop {
        let seen = stream.peek(&mut first).await?;
        if seen == 0 {
            return Ok(None);
        }
        if first[..seen] != HTTP2_PREFACE_START[..seen] {
            return Ok(Some(Protocol::Http1));
        }
        if seen == first.len() {
            return Ok(Some(Protocol::Http2));
        }
        // Bytes that were peeked stay readable: give the rest a moment instead of spinning.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Serves a connection until it ends. `drain` lets requests in flight end and takes no new ones.
pub(super) async fn serve<S: Service>(
    stream: TcpStream,
    limits: ConnectionLimits,
    options: ListenerOptions,
    service: Rc<S>,
    drain: CancellationToken,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "client connection");
        return;
    }
    let protocol = tokio::select! {
        () = drain.cancelled() => return,
        sniffed = timeout(limits.head_timeout, sniff(&stream)) => match sniffed {
            Ok(Ok(Some(protocol))) => protocol,
            Ok(Ok(None)) | Err(_) => return,
            Ok(Err(error)) => return tracing::debug!(%error, "client connection"),
        },
    };
    let io = TokioIo::new(stream);
    let service = service_fn(move |request| {
        let service = Rc::clone(&service);
        async move { Ok::<_, std::convert::Infallible>(service.handle(request, options).await) }
    });
    let served = match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head_timeout)
                .max_buf_size(limits.head_bytes_read_max())
                .max_headers(limits.headers_read_max())
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                served = connection.as_mut() => served,
                () = drain.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(LocalExecutor)
                .timer(TokioTimer::new())
                .max_header_list_size(u32::try_from(limits.head_bytes_read_max()).unwrap_or(u32::MAX))
                .max_concurrent_streams(limits.streams_max)
                .keep_alive_interval(Duration::from_secs(30))
                .serve_connection(io, service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                served = connection.as_mut() => served,
                () = drain.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "client connection");
    }
}

/// Runs a connection's h2 streams on its own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, stream: F) {
        tokio::task::spawn_local(stream);
    }
}
