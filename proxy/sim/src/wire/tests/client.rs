use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::PATIENCE;
use crate::WorkerHandle;

/// An answer, read to its end or to where it broke.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) broken: bool,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The data of its events.
    pub(super) fn events(&self) -> Vec<&str> {
        self.text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect()
    }
}

pub(super) async fn send(
    worker: &WorkerHandle,
    path: &str,
    headers: &[(&str, &[u8])],
    body: Option<&Value>,
) -> hyper::Result<http::Response<Incoming>> {
    let address = worker.url().strip_prefix("http://").unwrap().to_owned();
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let mut request = Request::builder().uri(path).header("host", &address);
    request = request.method(if body.is_some() { "POST" } else { "GET" });
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    // The connection lives as long as the answer is read.
    #[expect(clippy::disallowed_methods, reason = "ends with its test's runtime")]
    tokio::spawn(connection);
    sender.send_request(request).await
}

pub(super) async fn ask(
    worker: &WorkerHandle,
    path: &str,
    headers: &[(&str, &[u8])],
    body: Option<&Value>,
) -> Answer {
    let asking = async {
        let response = send(worker, path, headers, body).await.unwrap();
        let (head, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let mut broken = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend(frame.into_data().unwrap_or_default()),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Answer { status: head.status, headers: head.headers, text: String::from_utf8(bytes).unwrap(), broken }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("answered in time")
}

pub(super) async fn post(worker: &WorkerHandle, path: &str, body: Value) -> Answer {
    ask(worker, path, &[], Some(&body)).await
}

pub(super) async fn get(worker: &WorkerHandle, path: &str) -> Answer {
    ask(worker, path, &[], None).await
}

pub(super) async fn complete(worker: &WorkerHandle, rank: usize, prompt: &[u32], max_tokens: u32) -> Answer {
    let body = serde_json::json!({"model": "sim", "prompt": prompt, "max_tokens": max_tokens});
    ask(worker, "/v1/completions", &[("x-data-parallel-rank", rank.to_string().as_bytes())], Some(&body))
        .await
}
