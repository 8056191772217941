//! Ranks that fail are taken out by what their first failure says, and come back by what they prove.

use rankwise_sim::{Fault, FleetSpec};
use serde_json::json;

use crate::harness::{
    Proxy, UNWATCHED, all_in, arrivals, chat, failures, fast, fleet, metric, out, streamed, two_workers,
    wait_until,
};

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
async fn a_worker_that_gives_requests_up_or_breaks_off_is_out() {
    for (fault, reason) in [
        // As vLLM's, one of whose ranks has died, says of what ran on the others.
        (Fault::AbortAfterFirst, "error_in_answer"),
        (Fault::ResetAfter(1), "broken"),
        (Fault::HalfCloseAfter(1), "broken"),
    ] {
        let fleet = two_workers().await;
        let config = format!("{UNWATCHED}  health: {{ window: 1ms }}\n");
        let proxy = Proxy::configured(&fleet, &config, &[]).await;
        proxy.activate("round-robin", json!({ "pin": "rank" })).await;
        fleet.workers()[0].fault(fault);
        wait_until("a rank to be taken out for it", async || {
            proxy.client.chat(&streamed(chat("hello"))).await;
            let series = proxy.metrics().await;
            let labels = [format!("reason=\"{reason}\""), "worker=\"w0\"".to_owned()];
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            metric(&series, "rankwise_ranks_taken_out_total", &labels) >= 1.0
        })
        .await;
        let others = metric(&proxy.metrics().await, "rankwise_ranks_taken_out_total", &["worker=\"w1\""]);
        assert_eq!(others, 0.0, "{fault:?}: the other worker did nothing");
        fleet.workers()[0].heal();
        all_in(&proxy).await;
        assert_eq!(failures(&proxy, &streamed(chat("hello")), 8).await, 0, "{fault:?}");
        fleet.stop().await;
    }
}
