//! A plain HTTP/1.1 client, one connection a request unless told otherwise.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Nothing a test waits for takes this long unless it hangs.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Talks to one address.
#[derive(Clone, Copy, Debug)]
pub struct Client(SocketAddr);

/// An answer, whole.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// As far as it came.
    pub body: Bytes,
    /// Whether it ended as HTTP says it should.
    pub complete: bool,
}

impl Reply {
    /// What has begun, to its end.
    pub async fn of(response: Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let (body, complete) = rest(&mut incoming).await;
        Self { status: head.status, headers: head.headers, body: body.into(), complete }
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A header as a number.
    pub fn number(&self, name: &str) -> u32 {
        self.header(name).parse().unwrap_or_else(|_| panic!("{name} is no number: {:?}", self.header(name)))
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON: {error}: {:?}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `data:` lines of an event stream.
    pub fn events(&self) -> Vec<String> {
        self.text().lines().filter_map(|line| line.strip_prefix("data: ").map(str::to_owned)).collect()
    }

    /// The usage of a plain or streamed answer.
    pub fn usage(&self) -> Value {
        if self.header("content-type").starts_with("text/event-stream") {
            let events = self.events();
            let with_usage =
                events.iter().rev().filter_map(|event| serde_json::from_str::<Value>(event).ok());
            return with_usage
                .map(|event| event["usage"].clone())
                .find(|usage| !usage.is_null())
                .unwrap_or_default();
        }
        self.json()["usage"].clone()
    }

    /// Tokens that the proxy expected to be cached; 0 where it promises nothing.
    pub fn promised_tokens(&self) -> u64 {
        const PROMISE: &str = "x-rankwise-expected-cached-tokens";
        if self.headers.contains_key(PROMISE) { self.number(PROMISE).into() } else { 0 }
    }

    /// `usage.prompt_tokens_details.cached_tokens`.
    pub fn cached_tokens(&self) -> u64 {
        self.usage()["prompt_tokens_details"]["cached_tokens"].as_u64().expect("cached_tokens in the usage")
    }
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Whom it talks to.
    pub fn address(&self) -> SocketAddr {
        self.0
    }

    /// POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, &[], body.to_string()).await
    }

    /// POST to /v1/chat/completions.
    pub async fn chat(&self, body: &Value) -> Reply {
        self.post("/v1/chat/completions", body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await
    }

    /// Any request, with headers; the answer whole.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let whole = async { Reply::of(self.open(method, path, headers, body).await).await };
        timeout(ANSWER_TIMEOUT, whole).await.expect("an answer in time")
    }

    /// Any request; the answer as it comes. Dropping it closes the connection.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.0).await.expect("a connection to the proxy");
        stream.set_nodelay(true).expect("nodelay");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
        #[expect(clippy::disallowed_methods, reason = "ends with its sender")]
        tokio::spawn(connection);
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("localhost"));
        for (name, value) in headers {
            request.headers_mut().append(
                name.parse::<header::HeaderName>().expect("a header name"),
                value.parse().expect("a header value"),
            );
        }
        let mut response = sender.send_request(request).await.expect("an answer");
        // The connection lives as long as its sender: let that be as long as the answer.
        response.extensions_mut().insert(Arc::new(sender));
        response
    }

    /// These bytes on a connection of their own; what comes back until the proxy closes it.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(self.0).await.expect("a connection to the proxy");
            stream.write_all(bytes.as_ref()).await.expect("the proxy reads");
            let mut answer = Vec::new();
            let mut piece = [0; 4096];
            // A reset ends it as well as a close.
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                answer.extend_from_slice(&piece[..read]);
            }
            String::from_utf8_lossy(&answer).into_owned()
        };
        timeout(ANSWER_TIMEOUT, exchange).await.expect("the proxy to close the connection")
    }
}

/// What is left of a body, as far as it comes, and whether it ends as HTTP says it should.
pub async fn rest(body: &mut Incoming) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}
