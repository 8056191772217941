//! Which ranks are out, and who notices.

use std::collections::BTreeMap;

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::Value;

use super::{Proxy, Reply, fast, fleet, wait_until};

/// The proxy's own looks are a minute apart, so that requests are the first to notice.
pub const UNWATCHED: &str = "limits:\n  upstream: { probe_interval: 1m, load_interval: 1m }\n";

/// Two workers of two ranks each.
pub async fn two_workers() -> Fleet {
    fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await
}

/// Why each rank is out, by worker and rank; those that are in are not listed.
pub async fn out(proxy: &Proxy) -> BTreeMap<(String, u64), String> {
    let ranks = proxy.ranks().await;
    let out = ranks.iter().filter(|rank| rank["availability"] != "ready").map(|rank| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = (text(&rank["worker"]), rank["dp_rank"].as_u64().unwrap_or_default());
        (place, text(&rank["health"]["out"]))
    });
    out.collect()
}

/// Waits until none is out.
pub async fn all_in(proxy: &Proxy) {
    wait_until("every rank to be back", async || out(proxy).await.is_empty()).await;
}

/// Whether it was answered as if nothing had happened.
pub fn is_whole(reply: &Reply) -> bool {
    reply.status == 200 && reply.complete && !reply.text().contains("\"error\"")
}

/// One request after the other; how many were not answered as they should.
pub async fn failures(proxy: &Proxy, body: &Value, count: usize) -> usize {
    let mut failures = 0;
    for _ in 0..count {
        failures += usize::from(!is_whole(&proxy.client.chat(body).await));
    }
    failures
}
