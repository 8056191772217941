//! Policies that tell scores, and policies that learn.

use super::*;

const SHADOW: &str = "/v1/pools/main/shadow";

/// Receipts of all decisions, the newest first.
async fn receipts(proxy: &Proxy) -> Vec<Value> {
    let reply = proxy.admin.get("/v1/pools/main/decisions?limit=100").await.json();
    reply["decisions"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn scores_stand_in_receipts_and_a_shadow_tells_its_distance() {
    let fleet = two_ranks().await;
    let yaml = "decisions: { sample_permille: 1000 }\npools: [{ policy: { name: weighted, settings: { weights: { dp-rank: 8 } } } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    let body = json!({ "policy": "weighted", "settings": { "weights": { "dp-rank": -0.5 } } });
    let started = proxy.admin.send(Method::PUT, SHADOW, &[], body.to_string()).await;
    assert_eq!(started.status, 200, "{}", started.text());
    for _ in 0..4 {
        let reply = proxy.client.chat(&chat("hello")).await;
        assert_eq!((reply.status.as_u16(), reply.number("x-rankwise-dp-rank")), (200, 0));
    }
    wait_until("four receipts", async || receipts(&proxy).await.len() == 4).await;
    for receipt in receipts(&proxy).await {
        let scores: Vec<_> =
            receipt["rows"].as_array().expect("rows").iter().map(|row| row["score"].as_f64()).collect();
        assert_eq!(scores, [Some(0.0), Some(8.0)], "{receipt}");
        assert_eq!(receipt["margin"].as_f64(), Some(8.0));
    }
    let shadow = proxy.admin.get(SHADOW).await.json();
    let text = shadow.to_string();
    assert!(text.contains("\"differed\":4"), "{text}");
    // Each finds its own choice better by what it would cost it to follow the other.
    assert!(text.contains("\"score_distance\":{\"by_followed\":8.0,\"by_shadow\":0.5}"), "{text}");
    for (of, distance) in [("followed", 8.0), ("shadow", 0.5)] {
        let label = format!("of=\"{of}\"");
        assert_eq!(proxy.metric("rankwise_shadow_score_distance", &label).await, distance);
    }
    fleet.stop().await;
}

#[tokio::test]
async fn what_a_policy_learned_is_what_its_next_picks_are_given() {
    let fleet = two_ranks().await;
    let yaml = "decisions: { sample_permille: 1000 }\npools: [{ policy: { name: quickest-prefill } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    let learned = |receipt: &Value, rank: usize| {
        let columns = receipt["columns"].as_array().expect("columns");
        let at = columns.iter().position(|name| name == "learned").expect("the column");
        receipt["rows"][rank]["figures"][at].as_u64().expect("a figure")
    };
    let mut seed = 0;
    wait_until("both ranks' speed to be known", async || {
        seed += 1;
        let reply = proxy.client.chat(&streamed(chat(&text(seed, 600)))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        receipts(&proxy).await.first().is_some_and(|receipt| (0..2).all(|rank| learned(receipt, rank) > 0))
    })
    .await;
    let all = receipts(&proxy).await;
    assert_eq!([0, 1].map(|rank| learned(&all[all.len() - 1], rank)), [0, 0], "nothing was known at first");
    assert!(all.iter().all(|receipt| receipt["policy"] == "quickest-prefill@1"), "{:?}", all[0]);
    assert_eq!(proxy.metric("rankwise_policy_failures_total", "").await, 0.0);
    fleet.stop().await;
}
