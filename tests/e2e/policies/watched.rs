//! The file that the config names is followed.

use super::*;

#[tokio::test]
async fn new_content_is_activated_and_bad_content_changes_nothing() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.wasm");
    let put = |bytes: &[u8]| {
        // As a deployment does it: written beside, then renamed.
        let beside = folder.path().join("mine.new");
        std::fs::write(&beside, bytes).expect("a file");
        std::fs::rename(&beside, &file).expect("a rename");
    };
    put(&component("least-loaded"));
    let yaml = format!(
        "policy_host: {{ watch_interval: 20ms }}\npools: [{{ policy: {{ file: {} }} }}]\n",
        file.display()
    );
    let proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-policy"), "mine@1");
    let digest = async || proxy.admin.get(POLICY).await.json()["active"]["digest"].clone();
    let first = digest().await;

    put(b"no component at all");
    wait_until("the bad file to be refused", async || {
        proxy.metric("rankwise_policy_refusals_total", "cause=\"file\"").await > 0.0
    })
    .await;
    assert_eq!(digest().await, first);
    let log = proxy.admin.get("/v1/pools/main/policy/log").await.json();
    assert!(log["steps"][0]["error"].as_str().is_some_and(|error| error.contains("a text file")), "{log}");
    assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-policy"), "mine@1");

    put(&component("random"));
    wait_until("the new file to be in force", async || digest().await != first).await;
    assert_eq!(steps(&proxy).await[0], ["file", "mine@2", "chosen"]);
    assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-policy"), "mine@2");
    fleet.stop().await;
}
