//! A policy that fails is answered for, then replaced, then tried again.

use super::*;
use crate::harness::{all_at_once, policy_text};

/// Loops on every third request, else the first row.
fn loops_on_every_third() -> Vec<u8> {
    policy_text::policy(
        "(if (i64.eq (i64.rem_u (local.get $sequence) (i64.const 3)) (i64.const 2)) (then (loop $on (br $on))))
         (call $rank (i32.const 0))",
    )
}

const CHAIN: &str = "policy_host: { failures: { count: 6, window: 1m, rearm_after: 1h } }\npools: [{ policy: { name: least-loaded } }]\n";

#[tokio::test]
async fn a_policy_that_runs_away_under_load_fails_no_request_and_is_replaced() {
    const CLIENTS: usize = 8;
    let fleet = two_ranks().await;
    let proxy = Proxy::configured(&fleet, CHAIN, &[]).await;
    assert_eq!(proxy.upload("loops", &loops_on_every_third()).await.status, 201);
    assert_eq!(proxy.activate("loops", json!({})).await.status, 200);
    let mut decided = std::collections::BTreeMap::<String, usize>::new();
    wait_until("the last good version to be back", async || {
        let bodies = (0..40).map(|number| chat(&text(number, 20))).collect();
        for reply in all_at_once(&proxy, "/v1/chat/completions", bodies, CLIENTS).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
            *decided.entry(reply.header("x-rankwise-policy").to_owned()).or_default() += 1;
        }
        proxy.admin.get(POLICY).await.json()["serving"] == "last_good"
    })
    .await;
    // Each failure was answered by the fallback, on the same snapshot; then, while it rested, the last good version took over,
    // and for good in the end.
    assert!(decided["fallback:least-loaded"] > 0, "{decided:?}");
    assert!(decided["least-loaded@1"] > 0, "{decided:?}");
    assert_eq!(steps(&proxy).await[0], ["failures", "loops@1", "last_good"]);
    let cut = proxy.metric("rankwise_policy_failures_total", "reason=\"deadline\"").await as usize;
    // Often enough to be replaced, by some at a time, and not every third request: it rested after each time.
    assert!((6..=6 + CLIENTS).contains(&cut), "{cut} {decided:?}");
    // One that met another booking was decided twice, and failed twice.
    assert!(cut >= decided["fallback:least-loaded"], "{cut} {decided:?}");
    assert_eq!(proxy.metric("rankwise_errors_total", "").await, 0.0);
    let policy = proxy.admin.get(POLICY).await.json();
    assert_eq!((&policy["serving"], &policy["active"]["policy"]), (&json!("last_good"), &json!("loops@1")));

    // Asked for again, it is armed again.
    assert_eq!(proxy.activate("loops", json!({})).await.status, 200);
    assert_eq!(proxy.admin.get(POLICY).await.json()["serving"], "chosen");
    fleet.stop().await;
}

#[tokio::test]
async fn without_a_last_good_version_the_fallback_decides_until_the_policy_is_tried_again() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("traps.wasm");
    // Sound when it is tried, bad from the third decision on.
    let traps = policy_text::policy(
        "(if (i64.ge_u (local.get $sequence) (i64.const 2)) (then unreachable)) (call $rank (i32.const 0))",
    );
    std::fs::write(&file, traps).expect("a file");
    let yaml = format!(
        "policy_host: {{ failures: {{ count: 3, rearm_after: 300ms }} }}\npools: [{{ policy: {{ file: {}, fallback: round-robin }} }}]\n",
        file.display()
    );
    let proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    wait_until("the policy to be tried again", async || {
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        proxy.metric("rankwise_policy_activations_total", "cause=\"rearmed\"").await > 0.0
    })
    .await;
    let steps = steps(&proxy).await;
    assert!(steps.contains(&["failures", "traps@1", "fallback"].map(str::to_owned)), "{steps:?}");
    assert!(steps.contains(&["rearmed", "traps@1", "chosen"].map(str::to_owned)), "{steps:?}");
    fleet.stop().await;
}

#[tokio::test]
async fn a_policy_that_rests_with_none_before_it_is_stood_in_for_by_the_fallback() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("loops.wasm");
    std::fs::write(&file, loops_on_every_third()).expect("a file");
    let yaml = format!(
        "policy_host: {{ failures: {{ rest: 1h }} }}\npools: [{{ policy: {{ file: {}, fallback: round-robin }} }}]\n",
        file.display()
    );
    let proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    let mut decided = Vec::new();
    for _ in 0..4 {
        decided.push(decided_by(&proxy.client.chat(&chat("hello")).await));
    }
    assert_eq!(decided, ["loops", "loops", "fallback:round-robin", "fallback:round-robin"]);
    let failures = async |reason: &str| {
        proxy.metric("rankwise_policy_failures_total", &format!("reason=\"{reason}\"")).await
    };
    assert_eq!((failures("deadline").await, failures("resting").await), (1.0, 1.0));
    assert_eq!(proxy.admin.get(POLICY).await.json()["serving"], "chosen");
    // Asked for again, it is asked again.
    let bytes = std::fs::read(&file).expect("the file");
    assert_eq!(proxy.upload("loops", &bytes).await.status, 201);
    assert_eq!(proxy.activate("loops", json!({})).await.status, 200);
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "loops");
    fleet.stop().await;
}
