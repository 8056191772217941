//! A pool that loses one of four workers under load, whatever wire they speak: what was there ends with an error, nothing runs twice, and
//! when it is back it fills without being given everything.

use std::collections::{BTreeMap, BTreeSet};

use rankwise_sim::{Fleet, FleetSpec, Micros, WorkerHandle};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, Wire, all_at_once, all_in, arrivals, completion, fleet, is_whole, streamed, wait_until,
};

const SLOW_START: u64 = 8;

/// Requests at once.
const LANES: usize = 16;

/// Less than an engine takes for a step.
const STEP: Micros = Micros(1000);

/// So often it is looked whether a request came, before a step more is needed for that.
const LOOKS: u32 = 5;

/// How long the proxy may take, by its own clock, from the first sign to the worker's being out. A second is what is asked for; this
/// machine may be several times as slow.
const OUT_WITHIN_SECONDS: f64 = 5.0;

fn is_of(rank: &Value, worker: &str) -> bool {
    rank["worker"] == worker
}

/// Its ranks' share of what others of its pool get: 1 when it has come to all of it.
async fn weight_of(proxy: &Proxy, worker: &str) -> f64 {
    let ranks = proxy.ranks().await;
    let weights =
        ranks.iter().filter(|rank| is_of(rank, worker)).filter_map(|rank| rank["weight_permille"].as_f64());
    weights.fold(0.0, f64::max) / 1000.0
}

/// Requests that a worker has and has not answered.
fn in_flight(worker: &WorkerHandle) -> usize {
    worker.stats().iter().map(|rank| rank.running + rank.waiting).sum()
}

/// The same of all workers but the first.
fn in_flight_elsewhere(fleet: &Fleet) -> usize {
    fleet.workers()[1..].iter().map(in_flight).sum()
}

/// When the proxy wrote a line of its log: seconds of the day.
fn written_at(line: &str) -> f64 {
    let time = line.split_once('T').and_then(|(_, rest)| rest.split_once('Z')).expect("a timestamp").0;
    let parts: Vec<f64> = time.split(':').map(|part| part.parse().expect("a number")).collect();
    let [hours, minutes, seconds] = parts[..] else { panic!("{line}") };
    (hours * 60.0 + minutes) * 60.0 + seconds
}

/// From the first line that says that something is wrong with it to the one that says that it is lost, in seconds.
fn seconds_to_lose(log: &[String], worker: &str) -> Option<f64> {
    const DAY: f64 = 24.0 * 60.0 * 60.0;
    let of_it = |line: &&String| line.contains(worker);
    let wrong = ["events disconnected", "the engine broke off", "request not answered", "worker lost"];
    let first = log.iter().filter(of_it).find(|line| wrong.iter().any(|said| line.contains(said)))?;
    let lost = log.iter().filter(of_it).find(|line| line.contains("worker lost"))?;
    // The day may have ended meanwhile.
    Some((written_at(lost) - written_at(first) + DAY / 2.0).rem_euclid(DAY) - DAY / 2.0)
}

/// Streamed completions, each of a prompt of its own.
fn bodies(seeds: std::ops::Range<u64>) -> Vec<Value> {
    seeds
        .map(|seed| streamed(completion(seed, 200)))
        .map(|mut body| {
            body["max_tokens"] = 100.into();
            body
        })
        .collect()
}

/// The proxy's own looks are a minute apart, so that requests are the first to notice.
fn unwatched() -> Value {
    json!({ "limits": { "upstream": { "probe_interval": "1m", "load_interval": "1m" } } })
}

/// Stops simulated time when every request is at an engine and a worker has some, on so many of its ranks: nothing moves any more, so
/// what is counted is exact.
async fn hold_when_busy(fleet: &Fleet, worker: &WorkerHandle, ranks: usize) {
    let all_are_there = || fleet.workers().iter().map(in_flight).sum::<usize>() == LANES;
    let is_busy = || worker.stats().iter().filter(|rank| rank.running > 0).count() >= ranks;
    fleet.hold();
    wait_until("every request to be at an engine, and the worker's ranks to be busy", async || {
        if all_are_there() && is_busy() {
            return true;
        }
        // One that is computed is answered when its step ends, and one that has come is computed with the next: a little later.
        let until = Micros(fleet.now().0 + STEP.0);
        fleet.advance(STEP);
        wait_until("a little to pass", async || fleet.now() >= until).await;
        // One that is between two engines comes while time stands, on a busy machine not at once.
        let mut looks = 0;
        wait_until("those on their way", async || {
            looks += 1;
            all_are_there() || looks > LOOKS
        })
        .await;
        false
    })
    .await;
}

