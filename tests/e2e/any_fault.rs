//! The index equals the engine's cache after any fault, whatever wire the engine speaks, and no request fails or runs twice by it but
//! those that were where it was.
//!
//! Each fault shows by a symptom of its own before it is healed: one that does nothing would show nothing.

mod scene;
mod symptom;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use rankwise_sim::{Fleet, WorkerHandle};
use serde_json::json;
use tokio::net::TcpStream;

use self::scene::{BLOCKS_PER_RANK, Scene};
use self::symptom::{Before, held};
use self::trouble::{Trouble, cleared};
use crate::harness::{
    Proxy, Reply, Wire, address_of, all_in, arrivals, completion, fleet, is_whole, wait_until,
};

/// Bit 0: what the index holds is learned from what was sent.
const APPROXIMATE: u64 = 1;

/// Prompts that nobody has asked before, to every rank, some streamed and some not.
async fn requests(proxy: &Proxy, seeds: &mut impl Iterator<Item = u64>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for (seed, streamed) in seeds.take(8).zip([false, true, true, false].into_iter().cycle()) {
        let mut body = completion(seed, 200);
        body["stream"] = streamed.into();
        replies.push(proxy.client.post("/v1/completions", &body).await);
    }
    replies
}

/// Each is answered as if nothing had happened, or was sent to the worker that has the trouble.
fn assert_answered(replies: &[Reply], worker: &WorkerHandle, scene: Scene, trouble: Option<Trouble>) {
    for reply in replies.iter().filter(|reply| !is_whole(reply)) {
        assert!(
            trouble.is_some_and(|trouble| trouble.fails_requests(scene.wire)),
            "{trouble:?}: {} {}",
            reply.status,
            reply.text()
        );
        let (id, arrivals) = (&reply.headers["x-request-id"], worker.arrivals());
        let it_was_there = arrivals.iter().any(|arrival| arrival.headers.get("x-request-id") == Some(id));
        assert!(it_was_there, "{trouble:?}: {} {}", reply.status, reply.text());
    }
}

/// What the index says that a rank holds, by the engine's own names.
async fn indexed(proxy: &Proxy, worker: usize, rank: usize) -> BTreeSet<String> {
    let path = format!("/v1/pools/main/ranks/w{worker}/{rank}/blocks?limit=10000");
    let listed = proxy.admin.get(&path).await.json();
    let blocks = listed["blocks"].as_array().expect("a list");
    blocks.iter().filter_map(|block| block["engine_hash"].as_str().map(str::to_owned)).collect()
}

/// Waits until the index says of each rank that it holds what it holds: a restart may not be noticed yet, and what the new process tells
/// may be as much as the former one did.
async fn assert_equal(proxy: &Proxy, fleet: &Fleet, after: &str) {
    proxy.settled(fleet).await;
    for worker in fleet.workers() {
        for rank in 0..worker.stats().len() {
            let place = format!("w{} rank {rank}", worker.index());
            assert!(!held(worker, rank).is_empty(), "{place} holds nothing: nothing is shown");
            wait_until(&format!("the index to say what {place} holds after {after}"), async || {
                indexed(proxy, worker.index(), rank).await == held(worker, rank)
            })
            .await;
        }
    }
}

/// Each rank of a worker does something, and tells of it.
async fn has_spoken(scene: Scene, proxy: &Proxy, fleet: &Fleet, seeds: &mut impl Iterator<Item = u64>) {
    let worker = &fleet.workers()[scene.troubled];
    let served = || worker.stats().iter().map(|rank| rank.finished).collect::<Vec<_>>();
    let before = served();
    let mut rank = 0;
    wait_until("each of its ranks to serve", async || {
        if scene.prefills > 0 {
            assert_answered(&requests(proxy, seeds).await, worker, scene, None);
        } else if let Some(seed) = seeds.next() {
            scene.wire.ask(fleet, scene.troubled, rank % before.len(), seed).await;
            rank += 1;
        }
        served().iter().zip(&before).all(|(now, before)| now > before)
    })
    .await;
}

