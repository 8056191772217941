//! Lockstep groups that reach over workers: whoever steps with a rank that is gone may wait for it in vain.

use rankwise_sim::{FleetSpec, WorkerHandle};
use serde_json::json;

use crate::harness::{
    Client, Proxy, all_in, arrivals, chat, completion, fast, fleet, is_whole, metric, out, wait_until,
};

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

/// vLLM's multi-port external mode: each rank is a server on a port of its own, and several of them step together.
#[tokio::test]
async fn a_receipt_shows_the_groups_that_reach_over_servers_of_one_rank_each() {
    let external = FleetSpec { workers: 4, ranks: 1, workers_per_group: 2, global_ranks: true, ..fast() };
    let fleet = fleet(external).await;
    let entry = |worker: &WorkerHandle| {
        let group = if worker.index() < 2 { "first" } else { "second" };
        json!({ "name": format!("w{}", worker.index()), "url": worker.url(), "engine": "vllm", "group": group })
    };
    let pool = json!({
        "workers": fleet.workers().iter().map(entry).collect::<Vec<_>>(),
        "policy": { "name": "kv", "settings": { "group_prefill_weight": 1 } },
    });
    let config = json!({
        "pools": [pool], "decisions": { "sample_permille": 1000 },
        "listeners": [{ "address": "127.0.0.1:0", "trust_pins": true }],
    });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    // Something is in flight on the first server while the others are asked for.
    fleet.hold();
    let client: Client = proxy.client;
    let mut busy = tokio::task::JoinSet::new();
    busy.spawn(async move {
        let own = [("x-rankwise-worker", "w0")];
        client.send(http::Method::POST, "/v1/completions", &own, completion(1, 320).to_string()).await
    });
    wait_until("it to be there", async || arrivals(&fleet).len() == 1).await;
    let next = completion(2, 40);
    let (reply, ()) = tokio::join!(proxy.client.post("/v1/completions", &next), async {
        wait_until("the next one to be decided", async || arrivals(&fleet).len() == 2).await;
        fleet.release();
    });
    assert!(is_whole(&reply), "{}", reply.text());
    let receipt = proxy.receipt(&reply).await;
    let rows = receipt["rows"].as_array().expect("rows");
    let workers: Vec<_> = rows.iter().map(|row| row["worker"].as_str().expect("a name")).collect();
    assert_eq!(workers, ["w0", "w1", "w2", "w3"]);
    let told = |name: &str| -> Vec<u64> {
        let columns = receipt["columns"].as_array().expect("columns");
        let at = columns.iter().position(|column| column == name).expect("the column");
        rows.iter().map(|row| row["figures"][at].as_u64().expect("a number")).collect()
    };
    assert_eq!(told("dp-rank"), [0; 4], "each server's only one");
    let groups = told("group");
    assert!(groups[0] == groups[1] && groups[2] == groups[3] && groups[0] != groups[2], "{groups:?}");
    // What the first has to compute, the whole of its group waits for, and no other.
    assert_eq!(told("prefill-tokens"), [320, 0, 0, 0]);
    assert_eq!(told("group-peak-prefill"), [320, 320, 0, 0]);
    let (active, peaks) = (told("active-blocks"), told("group-peak-active"));
    assert!(active[0] >= 20, "{active:?}");
    assert_eq!(peaks, [active[0], active[0], 0, 0]);
    // kv keeps away from those that would wait.
    assert!(
        ["w2", "w3"].contains(&reply.header("x-rankwise-worker")),
        "{}",
        reply.header("x-rankwise-worker")
    );
    for reply in busy.join_all().await {
        assert!(is_whole(&reply), "{}", reply.text());
        assert_eq!(reply.header("x-rankwise-worker"), "w0");
    }
    for arrival in arrivals(&fleet) {
        assert!(arrival.rank_headers().is_empty(), "{:?}", arrival.headers);
    }
    fleet.stop().await;
}
