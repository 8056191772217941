//! Workers behind Dynamo's frontend are another after every start: which one is meant is found out, or known to be gone.

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Proxy, Wire, all_in, arrival_of, chat, fast, fleet, out, text, wait_until};

const ID: &str = "x-worker-instance-id";

async fn two_workers() -> Fleet {
    fleet(Wire::Dynamo.spec(FleetSpec { workers: 2, ranks: 2, ..fast() })).await
}

/// With little time between two looks.
fn looked_after() -> Value {
    json!({ "upstream": { "probe_interval": "50ms" }, "health": { "slow_start": "1ms" } })
}

/// The workers that served these chats, each by the id that it has now.
async fn served(proxy: &Proxy, fleet: &Fleet, seeds: std::ops::Range<u64>) -> Vec<usize> {
    let mut workers = Vec::new();
    for seed in seeds {
        let reply = proxy.client.chat(&chat(&text(seed, 40))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let arrival = arrival_of(fleet, &reply);
        let named: Vec<_> =
            arrival.headers.get_all(ID).iter().map(|id| id.to_str().expect("a number")).collect();
        let id = fleet.workers()[arrival.worker].instance_id().expect("one of Dynamo's").to_string();
        assert_eq!(named, [id]);
        workers.push(arrival.worker);
    }
    workers
}

#[tokio::test]
async fn the_only_worker_of_a_frontend_is_found_and_found_again() {
    let fleet = two_workers().await;
    let proxy = Wire::Dynamo.serving(&fleet, json!({ "limits": looked_after() })).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    assert!(served(&proxy, &fleet, 0..8).await.contains(&0));

    let worker = &fleet.workers()[0];
    let before = worker.instance_id();
    worker.restart().await.expect("the same ports");
    assert_ne!(worker.instance_id(), before);
    // It is another one, whose ranks have to prove themselves under its name.
    wait_until("it to be known by its new id", async || {
        let known = proxy.log().iter().filter(|line| line.contains("worker discovered")).count();
        known >= 3 && out(&proxy).await.is_empty() && proxy.ranks().await.len() == 4
    })
    .await;
    assert!(served(&proxy, &fleet, 8..16).await.contains(&0));
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_config_names_and_that_is_not_there_is_out_and_costs_no_request() {
    let fleet = two_workers().await;
    let entry = |number: usize| {
        let worker = &fleet.workers()[number];
        let mut entry = Wire::Dynamo.entry(worker, &worker.url());
        entry["headers"] = json!({ ID: worker.instance_id().expect("one of Dynamo's").to_string() });
        entry
    };
    let pool = json!({ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": [entry(0), entry(1)] });
    let config = json!({ "pools": [pool], "limits": looked_after() });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    served(&proxy, &fleet, 0..8).await;

    fleet.workers()[0].restart().await.expect("the same ports");
    wait_until("it to be said", async || {
        let workers = proxy.admin.get("/v1/pools/main/workers").await.json();
        workers["workers"].as_array().is_some_and(|workers| {
            workers.iter().any(|worker| {
                let reason = worker["reason"].as_str().unwrap_or_default();
                worker["name"] == "w0"
                    && reason.contains("no worker with the instance id that the config names")
            })
        })
    })
    .await;
    // Its frontend is well, and would refuse each of them.
    assert_eq!(served(&proxy, &fleet, 8..16).await, [1; 8]);

    // The config is told its new name.
    let path = "/v1/pools/main/workers";
    assert_eq!(proxy.admin.send(http::Method::DELETE, &format!("{path}/w0"), &[], "").await.status, 202);
    wait_until("its former self to be gone", async || proxy.ranks().await.len() == 2).await;
    assert_eq!(proxy.admin.post(path, &entry(0)).await.status, 202);
    wait_until("it to be there", async || proxy.ranks().await.len() == 4).await;
    all_in(&proxy).await;
    assert!(served(&proxy, &fleet, 16..24).await.contains(&0));
    fleet.stop().await;
}
