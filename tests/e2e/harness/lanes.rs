//! Many requests over a few connections that stay open: load as a real client makes it, bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rankwise_sim::{Fleet, Micros};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Proxy, Reply, requests};

/// Less than an engine takes for a step.
const STEP: Micros = Micros(1000);

type Lane = SendRequest<Full<Bytes>>;

/// As [`all_at_once`], and simulated time stands while the proxy has anything to do: as if it took no time beside the engines,
/// however slow this machine is. The proxy must have one request thread.
pub async fn all_in_step(
    fleet: &Fleet,
    proxy: &Proxy,
    path: &str,
    bodies: Vec<Value>,
    connections: usize,
) -> Vec<Reply> {
    let came = || requests(fleet).iter().sum::<u64>();
    let sent = Arc::new(AtomicU64::new(came()));
    fleet.hold();
    let keep_step = async {
        loop {
            while came() < sent.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // What it answers now, it answers after what it was told before: answers by the request thread, events by the other.
            proxy.client.get("/v1/models").await;
            proxy.status.get("/readyz").await;
            let until = Micros(fleet.now().0 + STEP.0);
            fleet.advance(STEP);
            while fleet.now() < until {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    let replies = tokio::select! {
        replies = post_all(proxy, path, bodies, connections, &sent) => replies,
        () = keep_step => unreachable!("a loop without end"),
    };
    fleet.release();
    replies
}

/// POSTs every body to `path`, in this order, over so many connections; they are all open before the first request goes out.
/// The replies come in the order of the bodies.
pub async fn all_at_once(proxy: &Proxy, path: &str, bodies: Vec<Value>, connections: usize) -> Vec<Reply> {
    post_all(proxy, path, bodies, connections, &Arc::default()).await
}

/// Counts in `sent` what it sends.
async fn post_all(
    proxy: &Proxy,
    path: &str,
    bodies: Vec<Value>,
    connections: usize,
    sent: &Arc<AtomicU64>,
) -> Vec<Reply> {
    let queue: Arc<Mutex<VecDeque<(usize, Value)>>> =
        Arc::new(Mutex::new(bodies.into_iter().enumerate().collect()));
    let barrier = Arc::new(Barrier::new(connections));
    let mut lanes = JoinSet::new();
    for _ in 0..connections {
        let (queue, barrier, sent) = (Arc::clone(&queue), Arc::clone(&barrier), Arc::clone(sent));
        let (path, address) = (path.to_owned(), proxy.address);
        lanes.spawn(async move {
            let mut lane = open(address).await;
            barrier.wait().await;
            let mut replies = Vec::new();
            while let Some((number, body)) = { queue.lock().expect("not poisoned").pop_front() } {
                sent.fetch_add(1, Ordering::Relaxed);
                let answer = post(&mut lane, &path, &body);
                replies.push((
                    number,
                    timeout(super::client::ANSWER_TIMEOUT, answer).await.expect("an answer in time"),
                ));
            }
            replies
        });
    }
    let mut replies: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    replies.sort_by_key(|(number, _)| *number);
    replies.into_iter().map(|(_, reply)| reply).collect()
}

async fn open(address: std::net::SocketAddr) -> Lane {
    let stream = TcpStream::connect(address).await.expect("a connection to the proxy");
    stream.set_nodelay(true).expect("nodelay");
    let (lane, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    #[expect(clippy::disallowed_methods, reason = "ends with its lane")]
    tokio::spawn(connection);
    lane
}

async fn post(lane: &mut Lane, path: &str, body: &Value) -> Reply {
    lane.ready().await.expect("an open connection");
    let mut request = Request::post(path).body(Full::new(Bytes::from(body.to_string()))).expect("a request");
    request.headers_mut().insert(header::HOST, HeaderValue::from_static("localhost"));
    let (head, body) = lane.send_request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Reply { status: head.status, headers: head.headers, body, complete: true }
}
