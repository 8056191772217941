//! Small requests of the proxy's own to a worker: discovery, probes, load, token ids. One connection each, everything
//! bounded; answers to clients go through the pool instead.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// How to reach a worker.
#[derive(Clone, Debug)]
pub struct Origin {
    /// `host:port`.
    pub address: String,
    /// Sent with every request.
    pub headers: HeaderMap,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Fetched {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection.
    #[error("connect: {0}")]
    Connect(std::io::Error),
    /// The worker does not speak HTTP, or broke off.
    #[error("{0}")]
    Http(hyper::Error),
    /// It is longer than asked for, or broke off.
    #[error("body: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl FetchError {
    /// Whether nobody listens there.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(error) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }
}

/// Ends a connection's task when the exchange is over, however it ends.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Origin {
    /// GET.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn get(&self, path: &str, bytes_max: usize, within: Duration) -> Result<Fetched, FetchError> {
        self.fetch(Method::GET, path, Bytes::new(), bytes_max, within).await
    }

    /// POST of JSON.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post(
        &self,
        path: &str,
        json: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Fetched, FetchError> {
        self.fetch(Method::POST, path, json, bytes_max, within).await
    }

    /// PUT of JSON.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn put(
        &self,
        path: &str,
        json: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Fetched, FetchError> {
        self.fetch(Method::PUT, path, json, bytes_max, within).await
    }

    /// Any request.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn fetch(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Fetched, FetchError> {
        tokio::time::timeout(within, self.exchange(method, path, body, bytes_max))
            .await
            .unwrap_or(Err(FetchError::TimedOut(within)))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let stream = TcpStream::connect(self.address.as_str()).await.map_err(FetchError::Connect)?;
        stream.set_nodelay(true).map_err(FetchError::Connect)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
        // The one spawn outside a tracked set: it lives no longer than this function.
        #[expect(clippy::disallowed_methods, reason = "aborted when this function returns")]
        let _connection = Connection(tokio::spawn(connection).abort_handle());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse::<Uri>().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        if let Ok(host) = HeaderValue::from_str(&self.address) {
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = sender.send_request(request).await.map_err(FetchError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await.map_err(FetchError::Body)?;
        Ok(Fetched { status, body: body.to_bytes() })
    }
}
