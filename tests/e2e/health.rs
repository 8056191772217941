//! Ranks that fail are taken out by what their first failure says, and come back by what they prove.

use std::collections::BTreeMap;

use rankwise_sim::{Fault, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Gate, Proxy, Reply, UNTRUSTED, all_at_once, arrivals, chat, completion, fast, fleet, streamed, wait_until,
};

/// The proxy's own looks are a minute apart, so that requests are the first to notice.
const UNWATCHED: &str = "limits:\n  upstream: { probe_interval: 1m, load_interval: 1m }\n";
const CHAT: &str = "/v1/chat/completions";
const SLOW_START: u64 = 8;

fn is_of(rank: &Value, worker: &str) -> bool {
    rank["worker"] == worker
}

/// Why each rank is out, by worker and rank; those that are in are not listed.
async fn out(proxy: &Proxy) -> BTreeMap<(String, u64), String> {
    let ranks = proxy.ranks().await;
    let out = ranks.iter().filter(|rank| rank["availability"] != "ready").map(|rank| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let place = (text(&rank["worker"]), rank["dp_rank"].as_u64().unwrap_or_default());
        (place, text(&rank["health"]["out"]))
    });
    out.collect()
}

async fn all_in(proxy: &Proxy) {
    wait_until("every rank to be back", async || out(proxy).await.is_empty()).await;
}

