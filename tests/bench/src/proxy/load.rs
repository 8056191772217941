//! Closed-loop load: so many connections, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::bail;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prompt {
    /// About 30 tokens, each request its own.
    Short,
    /// About 8,000 tokens, of which a sixteenth of the requests share all but the end.
    Long,
}

const LONG_TOKENS: usize = 8000;
const LONG_GROUPS: usize = 16;

impl Prompt {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "8k",
        }
    }

    fn body(self, number: usize) -> Bytes {
        let content = match self {
            Self::Short => format!("Question {number}: what is the capital of the country in question?"),
            Self::Long => {
                let mut random = fastrand::Rng::with_seed((number % LONG_GROUPS) as u64);
                let mut text = String::with_capacity(LONG_TOKENS * 4);
                while text.len() < LONG_TOKENS * 3 {
                    text.push_str(WORDS[random.usize(..WORDS.len())]);
                }
                text.push_str(&format!("Question {number}."));
                text
            }
        };
        let body = json!({
            "model": "sim", "messages": [{ "role": "user", "content": content }], "max_tokens": 1,
        });
        Bytes::from(body.to_string())
    }
}

const WORDS: [&str; 8] = [
    "the request ",
    "a block of ",
    "which engine ",
    "number one ",
    "in the cache ",
    "of that ",
    "prefix and ",
    "so ",
];

/// Sends `requests` and waits for every answer.
pub(super) async fn run(
    address: SocketAddr,
    prompt: Prompt,
    requests: usize,
    connections: usize,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut users = JoinSet::new();
    for _ in 0..connections {
        let next = Arc::clone(&next);
        users.spawn(async move {
            let (mut sender, connection) = http1::handshake(TokioIo::new(open(address).await?)).await?;
            let asking = async {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= requests {
                        return anyhow::Ok(());
                    }
                    sender.ready().await?;
                    let mut request = Request::new(Full::new(prompt.body(number)));
                    *request.method_mut() = Method::POST;
                    *request.uri_mut() = "/v1/chat/completions".parse()?;
                    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("bench"));
                    let response = sender.send_request(request).await?;
                    let status = response.status();
                    let body = response.into_body().collect().await?.to_bytes();
                    if status != StatusCode::OK {
                        bail!("status {status}: {}", String::from_utf8_lossy(&body));
                    }
                }
            };
            tokio::select! {
                done = asking => done,
                ended = connection => Err(ended.err().map_or_else(|| anyhow::anyhow!("closed"), Into::into)),
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user??;
    }
    Ok(())
}

/// The status of a GET.
pub(super) async fn get(address: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let (mut sender, connection) =
        http1::handshake::<_, Full<Bytes>>(TokioIo::new(open(address).await?)).await?;
    let mut request = Request::new(Full::default());
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("bench"));
    tokio::select! {
        response = sender.send_request(request) => Ok(response?.status()),
        ended = connection => Err(ended.err().map_or_else(|| anyhow::anyhow!("closed"), Into::into)),
    }
}

async fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
