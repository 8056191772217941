//! Workers behind Dynamo's frontend are another after every start: which one is meant is found out, or known to be gone.

use std::collections::BTreeSet;

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Merger, Proxy, Wire, all_in, arrival_of, assert_pinned, chat, config_file, fast, fleet, out, text,
    wait_until,
};

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

/// Of two ranks each, and of which `/health` tells in another order than theirs.
async fn two_behind_one_frontend() -> Fleet {
    let spec = FleetSpec { workers: 2, ranks: 2, one_frontend: true, ..fast() };
    let fleet = fleet(Wire::Dynamo.spec(spec)).await;
    let [first, second] = [0, 1].map(|worker: usize| fleet.workers()[worker].instance_id());
    assert!(first > second);
    fleet
}

/// In front of workers that share a frontend, by these entries.
async fn serving(fleet: &Fleet, entries: [Value; 2]) -> Proxy {
    let pool = json!({ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": entries });
    let config = json!({ "pools": [pool], "limits": looked_after() });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    proxy.ready().await;
    proxy
}

fn entry(fleet: &Fleet, worker: usize) -> Value {
    Wire::Dynamo.entry(&fleet.workers()[worker], &fleet.workers()[worker].url())
}

/// Sends requests to all ranks in turn.
async fn all_obey(proxy: &Proxy, fleet: &Fleet, seeds: std::ops::Range<u64>) {
    let mut targets = BTreeSet::new();
    for seed in seeds {
        // Arrives at the rank of the worker that it names, nobody else's.
        targets.insert(assert_pinned(fleet, &proxy.client.chat(&chat(&text(seed, 40))).await));
    }
    assert_eq!(targets.into_iter().collect::<Vec<_>>(), [(0, 0), (0, 1), (1, 0), (1, 1)]);
}

#[tokio::test]
async fn workers_that_share_a_frontend_are_told_apart_by_their_events_and_found_again() {
    let fleet = two_behind_one_frontend().await;
    let proxy = serving(&fleet, [entry(&fleet, 0), entry(&fleet, 1)]).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    all_obey(&proxy, &fleet, 0..8).await;

    for (round, restarted) in [0, 1, 0].into_iter().enumerate() {
        let worker = &fleet.workers()[restarted];
        let before = worker.instance_id();
        worker.restart().await.expect("the same ports");
        assert_ne!(worker.instance_id(), before);
        wait_until("it to be known by its new id", async || {
            let known = proxy.log().iter().filter(|line| line.contains("worker discovered")).count();
            known >= 3 + round && out(&proxy).await.is_empty() && proxy.ranks().await.len() == 4
        })
        .await;
        let seeds = 100 * (1 + round as u64);
        all_obey(&proxy, &fleet, seeds..seeds + 8).await;
    }
    fleet.stop().await;
}

#[tokio::test]
async fn an_entry_is_the_worker_of_its_events_whatever_it_is_called() {
    let fleet = two_behind_one_frontend().await;
    let mut entries = [entry(&fleet, 0), entry(&fleet, 1)];
    entries[0]["name"] = "w1".into();
    entries[1]["name"] = "w0".into();
    let proxy = serving(&fleet, entries).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let mut targets = BTreeSet::new();
    for seed in 0..8 {
        let reply = proxy.client.chat(&chat(&text(seed, 40))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let arrival = arrival_of(&fleet, &reply);
        assert_eq!(reply.header("x-rankwise-worker"), format!("w{}", 1 - arrival.worker));
        assert_eq!(Some(reply.number("x-rankwise-dp-rank")), arrival.rank);
        targets.insert((arrival.worker, arrival.rank));
    }
    assert_eq!(targets.len(), 4);
    fleet.stop().await;
}

#[tokio::test]
async fn whom_config_names_it_is_and_who_is_left_is_found() {
    let fleet = two_behind_one_frontend().await;
    let mut entries = [entry(&fleet, 0), entry(&fleet, 1)];
    let id = fleet.workers()[1].instance_id().expect("one of Dynamo's");
    entries[1]["headers"] = json!({ ID: id.to_string() });
    let proxy = serving(&fleet, entries).await;
    proxy.all_ready(&fleet).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    all_obey(&proxy, &fleet, 0..8).await;
    fleet.stop().await;
}

#[tokio::test]
async fn an_entry_whose_worker_no_event_shows_is_given_nothing_and_says_so() {
    let fleet = two_behind_one_frontend().await;
    let mut entries = [entry(&fleet, 0), entry(&fleet, 1)];
    // The first port is another rank's.
    entries[1]["events"].as_array_mut().expect("two").reverse();
    let proxy = serving(&fleet, entries).await;
    wait_until("it to be said", async || {
        let workers = proxy.admin.get("/v1/pools/main/workers").await.json();
        workers["workers"].as_array().is_some_and(|workers| {
            workers.iter().any(|worker| {
                let reason = worker["reason"].as_str().unwrap_or_default();
                worker["name"] == "w1" && reason.contains("tells of nothing that the workers")
            })
        })
    })
    .await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    assert_eq!(proxy.ranks().await.len(), 2);
    assert_eq!(served(&proxy, &fleet, 0..8).await, [0; 8]);
    fleet.stop().await;
}

/// Starts a proxy in front of workers that share a frontend, and has them all compute at once what each entry asks them to tell them
/// apart: `asked` requests.
async fn identifying(fleet: &Fleet, entries: &[Value], asked: usize) -> Proxy {
    let pool = json!({ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": entries });
    let config = json!({ "pools": [pool], "limits": looked_after() });
    let (_folder, flags) = config_file(&config.to_string());
    fleet.hold();
    let proxy = Proxy::start(&flags).await;
    let in_flight = || -> usize {
        let ranks = fleet.workers().iter().flat_map(|worker| worker.stats());
        ranks.map(|rank| rank.running + rank.waiting).sum()
    };
    wait_until("all to be asked", async || in_flight() == asked).await;
    fleet.release();
    proxy
}

async fn is_said(proxy: &Proxy, what: &str) {
    wait_until(&format!("it to be said that {what:?}"), async || {
        proxy.log().iter().any(|line| line.contains("no answer yet") && line.contains(what))
    })
    .await;
}

#[tokio::test]
async fn a_port_that_tells_of_several_workers_says_of_none_that_it_is_meant() {
    let fleet = two_behind_one_frontend().await;
    let ports: Vec<_> = fleet.workers().iter().filter_map(|worker| worker.event_endpoint(0)).collect();
    let both = Merger::of(&ports).await;
    let mut only = entry(&fleet, 0);
    only["events"][0]["endpoint"] = both.endpoint().into();
    let proxy = identifying(&fleet, &[only], 2).await;
    is_said(&proxy, "it is not one worker's alone").await;
    assert!(proxy.ranks().await.is_empty());
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_two_entries_find_is_the_firsts_and_the_other_is_told() {
    let fleet = two_behind_one_frontend().await;
    let copy = Merger::of(&[fleet.workers()[0].event_endpoint(0).expect("a rank")]).await;
    let mut entries = [entry(&fleet, 0), entry(&fleet, 1)];
    entries[1]["events"][0]["endpoint"] = copy.endpoint().into();
    let proxy = identifying(&fleet, &entries, 4).await;
    is_said(&proxy, "whose events come from elsewhere").await;
    proxy.ready().await;
    let ranks = proxy.ranks().await;
    assert!(ranks.len() == 2 && ranks[0]["worker"] == ranks[1]["worker"], "{ranks:?}");
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    assert_eq!(served(&proxy, &fleet, 0..8).await, [0; 8]);
    fleet.stop().await;
}
