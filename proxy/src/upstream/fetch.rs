//! Small requests of the proxy's own to a worker: discovery, probes, load, token ids. One connection each, but for what asks
//! all the time; everything bounded; answers to clients go through the pool instead.

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
    /// For the TCP connection, within what the whole may take.
    pub connect_timeout: Duration,
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
        self.connect().await?.send(self, method, path, body, bytes_max).await
    }

    async fn connect(&self) -> Result<Open, FetchError> {
        let stream = tokio::time::timeout(self.connect_timeout, TcpStream::connect(self.address.as_str()))
            .await
            .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
            .map_err(FetchError::Connect)?;
        stream.set_nodelay(true).map_err(FetchError::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(FetchError::Http)?;
        // The one spawn outside a tracked set: it lives no longer than what is returned.
        #[expect(clippy::disallowed_methods, reason = "aborted when the connection is dropped")]
        let connection = Connection(tokio::spawn(connection).abort_handle());
        Ok(Open { sender, _connection: connection })
    }
}

/// An open connection.
struct Open {
    sender: http1::SendRequest<Full<Bytes>>,
    _connection: Connection,
}

impl Open {
    async fn send(
        &mut self,
        origin: &Origin,
        method: Method,
        path: &str,
        body: Bytes,
        bytes_max: usize,
    ) -> Result<Fetched, FetchError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse::<Uri>().unwrap_or_default();
        *request.headers_mut() = origin.headers.clone();
        if let Ok(host) = HeaderValue::from_str(&origin.address) {
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let response = self.sender.send_request(request).await.map_err(FetchError::Http)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await.map_err(FetchError::Body)?;
        Ok(Fetched { status, body: body.to_bytes() })
    }
}

/// An origin that is asked again and again, over one connection for as long as it lives.
pub struct KeptOrigin {
    origin: Origin,
    open: Option<Open>,
}

impl KeptOrigin {
    /// Not connected yet.
    pub fn new(origin: Origin) -> Self {
        Self { origin, open: None }
    }

    /// POST of JSON. After a failure, and when this is dropped before it ends, the next one connects anew.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post(
        &mut self,
        path: &str,
        json: Bytes,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Fetched, FetchError> {
        let exchange = async {
            // Taken out: what is not put back is closed.
            let mut open = self.open.take();
            if let Some(kept) = &mut open
                && kept.sender.ready().await.is_err()
            {
                open = None;
            }
            let mut open = match open {
                Some(open) => open,
                None => self.origin.connect().await?,
            };
            let answer = open.send(&self.origin, Method::POST, path, json, bytes_max).await?;
            self.open = Some(open);
            Ok(answer)
        };
        tokio::time::timeout(within, exchange).await.unwrap_or(Err(FetchError::TimedOut(within)))
    }
}

#[cfg(test)]
mod tests;