/// Whether it was answered as if nothing had happened.
fn is_whole(reply: &Reply) -> bool {
    reply.status == 200 && reply.complete && !reply.text().contains("\"error\"")
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

async fn two_workers() -> Fleet {
    fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await
}

/// One request after the other; how many were not answered as they should.
async fn failures(proxy: &Proxy, body: &Value, count: usize) -> usize {
    let mut failures = 0;
    for _ in 0..count {
        failures += usize::from(!is_whole(&proxy.client.chat(body).await));
    }
    failures
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
async fn a_rank_that_disobeys_the_pin_is_not_admitted() {
    let fleet = two_workers().await;
    fleet.workers()[0].fault(Fault::IgnorePin);
    let flags = crate::harness::worker_flags(&fleet);
    let proxy = Proxy::configured_with("limits:\n  health: { slow_start: 1ms }\n", &flags).await;
    wait_until("it to be found out", async || {
        let out = out(&proxy).await;
        out.len() == 2 && out.iter().all(|((worker, _), why)| worker == "w0" && why == "disobeyed")
    })
    .await;
    let ranks = proxy.ranks().await;
    let error = ranks[0]["health"]["error"].as_str().unwrap_or_default();
    assert_eq!(error, "rank 1 served what was pinned to rank 0");
    assert!(proxy.metric("rankwise_rank_proofs_total", "result=\"disobeyed\"").await >= 2.0);
    assert!(proxy.log().iter().any(|line| line.contains("pin disobeyed")));
    for _ in 0..6 {
        assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-worker"), "w1");
    }
    fleet.workers()[0].heal();
    all_in(&proxy).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_that_begins_to_disobey_is_found_by_what_its_events_do_not_tell() {
    let fleet = two_workers().await;
    let config = "limits:\n  upstream: { probe_interval: 100ms }\n  health: { window: 1ms }\n";
    // One that has prompts read: what they consist of is expected to be told.
    let proxy = Proxy::configured(&fleet, config, &["--policy", "kv"]).await;
    fleet.workers()[0].fault(Fault::IgnorePin);
    let mut seed = 0;
    // A thousand blocks of each rank have to stay untold before it is doubted.
    wait_until("both ranks to be found out", async || {
        let bodies = (0..40).map(|number| completion(seed + number, 800)).collect();
        seed += 40;
        let replies = all_at_once(&proxy, "/v1/completions", bodies, 8).await;
        assert!(replies.iter().all(is_whole));
        let out = out(&proxy).await;
        out.len() == 2 && out.iter().all(|((worker, _), why)| worker == "w0" && why == "disobeyed")
    })
    .await;
    fleet.workers()[0].heal();
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

#[tokio::test]
async fn a_rank_whose_events_tell_nothing_is_not_trusted() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    fleet.workers()[0].fault(Fault::SilentRank(1));
    let proxy = Proxy::serving(&fleet, &[]).await;
    let ranks = proxy.ranks().await;
    let untrusted = |rank: &Value| rank["condition"].as_u64().unwrap_or(0) & UNTRUSTED != 0;
    assert!(!untrusted(&ranks[0]) && untrusted(&ranks[1]), "{ranks:?}");
    assert_eq!(ranks[1]["health"]["proof"], json!({ "pin": null, "events": false, "cached_tokens": true }));
    assert_eq!(ranks[1]["availability"], "ready", "it serves");
    fleet.workers()[0].heal();
    wait_until("it to be trusted", async || !proxy.ranks().await.iter().any(untrusted)).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_worker_that_restarts_with_fewer_ranks_leaves_nothing_behind() {
    let slow = FleetSpec { workers: 1, ranks: 4, ..FleetSpec::default() };
    let (before, after) = (fleet(slow).await, fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await);
    let address =
        |fleet: &Fleet| fleet.workers()[0].url().trim_start_matches("http://").parse().expect("an address");
    let mut gate = Gate::before(address(&before)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let proxy = Proxy::configured_with("", &["--worker".to_owned(), flag]).await;
    wait_until("four ranks", async || proxy.ranks().await.len() == 4).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    for seed in 0..8 {
        assert_eq!(proxy.client.post("/v1/completions", &completion(seed, 100)).await.status, 200);
    }
    // One more on each, still running when the worker goes.
    let mut clients = tokio::task::JoinSet::new();
    for seed in 10..14 {
        let (client, mut body) = (proxy.client, streamed(completion(seed, 100)));
        body["max_tokens"] = 20_000.into();
        clients.spawn(async move { client.post("/v1/completions", &body).await });
    }
    wait_until("every rank to be busy", async || {
        proxy.ranks().await.iter().all(|rank| rank["ledger"]["running"] == 1)
    })
    .await;

    gate.shut().await;
    gate.lead_to(address(&after)).await;
    wait_until("two ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    for reply in clients.join_all().await {
        assert!(reply.events().last().is_some_and(|event| event == "[DONE]"), "{}", reply.text());
        assert!(reply.text().contains("\"error\""), "{}", reply.text());
    }
    proxy.settled(&after).await;
    let page = proxy.metrics().await;
    assert!(!page.contains("dp_rank=\"2\"") && !page.contains("dp_rank=\"3\""), "series outlive their rank");
    for rank in proxy.ranks().await {
        let ledger = &rank["ledger"];
        assert_eq!(
            (&ledger["running"], &ledger["active_blocks"], &ledger["pending_blocks"]),
            (&0.into(), &0.into(), &0.into())
        );
    }
    assert_eq!(
        proxy.metric("rankwise_requests_total", "outcome=\"ok\"").await,
        0.0,
        "counted by the one before"
    );
    // What the one before had cached is nobody's.
    for seed in 0..4 {
        let reply = proxy.client.post("/v1/completions", &completion(seed, 100)).await;
        assert_eq!((reply.status.as_u16(), reply.number("x-rankwise-overlap-blocks")), (200, 0));
    }
    before.stop().await;
    after.stop().await;
}

#[tokio::test]
async fn a_worker_that_changes_unnoticed_is_noticed_by_what_it_says() {
    // Its port is never closed for long enough to be seen, and no request meets the change.
    let (before, after) = (
        fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await,
        fleet(FleetSpec { workers: 1, ranks: 3, ..fast() }).await,
    );
    let address =
        |fleet: &Fleet| fleet.workers()[0].url().trim_start_matches("http://").parse().expect("an address");
    let mut gate = Gate::before(address(&before)).await;
    let flag = format!("http://{},engine=vllm,name=w0", gate.address());
    let config = "limits:\n  upstream: { probe_interval: 200ms, load_interval: 1m }\n";
    let proxy = Proxy::configured_with(config, &["--worker".to_owned(), flag]).await;
    wait_until("two ranks", async || proxy.ranks().await.len() == 2).await;
    gate.lead_to(address(&after)).await;
    wait_until("three ranks", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 3 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    assert_eq!(proxy.client.post(CHAT, &chat("hello")).await.status, 200);
    before.stop().await;
    after.stop().await;
}
