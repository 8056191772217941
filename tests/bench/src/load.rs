//! Closed-loop load: so many connections, each with one request at a time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::ensure;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::task::JoinSet;

use crate::http1::Connection;

/// Where chats go.
pub(crate) const CHAT: &str = "/v1/chat/completions";

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Prompt {
    /// About 30 tokens, each request its own.
    Short,
    /// About 8,000 tokens, of which a sixteenth of the requests share all but the end.
    Long,
}

const LONG_TOKENS: usize = 8000;
const LONG_GROUPS: usize = 16;

impl Prompt {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Long => "8k",
        }
    }

    /// The body of request `number`.
    pub(crate) fn body(self, number: usize, streamed: bool) -> Bytes {
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
            "model": "sim", "messages": [{ "role": "user", "content": content }], "max_tokens": 1, "stream": streamed,
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
pub(crate) async fn run(
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
            let mut connection = Connection::open(address).await?;
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= requests {
                    return anyhow::Ok(());
                }
                let reply = connection.send(Method::POST, CHAT, prompt.body(number, false)).await?;
                ensure!(reply.status == StatusCode::OK, "status {}: {}", reply.status, reply.text());
            }
        });
    }
    while let Some(user) = users.join_next().await {
        user??;
    }
    Ok(())
}
