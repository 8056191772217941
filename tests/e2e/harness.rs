//! What the tests stand on: a fleet in this process, the proxy in its own.

mod client;
mod gate;
mod guest;
mod health;
mod lanes;
mod metrics;
#[path = "../../proxy/policy-host/tests/policies/text.rs"]
#[expect(dead_code, reason = "shared with the tests of the policy host")]
pub mod policy_text;
mod promises;
mod proxy;
mod publisher;
mod raw_engine;
mod wait;
mod wire;

pub use client::{Client, Reply, rest};
pub use gate::Gate;
pub use guest::decide_by;
pub use health::{UNWATCHED, all_in, failures, is_whole, out, two_workers};
pub use lanes::{all_at_once, all_in_step};
pub use metrics::metric;
pub use promises::{ask, exact};
pub use proxy::{Proxy, config_file};
pub use publisher::{Merger, Publisher};
pub use raw_engine::RawEngine;
pub use wait::wait_until;
pub use wire::Wire;

use std::net::SocketAddr;

use rankwise_sim::{Arrival, Fleet, FleetSpec};
use serde_json::{Value, json};

/// The bit of a rank's `condition` that says that its index cannot be relied on.
pub const UNTRUSTED: u64 = 1 << 1;

/// A fleet whose engines take no time to speak of.
pub fn fast() -> FleetSpec {
    FleetSpec { speed: 1000.0, ..FleetSpec::default() }
}

/// Starts a fleet.
pub async fn fleet(spec: FleetSpec) -> Fleet {
    Fleet::start(spec).await.expect("a fleet on free ports")
}

/// Requests that came to each rank, worker by worker.
pub fn requests(fleet: &Fleet) -> Vec<u64> {
    fleet.workers().iter().flat_map(|worker| worker.stats()).map(|stats| stats.requests).collect()
}

/// Has a worker refuse connections, and waits until it does: one that is taken in the meantime is reset, which is
/// another story.
pub async fn refuse_connections(worker: &rankwise_sim::WorkerHandle) {
    worker.fault(rankwise_sim::Fault::RefuseConnections);
    let url = worker.url();
    let address = url.trim_start_matches("http://");
    wait_until("the port to be closed", async || tokio::net::TcpStream::connect(address).await.is_err())
        .await;
}

/// `--worker URL,engine=NAME` for each worker of a fleet, named w0, w1 and so on.
pub fn worker_flags(fleet: &Fleet) -> Vec<String> {
    let flag = |(number, worker): (usize, &rankwise_sim::WorkerHandle)| {
        ["--worker".to_owned(), format!("{},engine={},name=w{number}", worker.url(), worker.engine().name())]
    };
    fleet.workers().iter().enumerate().flat_map(flag).collect()
}

/// Where a worker listens.
pub fn address_of(fleet: &Fleet, worker: usize) -> SocketAddr {
    fleet.workers()[worker].url().trim_start_matches("http://").parse().expect("an address")
}

/// Asks an engine directly, past any proxy.
pub async fn ask_engine(fleet: &Fleet, worker: usize, rank: usize, body: &Value) -> Reply {
    let rank = rank.to_string();
    let client = Client::new(address_of(fleet, worker));
    let reply = client
        .send(http::Method::POST, "/v1/completions", &[("x-data-parallel-rank", &rank)], body.to_string())
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

/// The body of a chat of one user message.
pub fn chat(content: &str) -> Value {
    json!({ "model": "sim", "messages": [{ "role": "user", "content": content }], "max_tokens": 4 })
}

/// The same, streamed.
pub fn streamed(mut body: Value) -> Value {
    body["stream"] = true.into();
    body["stream_options"] = json!({ "include_usage": true });
    body
}

/// What clients sent, as it arrived at the workers; the proxy's own questions left out.
pub fn arrivals(fleet: &Fleet) -> Vec<Arrival> {
    let all = fleet.workers().iter().flat_map(rankwise_sim::WorkerHandle::arrivals);
    all.filter(|arrival| arrival.headers.contains_key("x-request-id")).collect()
}

/// The one arrival that a reply answers.
pub fn arrival_of(fleet: &Fleet, reply: &Reply) -> Arrival {
    let id = reply.header("x-request-id");
    let mut found = arrivals(fleet).into_iter().filter(|arrival| arrival.headers["x-request-id"] == id);
    let arrival = found.next().unwrap_or_else(|| panic!("nothing arrived for {id:?}: {}", reply.text()));
    assert!(found.next().is_none(), "{id} arrived twice");
    arrival
}

/// Checks that the reply came from the rank that it names, which was named to the engine once. Its worker and rank.
pub fn assert_pinned(fleet: &Fleet, reply: &Reply) -> (usize, u32) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let (arrival, rank) = (arrival_of(fleet, reply), reply.number("x-rankwise-dp-rank"));
    assert_eq!(arrival.rank_headers(), [rank.to_string()]);
    assert_eq!(arrival.rank, Some(rank), "another rank served it");
    assert_eq!(format!("w{}", arrival.worker), reply.header("x-rankwise-worker"));
    (arrival.worker, rank)
}

/// Text of about so many tokens, different for every `seed`.
pub fn text(seed: u64, tokens: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..tokens)
        .map(|_| format!("{} ", random.u32(100..1000)))
        .collect::<String>()
        .chars()
        .take(tokens * 4)
        .collect()
}

/// The body of a completion of so many token ids, different for every `seed` from the first block on.
pub fn completion(seed: u64, tokens: usize) -> Value {
    let mut random = fastrand::Rng::with_seed(seed);
    let ids: Vec<u32> = (0..tokens).map(|_| random.u32(300..1300)).collect();
    json!({ "model": "sim", "prompt": ids, "max_tokens": 4 })
}
