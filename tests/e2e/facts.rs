//! What a policy is told of a request beside the table.

use http::Method;
use rankwise_sim::FleetSpec;

use crate::harness::{Proxy, assert_pinned, chat, decide_by, fast, fleet};

const CHAT: &str = "/v1/chat/completions";

/// The row that the first digit of the header names; row 0 without one.
const BY_HEADER: &str = "(if (i32.eqz (local.get $texts)) (then (return (call $rank (i32.const 0)))))
    (call $rank (i32.sub (i32.load8_u (i32.load offset=8 (local.get $text))) (i32.const 48)))";

/// The rank of a request with this header.
async fn rank(proxy: &Proxy, fleet: &rankwise_sim::Fleet, header: Option<&str>) -> u32 {
    let headers: Vec<_> = header.into_iter().map(|value| ("x-rank", value)).collect();
    let reply = proxy.client.send(Method::POST, CHAT, &headers, chat("hello").to_string()).await;
    assert_pinned(fleet, &reply).1
}

#[tokio::test]
async fn a_policy_decides_by_a_header_that_the_config_allows() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 4, ..fast() }).await;
    let proxy = Proxy::configured(&fleet, "pools: [{ name: main, policy_headers: [X-Rank] }]\n", &[]).await;
    decide_by(&proxy, BY_HEADER).await;
    for header in ["3", "1", "2", "0", "3 and more"] {
        assert_eq!(rank(&proxy, &fleet, Some(header)).await.to_string(), header[..1], "{header}");
    }
    assert_eq!(rank(&proxy, &fleet, None).await, 0);
    let long = "3".repeat(5000);
    assert_eq!(rank(&proxy, &fleet, Some(&long)).await, 0, "over the bound: left out");
    fleet.stop().await;
}

#[tokio::test]
async fn and_by_no_other() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 4, ..fast() }).await;
    let proxy = Proxy::configured(&fleet, "pools: [{ name: main, policy_headers: [x-other] }]\n", &[]).await;
    decide_by(&proxy, BY_HEADER).await;
    assert_eq!(rank(&proxy, &fleet, Some("3")).await, 0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_policy_knows_how_long_the_engine_has() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let config = "pools: [{ name: main, limits: { first_byte_timeout: 54s } }]\n";
    let proxy = Proxy::configured(&fleet, config, &[]).await;
    decide_by(&proxy, "(call $rank (i64.eq (i64.load offset=48 (local.get $facts)) (i64.const 54000)))")
        .await;
    assert_eq!(rank(&proxy, &fleet, None).await, 1);
    fleet.stop().await;
}
