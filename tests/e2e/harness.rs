//! What the tests stand on: a fleet in this process, the proxy in its own.

mod client;
mod proxy;
mod wait;

pub use client::{Client, Reply};
pub use proxy::Proxy;
pub use wait::wait_until;

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

/// A fleet whose engines take no time to speak of.
pub fn fast() -> FleetSpec {
    FleetSpec { speed: 1000.0, ..FleetSpec::default() }
}

/// Starts a fleet.
pub async fn fleet(spec: FleetSpec) -> Fleet {
    Fleet::start(spec).await.expect("a fleet on free ports")
}

/// `--worker URL,engine=vllm` for each worker of a fleet, named w0, w1 and so on.
pub fn worker_flags(fleet: &Fleet) -> Vec<String> {
    let flag = |(number, worker): (usize, &rankwise_sim::WorkerHandle)| {
        ["--worker".to_owned(), format!("{},engine=vllm,name=w{number}", worker.url())]
    };
    fleet.workers().iter().enumerate().flat_map(flag).collect()
}

/// The body of a chat of one user message.
pub fn chat(content: &str) -> Value {
    json!({ "model": "sim", "messages": [{ "role": "user", "content": content }], "max_tokens": 4 })
}

/// Text of about so many tokens, different for every `seed`.
pub fn text(seed: u64, tokens: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..tokens).map(|_| format!("{} ", random.u32(100..1000))).collect::<String>().chars().take(tokens * 4).collect()
}
