//! A canary decides for its share, a shadow decides along, receipts tell why.

use super::*;
use crate::harness::{all_at_once, completion, policy_text};

const CANARY: &str = "/v1/pools/main/canary";
const SHADOW: &str = "/v1/pools/main/shadow";
/// Every decision leaves a receipt.
const ALL: &str = "decisions: { sample_permille: 1000 }\npools: [{ policy: { name: kv } }]\n";

async fn put(proxy: &Proxy, path: &str, body: Value) -> Reply {
    proxy.admin.send(Method::PUT, path, &[], body.to_string()).await
}

async fn delete(proxy: &Proxy, path: &str) -> Reply {
    proxy.admin.send(Method::DELETE, path, &[], "").await
}

#[tokio::test]
async fn a_canary_decides_for_its_share_by_session_and_is_promoted() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let started = put(&proxy, CANARY, json!({ "policy": "random", "percent": 50, "by": "session" })).await;
    assert_eq!(started.status, 200, "{}", started.text());
    let mut canaries = 0;
    for session in 0..24 {
        let session = format!("s{session}");
        let headers = [("x-session-id", session.as_str()), ("content-type", "application/json")];
        let ask = async || {
            let body = chat(&text(1, 10)).to_string();
            decided_by(&proxy.client.send(Method::POST, "/v1/chat/completions", &headers, body).await)
        };
        let first = ask().await;
        assert_eq!(ask().await, first, "a session is decided for by one policy");
        canaries += usize::from(first == "random");
    }
    assert!((1..24).contains(&canaries), "{canaries} of 24 sessions");
    let counted = proxy.metric("rankwise_lane_decisions_total", "lane=\"canary\"").await;
    assert_eq!(counted as usize, 2 * canaries);

    let promoted = proxy.admin.send(Method::POST, &format!("{CANARY}/promote"), &[], "").await;
    assert_eq!(promoted.json()["policy"], "random@1", "{}", promoted.text());
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "random");
    assert_eq!(proxy.admin.get(CANARY).await.json(), Value::Null);
    assert_eq!(delete(&proxy, CANARY).await.status, 409);
    assert_eq!(
        steps(&proxy).await[..2],
        [["promoted", "random@1", "chosen"], ["canary", "random@1", "chosen"]]
    );
    fleet.stop().await;
}

