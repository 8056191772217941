//! One rank of a worker dies or hangs while the others live: it is out, and nobody else pays for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use rankwise_sim::{Fault, Fleet, FleetSpec, Micros};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{
    Proxy, Reply, UNWATCHED, all_at_once, all_in, arrivals, chat, completion, fleet, is_whole, metric, out,
    streamed, two_workers, wait_until,
};

const COMPLETIONS: &str = "/v1/completions";

/// Where it came from: worker and rank.
fn place(reply: &Reply) -> (String, u64) {
    (reply.header("x-rankwise-worker").to_owned(), reply.number("x-rankwise-dp-rank").into())
}

fn dead() -> (String, u64) {
    ("w0".to_owned(), 1)
}

/// Waits until this rank is out, and no other.
async fn only_that_is_out(proxy: &Proxy) {
    wait_until("that rank to be out, and no other", async || out(proxy).await.into_keys().eq([dead()])).await;
}

/// Requests are answered by every rank but that one.
async fn all_others_serve(proxy: &Proxy, ranks: usize) {
    let bodies = (5000..5060).map(|seed| completion(seed, 50)).collect();
    let replies = all_at_once(proxy, COMPLETIONS, bodies, 4).await;
    assert!(replies.iter().all(is_whole));
    let places: BTreeSet<_> = replies.iter().map(place).collect();
    assert!(places.len() == ranks - 1 && !places.contains(&dead()), "{places:?}");
}