/// Whoever answers a request is asked once, whatever comes of it.
fn assert_nothing_ran_twice(scene: Scene, fleet: &Fleet) {
    let mut seen = BTreeMap::<String, usize>::new();
    for arrival in arrivals(fleet).into_iter().filter(|arrival| arrival.worker >= scene.prefills) {
        let id = arrival.headers["x-request-id"].to_str().expect("text").to_owned();
        *seen.entry(id).or_default() += 1;
    }
    assert!(seen.len() > 50, "{} requests show little", seen.len());
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

/// What is known is what the engines hold; where they tell nothing, that is said.
async fn assert_known(scene: Scene, proxy: &Proxy, fleet: &Fleet, after: &str) {
    if scene.wire.tells_events() {
        return assert_equal(proxy, fleet, after).await;
    }
    for rank in proxy.ranks().await {
        assert_ne!(rank["condition"].as_u64().expect("bits") & APPROXIMATE, 0, "{rank} after {after}");
    }
}

async fn after_any_fault(scene: Scene) {
    let wire = scene.wire;
    let fleet = fleet(scene.spec()).await;
    let limits = json!({
        "upstream": { "probe_interval": "100ms" }, "request": { "first_byte_timeout": "1s" },
        // No failure is taken for the request's own.
        "health": { "proof_timeout": "1s", "slow_start": "1ms", "window": "1ms" },
    });
    let proxy = wire.serving(&fleet, json!({ "limits": limits })).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[scene.troubled];
    let mut seeds = 0..;
    assert_answered(&requests(&proxy, &mut seeds).await, worker, scene, None);
    assert_known(scene, &proxy, &fleet, "nothing").await;
    for trouble in scene.troubles() {
        eprintln!("{scene:?}: {trouble:?}");
        let before = Before::of(&proxy, worker).await;
        trouble.begin(worker).await;
        let mut replies = Vec::new();
        wait_until(&format!("{trouble:?} to show"), async || {
            let more = requests(&proxy, &mut seeds).await;
            assert_answered(&more, worker, scene, Some(trouble));
            replies.extend(more);
            before.shows(trouble.symptom(), &proxy, &fleet, worker, &replies).await
        })
        .await;
        worker.heal();
        if trouble.is_lossy(wire) {
            cleared(worker).await;
        }
        wait_until("it to take connections", async || {
            TcpStream::connect(address_of(&fleet, scene.troubled)).await.is_ok()
        })
        .await;
        if scene.prefills == 0 {
            has_spoken(scene, &proxy, &fleet, &mut seeds).await;
            all_in(&proxy).await;
        } else {
            all_in(&proxy).await;
            has_spoken(scene, &proxy, &fleet, &mut seeds).await;
        }
        assert_known(scene, &proxy, &fleet, &format!("{trouble:?}")).await;
    }
    assert_nothing_ran_twice(scene, &fleet);
    if scene.prefills == 0 {
        // Of what the other worker computed it holds but the end.
        for rank in fleet.workers()[1].stats() {
            assert!(
                rank.prefill_computed_tokens / 16 > 2 * u64::from(BLOCKS_PER_RANK),
                "nothing was evicted"
            );
        }
        are_promised_what_they_hold(scene, &proxy, &fleet).await;
    }
    fleet.stop().await;
}

/// A promise is kept on each of them; where nothing is known of a rank, nothing is promised.
async fn are_promised_what_they_hold(scene: Scene, proxy: &Proxy, fleet: &Fleet) {
    for rank in proxy.ranks().await {
        assert_eq!(
            rank["condition"].as_u64().map(|bits| bits & crate::harness::UNTRUSTED),
            Some(0),
            "{rank}"
        );
    }
    proxy.activate("kv", json!({})).await;
    for (seed, again) in (1_000_000..1_000_008).flat_map(|seed| [(seed, false), (seed, true)]) {
        if scene.wire.tells_events() {
            proxy.settled(fleet).await;
        }
        let reply = proxy.client.post("/v1/completions", &completion(seed, 200)).await;
        if scene.wire.names_ranks() {
            let promised = reply.promised_tokens();
            assert_eq!((promised, reply.cached_tokens()), if again { (192, 192) } else { (0, 0) });
        } else {
            assert!(is_whole(&reply), "{}", reply.text());
            assert_eq!(reply.header("x-rankwise-expected-cached-tokens"), "");
        }
    }
}

async fn in_one_leg(wire: Wire) {
    after_any_fault(Scene { wire, prefills: 0, troubled: 0 }).await;
}

/// With the trouble at one that computes prompts, and then at one that answers.
async fn in_two_legs(wire: Wire) {
    for troubled in [0, 2] {
        after_any_fault(Scene { wire, prefills: 2, troubled }).await;
    }
}

#[tokio::test]
async fn of_vllm() {
    in_one_leg(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang() {
    in_one_leg(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_behind_the_shim() {
    in_one_leg(Wire::Trtllm).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained() {
    in_one_leg(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained_and_chooses_the_rank() {
    in_one_leg(Wire::TrtllmBare).await;
}

#[tokio::test]
async fn of_workers_behind_dynamo() {
    in_one_leg(Wire::Dynamo).await;
}

#[tokio::test]
async fn of_servers_that_tell_nothing() {
    in_one_leg(Wire::Generic).await;
}

#[tokio::test]
async fn of_vllm_in_two_legs() {
    in_two_legs(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang_in_two_legs() {
    in_two_legs(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_in_two_legs() {
    in_two_legs(Wire::Trtllm).await;
}