#[tokio::test]
async fn a_canary_that_fails_fails_no_request_and_is_dropped() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let traps = policy_text::policy(
        "(if (i64.gt_u (local.get $sequence) (i64.const 0)) (then unreachable)) (call $rank (i32.const 0))",
    );
    assert_eq!(proxy.upload("traps", &traps).await.status, 201);
    assert_eq!(put(&proxy, CANARY, json!({ "policy": "traps", "percent": 100 })).await.status, 200);
    let bodies = (0..40).map(|number| chat(&text(number, 10))).collect();
    for reply in all_at_once(&proxy, "/v1/chat/completions", bodies, 4).await {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(proxy.admin.get(CANARY).await.json(), Value::Null);
    assert_eq!(steps(&proxy).await[0], ["failures", "traps@1", "chosen"]);
    assert_eq!(decided_by(&proxy.client.chat(&chat("hello")).await), "kv");
    for wrong in
        [json!({ "policy": "kv", "percent": 0 }), json!({ "policy": "none", "percent": 5 }), json!({})]
    {
        assert!(put(&proxy, CANARY, wrong).await.status.is_client_error());
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_shadow_decides_along_and_is_not_followed() {
    let fleet = two_ranks().await;
    let proxy = Proxy::serving(&fleet, &["--policy", "least-loaded"]).await;
    assert_eq!(put(&proxy, SHADOW, json!({ "policy": "kv" })).await.status, 200);
    // One prompt again and again: kv would send it where it is cached.
    for _ in 0..12 {
        let reply = proxy.client.post("/v1/completions", &completion(1, 200)).await;
        assert_eq!(decided_by(&reply), "least-loaded");
    }
    let compared = async || proxy.admin.get(SHADOW).await.json()["compared"].clone();
    wait_until("the shadow to have decided along", async || {
        let compared = compared().await;
        compared["agreed"].as_u64().unwrap_or(0) + compared["differed"].as_u64().unwrap_or(0) == 12
    })
    .await;
    let compared = compared().await;
    assert_eq!((&compared["failed"], &compared["dropped"]), (&json!(0), &json!(0)), "{compared}");
    let tokens = &compared["expected_cached_tokens"];
    assert!(tokens["shadow"].as_u64() > Some(0), "{compared}");
    assert!(tokens["shadow"].as_u64() >= tokens["followed"].as_u64(), "{compared}");
    let counted = proxy.metric("rankwise_shadow_decisions_total", "").await;
    assert_eq!(counted, 12.0);
    assert_eq!(delete(&proxy, SHADOW).await.json()["policy"], "kv@1");
    assert_eq!(proxy.admin.get(SHADOW).await.json(), Value::Null);
    fleet.stop().await;
}

#[tokio::test]
async fn a_receipt_tells_what_the_policy_saw_and_what_became_of_it() {
    let fleet = two_ranks().await;
    let proxy = Proxy::configured(&fleet, ALL, &[]).await;
    proxy.client.post("/v1/completions", &completion(1, 200)).await;
    proxy.settled(&fleet).await;
    let reply = proxy.client.post("/v1/completions", &completion(1, 200)).await;
    let id = reply.header("x-request-id").to_owned();
    let mut receipt = Value::Null;
    wait_until("the receipt and its truth", async || {
        let path = format!("/v1/pools/main/decisions?request_id={id}&limit=1");
        receipt = proxy.admin.get(&path).await.json()["decisions"][0].clone();
        !receipt["truth"].is_null()
    })
    .await;
    assert_eq!(receipt["policy"], "kv@1");
    assert_eq!(receipt["rows"].as_array().map(Vec::len), Some(2), "{receipt}");
    assert_eq!(receipt["chosen"]["dp_rank"], reply.number("x-rankwise-dp-rank"));
    assert_eq!(receipt["truth"]["cached_tokens"], reply.cached_tokens());
    let columns: Vec<&str> =
        receipt["columns"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let overlap = columns.iter().position(|name| *name == "device-overlap").expect("the column");
    let chosen = receipt["chosen"]["row"].as_u64().expect("a row") as usize;
    assert_eq!(receipt["rows"][chosen]["figures"][overlap], reply.number("x-rankwise-overlap-blocks"));
    let text = receipt.to_string();
    assert!(!text.contains("prompt\":["), "no prompt in a receipt");
    fleet.stop().await;
}

#[tokio::test]
async fn receipts_keep_no_replaced_policy_alive() {
    let fleet = two_ranks().await;
    let yaml = "decisions: { sample_permille: 1000 }\npools: [{ policy: { name: least-loaded } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    // More activations than there is room for instances, each with a decision that leaves a receipt.
    for turn in 0..40 {
        let policy = ["power-of-two", "random"][turn % 2];
        let activated = proxy.activate(policy, json!({})).await;
        assert_eq!(activated.status, 200, "turn {turn}: {}", activated.text());
        assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_receipt_is_made_on_demand() {
    let fleet = two_ranks().await;
    let yaml = "decisions: { sample_permille: 0 }\npools: [{ policy: { name: least-loaded } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    const DECISIONS: &str = "/v1/pools/main/decisions";
    let wanted = json!({ "request_id": "the-one" });
    assert_eq!(proxy.admin.post(DECISIONS, &wanted).await.status, 202);
    for id in ["another", "the-one"] {
        let headers = [("x-request-id", id)];
        let reply =
            proxy.client.send(Method::POST, "/v1/chat/completions", &headers, chat("hi").to_string()).await;
        assert_eq!(reply.status, 200);
    }
    let receipts = async || proxy.admin.get(DECISIONS).await.json()["decisions"].clone();
    wait_until("the receipt", async || receipts().await[0]["truth"].is_object()).await;
    let receipts = receipts().await;
    assert_eq!(receipts.as_array().map(Vec::len), Some(1), "{receipts}");
    assert_eq!(receipts[0]["request_id"], "the-one");
    fleet.stop().await;
}

#[tokio::test]
async fn a_recording_is_decided_again_exactly() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = format!(
        "decisions: {{ sample_permille: 1000, recording: {{ folder: {} }} }}\npools: [{{ policy: {{ name: kv }} }}]\n",
        folder.path().display()
    );
    let mut proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    for seed in [1, 2, 1, 3, 1, 2] {
        assert_eq!(proxy.client.post("/v1/completions", &completion(seed, 200)).await.status, 200);
    }
    proxy.terminate();
    assert_eq!(proxy.ended().await, Some(0));
    let file =
        std::fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("an entry").path();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_rankwise"))
        .args(["replay", &file.display().to_string(), "--json", "--policy", "kv", "--policy", "round-robin"])
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["decisions"], 6);
    let [same, other] = [&report["policies"][0], &report["policies"][1]];
    assert_eq!((&same["same"], &same["different"]), (&json!(6), &json!(0)), "{report:#}");
    assert_eq!(other["failed"], 0, "{report:#}");
    assert!(report["actual_cached_tokens"].as_u64() > Some(0), "{report:#}");
    fleet.stop().await;
}
