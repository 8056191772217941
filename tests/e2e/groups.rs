//! Lockstep groups that reach over workers: whoever steps with a rank that is gone may wait for it in vain.

use rankwise_sim::{FleetSpec, WorkerHandle};
use serde_json::json;

use crate::harness::{Proxy, all_in, chat, fast, fleet, is_whole, metric, out, wait_until};

/// Ranks of a worker that have proven themselves, each time counted.
async fn proven(proxy: &Proxy, worker: usize) -> f64 {
    let worker = format!("worker=\"w{worker}\"");
    metric(&proxy.metrics().await, "rankwise_rank_proofs_total", &[&worker, "result=\"good\""])
}

#[tokio::test]
async fn those_that_step_with_a_lost_worker_have_to_prove_themselves_and_serve_meanwhile() {
    // The first two are one group, the third is another.
    let fleet = fleet(FleetSpec { workers: 3, ranks: 2, ..fast() }).await;
    let entry = |worker: &WorkerHandle| {
        let group = if worker.index() < 2 { "both" } else { "other" };
        json!({ "name": format!("w{}", worker.index()), "url": worker.url(), "engine": "vllm", "group": group })
    };
    let pool = json!({ "workers": fleet.workers().iter().map(entry).collect::<Vec<_>>() });
    // Nobody looks: requests are the first to notice.
    let limits = json!({ "upstream": { "probe_interval": "1m", "load_interval": "1m" } });
    let proxy = Proxy::configured_with(&json!({ "pools": [pool], "limits": limits }).to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let at_first = [proven(&proxy, 1).await, proven(&proxy, 2).await];
    assert_eq!(at_first, [2.0, 2.0]);

    fleet.workers()[0].stop().await;
    for _ in 0..12 {
        // Connections that it closed are seen to be closed: each request is sent elsewhere, unsent.
        let reply = proxy.client.chat(&chat("hello")).await;
        assert!(is_whole(&reply), "{}", reply.text());
        assert_ne!(reply.header("x-rankwise-worker"), "w0");
    }
    wait_until("the ranks that step with it to prove themselves", async || proven(&proxy, 1).await >= 4.0)
        .await;
    assert_eq!(proven(&proxy, 2).await, 2.0, "another group's have nothing to do with it");
    wait_until("nobody but the lost to be out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.keys().all(|(worker, _)| worker == "w0")
    })
    .await;
    fleet.workers()[0].start().await.expect("the same ports");
    all_in(&proxy).await;
    fleet.stop().await;
}
