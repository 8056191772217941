//! Workers that a file or a name says are there: they come, change and go while requests flow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Client, Proxy, chat, fast, fleet, text, wait_until};

/// The file's next content, put in place as a whole.
fn write(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).expect("a file");
    std::fs::rename(next, path).expect("the same folder");
}

fn named(fleet: &Fleet, workers: &[usize], more: &Value) -> String {
    let workers: Vec<Value> = workers
        .iter()
        .map(|&number| {
            let mut worker = json!({ "url": fleet.workers()[number].url(), "engine": "vllm", "name": format!("w{number}") });
            if let (Some(worker), Some(more)) = (worker.as_object_mut(), more.as_object()) {
                worker.extend(more.clone());
            }
            worker
        })
        .collect();
    json!({ "workers": workers }).to_string()
}

/// Names and sources of the workers by the admin API, those that are ready alone.
async fn ready(proxy: &Proxy) -> Vec<(String, String)> {
    let workers = proxy.admin.get("/v1/pools/main/workers").await.json();
    let workers = workers["workers"].as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ready = workers.iter().filter(|worker| worker["state"] == "ready");
    ready.map(|worker| (word(&worker["name"]), word(&worker["source"]))).collect()
}

async fn become_ready(proxy: &Proxy, names: &[&str], source: &str) {
    let expected: Vec<_> = names.iter().map(|name| ((*name).to_owned(), source.to_owned())).collect();
    wait_until(&format!("{names:?} to be ready"), async || ready(proxy).await == expected).await;
}

/// One request after the other until told to stop; how many, and those that were not answered.
async fn traffic(client: Client, stop: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let (mut sent, mut failed) = (0, Vec::new());
    while !stop.load(Relaxed) {
        let reply = client.chat(&chat(&text(sent as u64, 50))).await;
        sent += 1;
        if reply.status != 200 {
            failed.push(reply.text());
        }
    }
    (sent, failed)
}

#[tokio::test]
async fn workers_of_a_file_come_change_and_go_under_traffic() {
    let fleet = fleet(FleetSpec { workers: 3, ranks: 2, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("workers.json");
    write(&path, &named(&fleet, &[0, 1], &json!({})));
    let file = path.display();
    let config = format!("pools: [{{ name: main, discovery: {{ file: '{file}', interval: 50ms }} }}]\n");
    let proxy = Proxy::configured_with(&config, &["--policy".to_owned(), "round-robin".to_owned()]).await;
    become_ready(&proxy, &["w0", "w1"], "file").await;

    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        clients.spawn(traffic(proxy.client, Arc::clone(&stop)));
    }
    write(&path, &named(&fleet, &[1, 2], &json!({})));
    become_ready(&proxy, &["w1", "w2"], "file").await;
    wait_until("the one that is no longer named to be gone", async || {
        !proxy.metrics().await.contains("worker=\"w0\"")
    })
    .await;

    // What cannot be read changes nothing, and is said.
    write(&path, "workers: [{ url: ftp://nowhere }]");
    wait_until("it to be said", async || {
        proxy.log().iter().any(|line| line.contains("workers' file") && line.contains("ftp"))
    })
    .await;
    become_ready(&proxy, &["w1", "w2"], "file").await;

    // The same workers, described otherwise: replaced under their names.
    write(&path, &named(&fleet, &[1, 2], &json!({ "weight": 500 })));
    wait_until("the new weight", async || {
        let ranks = proxy.ranks().await;
        ranks.len() == 4
            && ranks.iter().all(|rank| rank["weight_permille"] == 500 && rank["availability"] == "ready")
    })
    .await;
    assert!(proxy.metrics().await.contains("worker=\"w1\""), "its series went with its former self");

    stop.store(true, Relaxed);
    let (mut sent, mut failed) = (0, Vec::new());
    for (more, broken) in clients.join_all().await {
        sent += more;
        failed.extend(broken);
    }
    assert!(sent > 20, "{sent}");
    assert!(failed.is_empty(), "{failed:?}");
    fleet.stop().await;
}

/// Whoever is to take its place never comes.
#[tokio::test]
async fn a_worker_that_nobody_relieves_leaves_when_its_time_is_over() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 1, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("workers.json");
    write(&path, &named(&fleet, &[0], &json!({})));
    let file = path.display();
    let config = format!(
        "pools: [{{ name: main, discovery: {{ file: '{file}', interval: 50ms, handover_timeout: 5s }} }}]\n"
    );
    let proxy = Proxy::configured_with(&config, &[]).await;
    become_ready(&proxy, &["w0"], "file").await;
    fleet.workers()[1].stop().await;
    write(&path, &named(&fleet, &[1], &json!({})));
    let said = |what: &str| proxy.log().iter().any(|line| line.contains(what) && line.contains("w0"));
    wait_until("it to be taken note of", async || said("worker is no longer named")).await;
    // Nobody else may be picked: it stays, and serves.
    assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-worker"), "w0");
    wait_until("it to leave all the same", async || proxy.ranks().await.is_empty()).await;
    let reply = proxy.client.chat(&chat("hello")).await;
    assert_eq!(reply.status, 503, "{}", reply.text());
    fleet.workers()[1].start().await.expect("the same ports");
    become_ready(&proxy, &["w1"], "file").await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_one_source_names_no_other_takes_back() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 1, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("workers.json");
    write(&path, &named(&fleet, &[0], &json!({})));
    let file = path.display();
    let config = format!("pools: [{{ name: main, discovery: {{ file: '{file}', interval: 50ms }} }}]\n");
    let proxy = Proxy::configured_with(&config, &[]).await;
    let added = json!({ "url": fleet.workers()[1].url(), "engine": "vllm", "name": "w1" });
    assert_eq!(proxy.admin.post("/v1/pools/main/workers", &added).await.status, 202);
    write(&path, "workers: []");
    become_ready(&proxy, &["w1"], "admin").await;
    assert_eq!(proxy.client.chat(&chat("hello")).await.header("x-rankwise-worker"), "w1");
    fleet.stop().await;
}

#[tokio::test]
async fn workers_behind_a_name_are_found() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let url = fleet.workers()[0].url().replace("127.0.0.1", "localhost");
    let config =
        format!("pools: [{{ name: main, discovery: {{ dns: [{{ url: '{url}', engine: vllm }}] }} }}]\n");
    let proxy = Proxy::configured_with(&config, &[]).await;
    let reply = proxy.client.chat(&chat("hello")).await;
    // localhost may have an IPv6 address too, where nobody listens.
    let expected = fleet.workers()[0].url().replace("http://", "");
    assert_eq!((reply.status.as_u16(), reply.header("x-rankwise-worker")), (200, expected.as_str()));
    assert!(ready(&proxy).await.contains(&(expected, "dns".to_owned())));
    fleet.stop().await;
}
