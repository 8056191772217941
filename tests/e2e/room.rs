//! Ranks that have no room for a request are in no policy's table.

use rankwise_sim::FleetSpec;
use serde_json::{Value, json};

use crate::harness::{Proxy, completion, fast, fleet, requests, wait_until};

const COMPLETIONS: &str = "/v1/completions";

fn room(rule: Value, more: Value) -> String {
    // JSON is YAML.
    json!({ "pools": [{ "policy": { "name": "round-robin" }, "room": rule, "limits": more }] }).to_string()
}

async fn left_out(proxy: &Proxy, reason: &str) -> f64 {
    proxy.metric("rankwise_filtered_rows_total", &format!("reason=\"{reason}\"")).await
}

#[tokio::test]
async fn a_request_that_fits_nowhere_waits_until_something_ends() {
    // 48 usable blocks a rank; a request takes 39 and one of output.
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, blocks_per_rank: 49, ..fast() }).await;
    let proxy = Proxy::configured(&fleet, &room(json!({ "blocks": true }), json!({})), &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    fleet.hold();
    let body = |seed| completion(seed, 620);
    let at_once = |seed| {
        let client = proxy.client;
        async move { client.post(COMPLETIONS, &body(seed)).await.status.as_u16() }
    };
    let before: u64 = requests(&fleet).iter().sum();
    let watch = async {
        wait_until("the third to wait", async || proxy.metric("rankwise_queued_requests", "").await == 1.0)
            .await;
        let came: Vec<u64> = requests(&fleet);
        fleet.release();
        came
    };
    let (first, second, third, came) = tokio::join!(at_once(1), at_once(2), at_once(3), watch);
    assert_eq!([first, second, third], [200; 3]);
    assert_eq!(came.iter().sum::<u64>() - before, 2, "one on each rank: {came:?}");
    assert!(left_out(&proxy, "no_room").await >= 2.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_group_is_given_one_long_prompt_at_a_time() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 4, ..fast() }).await;
    let rule = json!({ "long_prefill_tokens": 500 });
    let proxy = Proxy::configured(&fleet, &room(rule, json!({ "wait_timeout": "200ms" })), &[]).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    fleet.hold();
    let ask = |seed, tokens| {
        let client = proxy.client;
        async move { client.post(COMPLETIONS, &completion(seed, tokens)).await }
    };
    let before: u64 = requests(&fleet).iter().sum();
    let watch = async {
        wait_until("the long one to arrive", async || requests(&fleet).iter().sum::<u64>() > before).await;
        let refused = ask(2, 600).await;
        assert_eq!((refused.status.as_u16(), refused.header("x-rankwise-error")), (503, "queue"));
        let short = async {
            wait_until("the short one to arrive", async || {
                requests(&fleet).iter().sum::<u64>() == before + 2
            })
            .await;
            fleet.release();
        };
        tokio::join!(ask(3, 400), short).0
    };
    let (long, short) = tokio::join!(ask(1, 600), watch);
    assert_eq!((long.status.as_u16(), short.status.as_u16()), (200, 200));
    assert!(left_out(&proxy, "long_prefill").await >= 4.0);
    assert_eq!(ask(4, 600).await.status, 200, "nothing long is left");
    fleet.stop().await;
}