async fn loses_what_was_there_and_no_more(wire: Wire) {
    let fleet =
        fleet(wire.spec(FleetSpec { workers: 4, ranks: 2, speed: 20.0, ..FleetSpec::default() })).await;
    let proxy = wire.serving(&fleet, unwatched()).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let lost = &fleet.workers()[0];
    let load = all_at_once(&proxy, "/v1/completions", bodies(0..300), LANES);
    let attempts = async || proxy.metric("rankwise_upstream_attempts_total", "worker=\"w0\"").await;
    let stop = async {
        wait_until("requests to flow", async || arrivals(&fleet).len() > 60).await;
        hold_when_busy(&fleet, lost, lost.stats().len()).await;
        // Nothing is answered any more, so nothing more is asked either: this is exact.
        let (was_there, arrived) = (in_flight(lost), arrivals(&fleet).len());
        lost.stop().await;
        wait_until("it to be out", async || {
            proxy.ranks().await.iter().all(|rank| !is_of(rank, "w0") || rank["availability"] != "ready")
        })
        .await;
        wait_until("the others to have all requests", async || in_flight_elsewhere(&fleet) == LANES).await;
        let tried = attempts().await;
        fleet.release();
        (was_there, arrived, tried)
    };
    let (replies, (was_there, arrived, tried)) = tokio::join!(load, stop);
    let mut out_after = None;
    wait_until("it to be said", async || {
        out_after = seconds_to_lose(&proxy.log(), "w0");
        out_after.is_some()
    })
    .await;
    let out_after = out_after.expect("waited for");
    eprintln!("{wire:?}: out {out_after:.3} s after the first sign");
    assert!(out_after < OUT_WITHIN_SECONDS, "{out_after} s");
    // Once it was out no request was tried there, however many came.
    assert!(arrivals(&fleet).len() > arrived + LANES);
    assert_eq!(attempts().await, tried);

    let sent_to_it: BTreeSet<_> =
        lost.arrivals().iter().filter_map(|it| it.headers.get("x-request-id").cloned()).collect();
    let broken: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    assert!(was_there > 0, "nothing was in flight there: nothing is shown");
    assert_eq!(broken.len(), was_there, "what was in flight there, and no other");
    for reply in broken {
        assert!(sent_to_it.contains(&reply.headers["x-request-id"]), "it was not there: {}", reply.text());
        if reply.status == 200 {
            assert_eq!(reply.header("x-rankwise-worker"), "w0");
            assert!(reply.complete, "the client is told, not cut off");
            let events = reply.events();
            let [.., error, done] = events.as_slice() else { panic!("{events:?}") };
            assert!(error.contains("\"error\"") && done == "[DONE]", "{events:?}");
        } else {
            // Sent, and not begun as far as can be seen.
            assert_eq!((reply.status.as_u16(), reply.header("x-rankwise-error")), (502, "upstream"));
        }
    }
    // Nothing was run twice.
    let mut seen = BTreeMap::<String, usize>::new();
    for arrival in arrivals(&fleet) {
        *seen.entry(arrival.headers["x-request-id"].to_str().unwrap_or_default().to_owned()).or_default() +=
            1;
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");

    lost.start().await.expect("the same ports");
    all_in(&proxy).await;
    let ranks = proxy.ranks().await;
    let back: Vec<&Value> = ranks.iter().filter(|rank| is_of(rank, "w0")).collect();
    assert!(back.iter().all(|rank| rank["condition"].as_u64().unwrap_or(0) & SLOW_START != 0), "{back:?}");
    assert!(back.iter().all(|rank| rank["weight_permille"].as_u64() < Some(1000)), "{back:?}");
    assert_eq!(ranks.iter().filter(|rank| rank["weight_permille"] == 1000).count(), 3 * back.len());
    // Where no rank can be named, its worker lives; or, if a request was seen to fail there, one was answered.
    let proofs = match wire.names_ranks() {
        true => vec![json!({ "pin": true, "events": true, "cached_tokens": true })],
        false => {
            [false, true].map(|served| json!({ "pin": null, "events": null, "cached_tokens": served })).into()
        }
    };
    assert!(back.iter().all(|rank| proofs.contains(&rank["health"]["proof"])), "{back:?}");

    // It has nothing to do and the others have: all the same it is not given everything.
    proxy.activate("kv", json!({})).await;
    let share = async |seeds: std::ops::Range<u64>| {
        let replies = all_at_once(&proxy, "/v1/completions", bodies(seeds), LANES).await;
        assert!(replies.iter().all(is_whole));
        replies.iter().filter(|reply| reply.header("x-rankwise-worker") == "w0").count()
    };
    let at_first = share(1000..1100).await;
    let weight = weight_of(&proxy, "w0").await;
    // It came to this weight meanwhile, and had less before.
    let fair = 100.0 * weight / (3.0 + weight);
    eprintln!("{wire:?}: {at_first} of 100 at a weight of at most {weight}, {fair:.1} were fair");
    assert!((at_first as f64) < fair + 10.0, "{at_first} of 100 went to the one that came back at {weight}");
    wait_until("it to have come to its share", async || {
        proxy.ranks().await.iter().all(|rank| rank["weight_permille"] == 1000)
    })
    .await;
    let then = share(2000..2100).await;
    assert!((10..50).contains(&then), "{then} of 100");
    fleet.stop().await;
}

#[tokio::test]
async fn a_pool_of_vllm() {
    loses_what_was_there_and_no_more(Wire::Vllm).await;
}

#[tokio::test]
async fn a_pool_of_sglang() {
    loses_what_was_there_and_no_more(Wire::Sglang).await;
}

#[tokio::test]
async fn a_pool_of_trtllm_behind_the_shim() {
    loses_what_was_there_and_no_more(Wire::Trtllm).await;
}

#[tokio::test]
async fn a_pool_of_trtllm_that_is_drained() {
    loses_what_was_there_and_no_more(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn a_pool_of_workers_behind_dynamo() {
    loses_what_was_there_and_no_more(Wire::Dynamo).await;
}

#[tokio::test]
async fn a_pool_of_trtllm_that_chooses_the_rank() {
    loses_what_was_there_and_no_more(Wire::TrtllmBare).await;
}

#[tokio::test]
async fn a_pool_of_servers_that_tell_nothing() {
    loses_what_was_there_and_no_more(Wire::Generic).await;
}

/// Of four workers the first two compute prompts for the others. One is lost under load: who had begun to answer there ends with an error, a
/// prompt that was being computed there is computed elsewhere, but where its answer waits for it; and nobody answers twice.
async fn loses_a_leg(wire: Wire, lost: usize) {
    const PREFILLS: usize = 2;
    let spec =
        FleetSpec { workers: 4, ranks: 2, prefill_workers: PREFILLS, speed: 20.0, ..FleetSpec::default() };
    let fleet = fleet(wire.spec(spec)).await;
    let proxy = wire.serving(&fleet, unwatched()).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[lost];
    let name = format!("w{lost}");
    let load = all_at_once(&proxy, "/v1/completions", bodies(0..200), LANES);
    let stop = async {
        wait_until("requests to flow", async || arrivals(&fleet).len() > 60).await;
        hold_when_busy(&fleet, worker, 1).await;
        let was_there = in_flight(worker);
        worker.stop().await;
        wait_until("it to be out", async || {
            proxy.ranks().await.iter().all(|rank| !is_of(rank, &name) || rank["availability"] != "ready")
        })
        .await;
        fleet.release();
        was_there
    };
    let (replies, was_there) = tokio::join!(load, stop);
    assert!(was_there > 0, "nothing was in flight there: nothing is shown");
    let broken: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    let sent_to_it: BTreeSet<_> =
        worker.arrivals().iter().filter_map(|it| it.headers.get("x-request-id").cloned()).collect();
    for reply in &broken {
        assert!(sent_to_it.contains(&reply.headers["x-request-id"]), "it was not there: {}", reply.text());
    }
    // SGLang's legs are sent together: an answer waits there for a prompt that is computed elsewhere, and its prompt for it.
    let waits = wire == Wire::Sglang;
    match (lost < PREFILLS, waits) {
        (true, false) => assert!(broken.is_empty(), "{} prompts were not computed again", broken.len()),
        (true, true) | (false, false) => assert_eq!(broken.len(), was_there),
        (false, true) => assert!((was_there..=LANES).contains(&broken.len()), "{} broke", broken.len()),
    }
    let mut answered = BTreeMap::<String, usize>::new();
    for arrival in arrivals(&fleet).into_iter().filter(|arrival| arrival.worker >= PREFILLS) {
        let id = arrival.headers["x-request-id"].to_str().expect("text").to_owned();
        *answered.entry(id).or_default() += 1;
    }
    assert!(answered.values().all(|count| *count == 1), "{answered:?}");

    worker.start().await.expect("the same ports");
    all_in(&proxy).await;
    fleet.workers().iter().for_each(WorkerHandle::clear_logs);
    let replies = all_at_once(&proxy, "/v1/completions", bodies(1000..1040), LANES).await;
    assert!(replies.iter().all(is_whole));
    assert!(!worker.arrivals().is_empty(), "it gets nothing");
    proxy.settled(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_pool_of_vllm_in_two_legs() {
    for lost in [0, 2] {
        loses_a_leg(Wire::Vllm, lost).await;
    }
}

#[tokio::test]
async fn a_pool_of_sglang_in_two_legs() {
    for lost in [0, 2] {
        loses_a_leg(Wire::Sglang, lost).await;
    }
}

#[tokio::test]
async fn a_pool_of_trtllm_in_two_legs() {
    for lost in [0, 2] {
        loses_a_leg(Wire::Trtllm, lost).await;
    }
}
