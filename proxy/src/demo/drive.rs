//! The demo's users: so many at a time, each waiting for its answer before it goes on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::conversations::{Conversation, Conversations};

/// Users at the same time.
const USERS: usize = 16;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// Has all conversations, and says now and then how many turns are done.
pub(super) async fn all(
    address: SocketAddr,
    conversations: &Conversations,
    mut progress: impl FnMut(usize),
) -> anyhow::Result<()> {
    let done = AtomicUsize::new(0);
    let mut connections = JoinSet::new();
    let mut users = Vec::new();
    for _ in 0..USERS {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        connections.spawn(connection);
        users.push(user(sender, conversations, &done));
    }
    let mut users = std::pin::pin!(try_join_all(users));
    let mut tick = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            ended = users.as_mut() => {
                ended?;
                progress(done.load(Relaxed));
                return Ok(());
            }
            _ = tick.tick() => progress(done.load(Relaxed)),
        }
    }
}

async fn user(
    mut sender: SendRequest<Full<Bytes>>,
    conversations: &Conversations,
    done: &AtomicUsize,
) -> anyhow::Result<()> {
    while let Some(mut conversation) = conversations.take() {
        tokio::time::timeout(ANSWER_TIMEOUT, turn(&mut sender, &mut conversation))
            .await
            .context("no answer in time")??;
        conversations.put_back(conversation);
        done.fetch_add(1, Relaxed);
    }
    Ok(())
}

async fn turn(sender: &mut SendRequest<Full<Bytes>>, conversation: &mut Conversation) -> anyhow::Result<()> {
    sender.ready().await?;
    let mut request = Request::new(Full::new(Bytes::from(conversation.ask())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/v1/chat/completions".parse()?;
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("demo"));
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        bail!("status {status}: {}", String::from_utf8_lossy(&body));
    }
    conversation.answered(&said(&body));
    Ok(())
}

/// The text of a streamed answer.
fn said(stream: &[u8]) -> String {
    let mut text = String::new();
    for line in stream.split(|byte| *byte == b'\n') {
        let Some(data) = line.strip_prefix(b"data: ") else { continue };
        let Ok(event) = serde_json::from_slice::<Value>(data) else { continue };
        if let Some(piece) = event["choices"][0]["delta"]["content"].as_str() {
            text.push_str(piece);
        }
    }
    text
}
