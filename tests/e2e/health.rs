//! Ranks that fail are taken out by what their first failure says, and come back by what they prove.

use std::collections::BTreeMap;

use rankwise_sim::{Fault, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, UNWATCHED, all_at_once, all_in, arrivals, chat, completion, failures, fast, fleet,
    is_whole, out, streamed, two_workers, wait_until,
};

const SLOW_START: u64 = 8;

fn is_of(rank: &Value, worker: &str) -> bool {
    rank["worker"] == worker
}

#[tokio::test]
async fn a_pool_that_loses_a_worker_under_load_loses_what_was_there_and_no_more() {
    const LANES: usize = 16;
    let fleet = fleet(FleetSpec { workers: 4, ranks: 2, speed: 20.0, ..FleetSpec::default() }).await;
    let proxy = Proxy::configured(&fleet, UNWATCHED, &["--policy", "round-robin"]).await;
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
async fn a_worker_that_fails_requests_is_out_after_the_first() {
    for (fault, reason) in [(Fault::ServerError, "server_error"), (Fault::StreamError, "error_in_answer")] {
        let fleet = two_workers().await;
        // Long enough that what it proved at the start is not what it is believed by.
        let config = format!("{UNWATCHED}  health: {{ window: 1ms, slow_start: 1ms }}\n");
        let proxy = Proxy::configured(&fleet, &config, &[]).await;
        proxy.activate("round-robin", json!({ "pin": "rank" })).await;
        fleet.workers()[0].fault(fault);
        let body = streamed(chat("hello"));
        // One at each of its ranks at most, then its ranks have failed to prove themselves.
        let failed = failures(&proxy, &body, 2).await;
        assert!((1..=2).contains(&failed), "{fault:?}: {failed}");
        wait_until("both of its ranks to be out", async || {
            let out = out(&proxy).await;
            out.len() == 2 && out.keys().all(|(worker, _)| worker == "w0")
        })
        .await;
        assert_eq!(failures(&proxy, &body, 20).await, 0, "{fault:?}");
        let reason = format!("worker=\"w0\",reason=\"{reason}\"");
        let series = proxy.metrics().await;
        let counted = series.lines().any(|line| {
            line.starts_with("rankwise_ranks_taken_out_total")
                && line.contains("worker=\"w0\"")
                && reason.split(',').all(|label| line.contains(label))
                && !line.ends_with(" 0")
        });
        assert!(counted, "{reason}");

        fleet.workers()[0].heal();
        all_in(&proxy).await;
        fleet.workers()[0].clear_logs();
        assert_eq!(failures(&proxy, &body, 20).await, 0, "{fault:?}");
        assert!(arrivals(&fleet).iter().any(|arrival| arrival.worker == 0), "{fault:?}: it gets nothing");
        fleet.stop().await;
    }
}

#[tokio::test]
async fn one_bad_request_costs_a_good_rank_nothing() {
    let fleet = two_workers().await;
    let config = format!("{UNWATCHED}  health: {{ window: 1ms }}\n");
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    fleet.workers()[0].fault(Fault::ServerError);
    let failed = failures(&proxy, &chat("hello"), 4).await;
    assert!(failed >= 1);
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    assert_eq!(failures(&proxy, &chat("hello"), 8).await, 0);
    fleet.stop().await;
}

#[tokio::test]
async fn an_engine_that_hangs_is_out_after_its_first_byte_timeout() {
    let fleet = two_workers().await;
    let config = format!(
        "{UNWATCHED}  request: {{ first_byte_timeout: 300ms }}\n  health: {{ window: 1ms, proof_timeout: 300ms }}\n"
    );
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    fleet.workers()[1].fault(Fault::Stall);
    let mut statuses = Vec::new();
    while !statuses.contains(&504) {
        assert!(statuses.len() < 8, "{statuses:?}");
        statuses.push(proxy.client.chat(&chat("hello")).await.status.as_u16());
    }
    // Its other rank had no request that hung: it steps with the one that had.
    wait_until("both of its ranks to be out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.keys().all(|(worker, _)| worker == "w1")
    })
    .await;
    assert_eq!(failures(&proxy, &chat("hello"), 12).await, 0);
    fleet.workers()[1].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_says_it_is_not_well_is_believed_the_first_time() {
    let fleet = two_workers().await;
    fleet.workers()[1].fault(Fault::Unhealthy);
    let flags = crate::harness::worker_flags(&fleet);
    let config = "limits:\n  upstream: { probe_interval: 50ms }\n";
    let proxy = Proxy::configured_with(config, &flags).await;
    // It answers everything else: it is still starting.
    let state = async |name: &str| {
        let workers = proxy.admin.get("/v1/pools/main/workers").await.json();
        let worker =
            workers["workers"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name).cloned());
        let worker = worker.unwrap_or_default();
        (worker["state"].clone(), worker["reason"].clone())
    };
    wait_until("what it says to be known", async || {
        state("w1").await == ("unreachable".into(), "/health: status 503".into())
    })
    .await;
    assert_eq!(failures(&proxy, &chat("hello"), 4).await, 0);
    fleet.workers()[1].heal();
    wait_until("it to be let in", async || state("w1").await.0 == "ready").await;

    // The other one says so while it serves: out, and nothing is lost.
    fleet.workers()[0].fault(Fault::Unhealthy);
    wait_until("it to be out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.keys().all(|(worker, _)| worker == "w0")
    })
    .await;
    assert_eq!(failures(&proxy, &chat("hello"), 4).await, 0);
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_pools_last_rank_stays_whatever_it_answers() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let config = format!("{UNWATCHED}  health: {{ window: 1ms }}\n");
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    fleet.workers()[0].fault(Fault::ServerError);
    for _ in 0..6 {
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(reply.status, 500, "{}", reply.text());
    }
    fleet.workers()[0].heal();
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_gives_requests_up_is_out() {
    let fleet = two_workers().await;
    let config = format!("{UNWATCHED}  health: {{ window: 1ms }}\n");
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    // As vLLM's, one of whose ranks has died, says of what ran on the others.
    fleet.workers()[0].fault(Fault::AbortAfterFirst);
    wait_until("a rank to be taken out for it", async || {
        proxy.client.chat(&streamed(chat("hello"))).await;
        proxy.metric("rankwise_ranks_taken_out_total", "reason=\"error_in_answer\"").await >= 1.0
    })
    .await;
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}