fn assert_nothing_ran_twice(fleet: &Fleet) {
    let mut seen = BTreeMap::<String, usize>::new();
    for arrival in arrivals(fleet) {
        let id = arrival.headers["x-request-id"].to_str().expect("text").to_owned();
        *seen.entry(id).or_default() += 1;
    }
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

#[tokio::test]
async fn a_rank_that_dies_under_load_takes_what_it_had_and_no_more() {
    const LANES: usize = 12;
    const RANKS: usize = 6;
    let fleet = fleet(FleetSpec { workers: 2, ranks: 3, speed: 20.0, ..FleetSpec::default() }).await;
    let proxy = Proxy::configured(&fleet, UNWATCHED, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[0];
    let bodies: Vec<Value> = (0..240)
        .map(|seed| {
            let mut body = streamed(completion(seed, 200));
            body["max_tokens"] = 60.into();
            body
        })
        .collect();
    let load = all_at_once(&proxy, COMPLETIONS, bodies, LANES);
    let death = async {
        wait_until("it to be busy", async || {
            fleet.hold();
            let busy = arrivals(&fleet).len() > 40 && worker.stats()[1].running > 0;
            if !busy {
                fleet.release();
            }
            busy
        })
        .await;
        worker.fault(Fault::DeadRank(1));
        fleet.release();
        only_that_is_out(&proxy).await;
    };
    let (replies, ()) = tokio::join!(load, death);

    let broken: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    assert!(!broken.is_empty(), "nothing was in flight there: nothing is shown");
    assert!(broken.len() <= LANES, "{} requests failed, {LANES} were in flight", broken.len());
    for reply in broken {
        if reply.header("x-rankwise-error") == "upstream" {
            // Sent, and not begun as far as can be seen.
            assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
            continue;
        }
        assert_eq!(place(reply), dead(), "{}", reply.text());
        if reply.status == StatusCode::OK {
            let events = reply.events();
            let [.., error, done] = events.as_slice() else { panic!("{events:?}") };
            assert!(error.contains("\"error\"") && done == "[DONE]", "{events:?}");
        } else {
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", reply.text());
        }
    }
    assert_nothing_ran_twice(&fleet);
    all_others_serve(&proxy, RANKS).await;
    let endpoint = worker.event_endpoint(1).expect("a rank");
    let address: SocketAddr = endpoint.trim_start_matches("tcp://").parse().expect("an address");
    assert!(TcpStream::connect(address).await.is_err(), "its events are to be had");
    wait_until("its events to be missed, and no other's", async || {
        let page = proxy.metrics().await;
        let all = metric(&page, "rankwise_kv_events_complete", &[]);
        let its = metric(&page, "rankwise_kv_events_complete", &["worker=\"w0\"", "dp_rank=\"1\""]);
        (all, its) == (RANKS as f64 - 1.0, 0.0)
    })
    .await;

    worker.heal();
    all_in(&proxy).await;
    // What it had before is nowhere, what it has since is known.
    proxy.settled(&fleet).await;
    let bodies = (9000..9060).map(|seed| completion(seed, 50)).collect();
    let replies = all_at_once(&proxy, COMPLETIONS, bodies, 4).await;
    assert!(replies.iter().all(is_whole));
    assert!(replies.iter().any(|reply| place(reply) == dead()), "it gets nothing");
    proxy.settled(&fleet).await;
    fleet.stop().await;
}

/// As a real vLLM's, whose server takes seconds to notice: what was there is answered 500 then, what comes later never, and at last the
/// whole worker goes. The rank's event socket closes at once, so nobody else has to find that out.
#[tokio::test]
async fn a_rank_that_dies_unnoticed_takes_what_it_had_and_no_more() {
    const LANES: usize = 12;
    const RANKS: usize = 6;
    const UNNOTICED: Duration = Duration::from_secs(5);
    let fleet = fleet(FleetSpec { workers: 2, ranks: 3, speed: 20.0, ..FleetSpec::default() }).await;
    let config = format!("{UNWATCHED}  health: {{ proof_timeout: 2s, slow_start: 1ms }}\n");
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[0];
    let bodies: Vec<Value> = (0..240)
        .map(|seed| {
            let mut body = streamed(completion(seed, 200));
            body["stream"] = (seed % 2 == 0).into();
            body["max_tokens"] = 60.into();
            body
        })
        .collect();
    let load = all_at_once(&proxy, COMPLETIONS, bodies, LANES);
    let in_flight = || -> usize {
        let ranks = fleet.workers().iter().flat_map(|worker| worker.stats());
        ranks.map(|rank| rank.running + rank.waiting).sum()
    };
    let death = async {
        wait_until("requests to flow", async || arrivals(&fleet).len() > 40).await;
        fleet.hold();
        wait_until("all to be at an engine, and that rank to be busy", async || {
            let is_there = in_flight() == LANES && worker.stats()[1].running > 0;
            if !is_there {
                let until = Micros(fleet.now().0 + 1000);
                fleet.advance(Micros(1000));
                wait_until("a little to pass", async || fleet.now() >= until).await;
            }
            is_there
        })
        .await;
        let rank = worker.stats()[1];
        worker.fault(Fault::DyingRank(1, UNNOTICED));
        // Before anybody is told by an answer: engines are held.
        only_that_is_out(&proxy).await;
        fleet.release();
        rank.running + rank.waiting
    };
    let (replies, was_there) = tokio::join!(load, death);
    let page = proxy.metrics().await;
    let out = |reason: &str| {
        let labels = ["worker=\"w0\"", "dp_rank=\"1\"", &format!("reason=\"{reason}\"")];
        metric(&page, "rankwise_ranks_taken_out_total", &labels)
    };
    assert_eq!((out("events_closed"), out("server_error")), (1.0, 0.0));

    let broken: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    assert!(was_there > 0, "nothing was there: nothing is shown");
    assert_eq!(broken.len(), was_there, "what was there, and no other");
    for reply in broken {
        assert_eq!(place(reply), dead(), "{}", reply.text());
        if reply.status == StatusCode::OK {
            let events = reply.events();
            let [.., error, done] = events.as_slice() else { panic!("{events:?}") };
            assert!(error.contains("\"error\"") && done == "[DONE]", "{events:?}");
        } else {
            assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{}", reply.text());
        }
    }
    assert_nothing_ran_twice(&fleet);
    all_others_serve(&proxy, RANKS).await;

    worker.heal();
    all_in(&proxy).await;
    proxy.settled(&fleet).await;
    let again = || (9000..9060).map(|seed| completion(seed, 50)).collect();
    let replies = all_at_once(&proxy, COMPLETIONS, again(), 4).await;
    assert!(replies.iter().all(is_whole) && replies.iter().any(|reply| place(reply) == dead()));

    // And once more, with what a real one does at last.
    worker.fault(Fault::DyingRank(1, UNNOTICED));
    only_that_is_out(&proxy).await;
    worker.stop().await;
    let replies = all_at_once(&proxy, COMPLETIONS, again(), 4).await;
    assert!(replies.iter().all(|reply| is_whole(reply) && place(reply).0 == "w1"));
    worker.heal();
    worker.start().await.expect("the same ports");
    all_in(&proxy).await;
    proxy.settled(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_rank_that_hangs_is_out_after_its_first_byte_timeout() {
    let fleet = two_workers().await;
    let config = format!(
        "{UNWATCHED}  request: {{ first_byte_timeout: 1s }}\n  health: {{ proof_timeout: 1s, slow_start: 1ms }}\n"
    );
    let proxy = Proxy::configured(&fleet, &config, &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[0];
    worker.fault(Fault::HungRank(1));
    let replies = all_at_once(&proxy, "/v1/chat/completions", vec![chat("hello"); 16], 8).await;
    let late: Vec<&Reply> = replies.iter().filter(|reply| !is_whole(reply)).collect();
    assert!((1..=4).contains(&late.len()), "{} of 16", late.len());
    assert!(late.iter().all(|reply| reply.status == StatusCode::GATEWAY_TIMEOUT));
    // Those that were late came there, and only they.
    let came = arrivals(&fleet).iter().filter(|came| (came.worker, came.rank) == (0, Some(1))).count();
    assert_eq!(came, late.len());
    only_that_is_out(&proxy).await;
    all_others_serve(&proxy, 4).await;
    worker.heal();
    all_in(&proxy).await;
    proxy.settled(&fleet).await;
    fleet.stop().await;
}
