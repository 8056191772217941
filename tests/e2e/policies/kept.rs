//! What is activated over the admin API outlives the process, until the config says otherwise.

use std::path::Path;
use std::process::Command;

use super::*;

fn config(state: &Path, policy: &str) -> String {
    format!("state_dir: {}\npools: [{{ policy: {policy} }}]\n", state.display())
}

/// What `rankwise policy` prints when it is run against this proxy.
fn command(proxy: &Proxy, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rankwise"))
        .arg("policy")
        .args(arguments)
        .args(["--admin", &format!("http://{}", proxy.admin.address())])
        .output()
        .expect("runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test]
async fn an_activation_outlives_the_process_until_its_entry_changes() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let wasm = folder.path().join("mine.wasm");
    std::fs::write(&wasm, component("least-loaded")).expect("a file");
    let state = folder.path().join("state");
    let yaml = config(&state, "{ name: kv }");

    let mut proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    let pushed =
        command(&proxy, &["push", wasm.to_str().expect("UTF-8"), "--who", "ci", "--reason", "a try"]);
    assert!(pushed.starts_with("mine@1 sha256:"), "{pushed}");
    assert_eq!(
        command(&proxy, &["activate", "mine", "--reason", "less load"]),
        "pool main: mine@1 decides\n"
    );
    let listed = command(&proxy, &["list"]);
    assert!(listed.contains("ci a try"), "{listed}");
    assert_eq!(proxy.admin.get(POLICY).await.json()["kept"], true);
    proxy.terminate();
    assert_eq!(proxy.ended().await, Some(0));

    let mut again = Proxy::configured(&fleet, &yaml, &[]).await;
    assert_eq!(decided_by(&again.client.chat(&chat("hello")).await), "mine");
    assert_eq!(steps(&again).await, [["kept", "mine@1", "chosen"]]);
    let log = again.admin.get("/v1/pools/main/policy/log").await.json();
    assert_eq!(log["steps"][0]["reason"], "less load");
    // What was uploaded is there as well, under its number.
    assert_eq!(again.admin.get("/v1/policies/mine@1").await.json()["who"], "ci");
    again.terminate();
    assert_eq!(again.ended().await, Some(0));

    let changed = Proxy::configured(&fleet, &config(&state, "{ name: random }"), &[]).await;
    assert_eq!(decided_by(&changed.client.chat(&chat("hello")).await), "random");
    assert_eq!(changed.admin.get(POLICY).await.json()["kept"], false);
    fleet.stop().await;
}

#[tokio::test]
async fn a_torn_file_is_ignored_and_said() {
    let fleet = two_ranks().await;
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = config(folder.path(), "{ name: kv }");
    let mut proxy = Proxy::configured(&fleet, &yaml, &[]).await;
    assert_eq!(proxy.activate("random", json!({})).await.status, 200);
    proxy.terminate();
    assert_eq!(proxy.ended().await, Some(0));

    let kept = folder.path().join("pools/main.json");
    let whole = std::fs::read(&kept).expect("what was kept");
    std::fs::write(&kept, &whole[..whole.len() / 2]).expect("a file");
    let again = Proxy::configured(&fleet, &yaml, &[]).await;
    assert_eq!(decided_by(&again.client.chat(&chat("hello")).await), "kv");
    let said = again.log().iter().any(|line| line.contains("main.json: torn"));
    assert!(said, "{:#?}", again.log());
    fleet.stop().await;
}

#[tokio::test]
async fn only_the_pinned_component_is_taken() {
    let other = "a".repeat(64);
    let yaml = format!("pools: [{{ policy: {{ name: kv, digest: 'sha256:{other}' }} }}]\n");
    let (folder, mut arguments) = crate::harness::config_file(&yaml);
    arguments.extend(["--worker", "http://127.0.0.1:9"].map(str::to_owned));
    let output = Command::new(env!("CARGO_BIN_EXE_rankwise"))
        .args(["serve", "--listen", "127.0.0.1:0", "--status", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .expect("runs");
    drop(folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("only sha256:{other} is taken")), "{said}");
}
