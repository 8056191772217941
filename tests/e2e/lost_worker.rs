//! A pool that loses one of four workers under load, whatever wire they speak: what was there ends with an error, nothing runs twice, and
//! when it is back it fills without being given everything.

use std::collections::BTreeMap;

use rankwise_sim::FleetSpec;
use serde_json::{Value, json};

use crate::harness::{
    Reply, Wire, all_at_once, all_in, arrivals, completion, fleet, is_whole, streamed, wait_until,
};

const SLOW_START: u64 = 8;

fn is_of(rank: &Value, worker: &str) -> bool {
    rank["worker"] == worker
}

async fn loses_what_was_there_and_no_more(wire: Wire) {
    const LANES: usize = 16;
    let fleet =
        fleet(wire.spec(FleetSpec { workers: 4, ranks: 2, speed: 20.0, ..FleetSpec::default() })).await;
    // The proxy's own looks are a minute apart, so that requests are the first to notice.
    let unwatched = json!({ "limits": { "upstream": { "probe_interval": "1m", "load_interval": "1m" } } });
    let proxy = wire.serving(&fleet, unwatched).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let bodies = |seeds: std::ops::Range<u64>| -> Vec<Value> {
        seeds
            .map(|seed| streamed(completion(seed, 200)))
            .map(|mut body| {
                body["max_tokens"] = 100.into();
                body
            })
            .collect()
    };
    let lost = &fleet.workers()[0];
    let load = all_at_once(&proxy, "/v1/completions", bodies(0..300), LANES);
    let stop = async {
        wait_until("it to be busy", async || {
            fleet.hold();
            let busy = arrivals(&fleet).len() > 60 && lost.stats().iter().any(|rank| rank.running > 0);
            if !busy {
                fleet.release();
            }
            busy
        })
        .await;
        lost.stop().await;
        fleet.release();
        let began = tokio::time::Instant::now();
        wait_until("it to be out", async || {
            proxy.ranks().await.iter().all(|rank| !is_of(rank, "w0") || rank["availability"] != "ready")
        })
        .await;
        began.elapsed()
    };
    let (replies, elapsed) = tokio::join!(load, stop);
    eprintln!("out after {elapsed:?}");

    let broken: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    assert!(!broken.is_empty(), "nothing was in flight there: nothing is shown");
    assert!(broken.len() <= LANES, "{} requests failed, {LANES} were in flight", broken.len());
    for reply in broken {
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
    assert_eq!(ranks.iter().filter(|rank| rank["weight_permille"] == 1000).count(), 6);
    assert!(
        back.iter()
            .all(|rank| rank["health"]["proof"]
                == json!({ "pin": true, "events": true, "cached_tokens": true })),
        "{back:?}"
    );

    // It has nothing to do and the others have: all the same it is not given everything.
    proxy.activate("kv", json!({})).await;
    let share = async |seeds: std::ops::Range<u64>| {
        let replies = all_at_once(&proxy, "/v1/completions", bodies(seeds), LANES).await;
        assert!(replies.iter().all(is_whole));
        replies.iter().filter(|reply| reply.header("x-rankwise-worker") == "w0").count()
    };
    let at_first = share(1000..1100).await;
    assert!(at_first < 50, "{at_first} of 100 went to the one that came back");
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
