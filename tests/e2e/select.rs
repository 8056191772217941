//! Decisions for other proxies: what a proxied request would get, booked until its end is told or its time is over.

use http::Method;
use rankwise_sim::FleetSpec;
use serde_json::{Value, json};

use crate::harness::{Proxy, Reply, assert_pinned, chat, fast, fleet, text, wait_until};

async fn select(proxy: &Proxy, query: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
    let path = format!("/v1/pools/main/select{query}");
    proxy.admin.send(Method::POST, &path, headers, body.to_string()).await
}

/// Tells of a booking what is named so.
async fn tell(proxy: &Proxy, selection: &Value, what: &str, body: &str) -> Reply {
    let booking = selection["booking"].as_str().expect("a booking");
    let path = format!("/v1/pools/main/bookings/{booking}/{what}");
    proxy.admin.send(Method::POST, &path, &[], body.to_owned()).await
}

/// A figure of the ledger, over all ranks.
async fn booked(proxy: &Proxy, figure: &str) -> u64 {
    proxy.ranks().await.iter().map(|rank| rank["ledger"][figure].as_u64().expect("a figure")).sum()
}

#[tokio::test]
async fn a_selection_is_what_a_proxied_request_gets() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    for seed in 0..4 {
        let body = chat(&text(seed, 400));
        let (worker, rank) = assert_pinned(&fleet, &proxy.client.chat(&body).await);
        proxy.settled(&fleet).await;
        let selected = select(&proxy, "", &[], &body).await;
        assert_eq!(selected.status, 200, "{}", selected.text());
        let selection = selected.json();
        assert_eq!(
            (&selection["worker"], &selection["dp_rank"]),
            (&json!(format!("w{worker}")), &json!(rank))
        );
        assert_eq!(selection["headers"], json!({ "x-data-parallel-rank": rank.to_string() }));
        assert!(fleet.workers()[worker].url().ends_with(selection["address"].as_str().expect("an address")));
        assert_eq!(selection["policy"], "kv@1");
        // The same again through the proxy: booked as well, and both find what they were promised.
        assert_eq!(tell(&proxy, &selection, "end", "").await.status, 200);
        let reply = proxy.client.chat(&body).await;
        assert_eq!(assert_pinned(&fleet, &reply), (worker, rank));
        assert_eq!(selection["overlap_blocks"], reply.number("x-rankwise-overlap-blocks"));
        assert_eq!(selection["expected_cached_tokens"].as_u64(), Some(reply.cached_tokens()));
        proxy.settled(&fleet).await;
    }
    // Nothing was sent for them.
    assert_eq!(crate::harness::arrivals(&fleet).len(), 8);
    fleet.stop().await;
}

#[tokio::test]
async fn sessions_and_headers_count_as_they_do_in_a_request() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "session-affinity"]).await;
    let session = [("x-session-id", "one")];
    let path = "/v1/chat/completions";
    let reply = proxy.client.send(Method::POST, path, &session, chat("hello").to_string()).await;
    let (worker, rank) = assert_pinned(&fleet, &reply);
    for _ in 0..8 {
        let selection = select(&proxy, "", &session, &chat("again")).await.json();
        assert_eq!(
            (&selection["worker"], &selection["dp_rank"]),
            (&json!(format!("w{worker}")), &json!(rank))
        );
        tell(&proxy, &selection, "end", "{}").await;
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_booking_lasts_until_its_end_is_told_or_its_time_is_over() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let mut body = chat(&text(1, 400));
    body["stream"] = true.into();
    let never_ran = select(&proxy, "", &[], &body).await.json();
    assert!(booked(&proxy, "pending_blocks").await > 0);
    assert_eq!(tell(&proxy, &never_ran, "end", r#"{"ran": false}"#).await.status, 200);
    assert_eq!(booked(&proxy, "pending_blocks").await, 0);

    let selection = select(&proxy, "", &[], &body).await.json();
    assert_eq!(booked(&proxy, "running").await, 1);
    assert!(booked(&proxy, "prefill_tokens").await >= 400);
    assert_eq!(tell(&proxy, &selection, "first-byte", "").await.status, 200);
    assert_eq!((booked(&proxy, "running").await, booked(&proxy, "prefill_tokens").await), (1, 0));
    assert_eq!(tell(&proxy, &selection, "end", "").await.status, 200);
    assert_eq!(booked(&proxy, "running").await, 0);
    for what in ["first-byte", "end"] {
        assert_eq!(tell(&proxy, &selection, what, "").await.status, 404, "{what} of one that has ended");
    }

    let forgotten = select(&proxy, "?hold=100ms", &[], &body).await.json();
    assert_eq!(forgotten["held_ms"], 100);
    wait_until("the booking's time to be over", async || booked(&proxy, "running").await == 0).await;
    assert_eq!(tell(&proxy, &forgotten, "end", "").await.status, 404);
    for end in ["ended", "never_ran", "timed_out"] {
        let label = format!("end=\"{end}\"");
        assert_eq!(proxy.metric("rankwise_selection_ends_total", &label).await, 1.0, "{end}");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn bookings_are_bounded_and_mistakes_are_named() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let yaml = "limits: { select: { bookings_max: 2, hold: 1m } }\npools: [{ policy: { name: round-robin, settings: { pin: rank } } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    let body = chat("hello");
    let first = select(&proxy, "", &[], &body).await.json();
    assert_eq!(select(&proxy, "", &[], &body).await.status, 200);
    let third = select(&proxy, "", &[], &body).await;
    assert_eq!(third.status, 503, "{}", third.text());
    assert!(third.text().contains("too many bookings are held"), "{}", third.text());
    tell(&proxy, &first, "end", "").await;
    assert_eq!(select(&proxy, "", &[], &body).await.status, 200);

    for (query, status, said) in [
        ("?path=/metrics", 400, "?path="),
        ("?hold=2m", 400, "limits.select.hold"),
        ("?hold=soon", 400, "?hold="),
        ("/more", 404, "no such path"),
    ] {
        let refused = select(&proxy, query, &[], &body).await;
        assert!(refused.status == status && refused.text().contains(said), "{query}: {}", refused.text());
    }
    let odd = proxy.admin.send(Method::POST, "/v1/pools/main/bookings/7/end", &[], "").await;
    assert_eq!(odd.status, 404);
    let odd = tell(&proxy, &first, "end", r#"{"run": 1}"#).await;
    assert_eq!(odd.status, 400, "{}", odd.text());
    fleet.stop().await;
}

#[tokio::test]
async fn a_body_that_no_engine_would_take_is_refused_as_a_client_would_be() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let path = "/v1/pools/main/select";
    let refused = proxy.admin.send(Method::POST, path, &[], "{\"messages\":").await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    fleet.workers()[0].fault(rankwise_sim::Fault::RefuseConnections);
    wait_until("the ranks to be lost", async || {
        proxy.ranks().await.iter().all(|rank| rank["availability"] != "ready")
    })
    .await;
    let refused = select(&proxy, "", &[], &chat("hello")).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    fleet.stop().await;
}
