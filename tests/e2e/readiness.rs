//! `/readyz`: when traffic may come, and what it says is missing.

use std::process::Command;

use rankwise_sim::FleetSpec;
use serde_json::json;
use tokio::net::TcpListener;

use crate::harness::{Proxy, chat, config_file, fast, fleet, wait_until, worker_flags};

/// Probes are patient, so that a worker that is silent at the start stays unheard for the length of a test.
const PATIENT: &str = "limits: { upstream: { probe_timeout: 60s } }\n";

async fn readiness(proxy: &Proxy) -> (u16, String) {
    let reply = proxy.status.get("/readyz").await;
    (reply.status.as_u16(), reply.text())
}

/// Waits until its page contains `words`; the status then.
async fn says(proxy: &Proxy, words: &str) -> u16 {
    let mut status = 0;
    wait_until(&format!("/readyz to say {words:?}"), async || {
        let (now, text) = readiness(proxy).await;
        status = now;
        text.contains(words)
    })
    .await;
    status
}

async fn ready_ranks(proxy: &Proxy) -> usize {
    proxy.ranks().await.iter().filter(|rank| rank["availability"] == "ready").count()
}

/// A port that takes connections and says nothing.
async fn silent_worker(name: &str) -> (TcpListener, [String; 2]) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    (listener, ["--worker".to_owned(), format!("http://{address},engine=vllm,name={name}")])
}

#[tokio::test]
async fn at_the_start_every_worker_is_heard_first() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let (silent, flag) = silent_worker("mute").await;
    let (_folder, mut arguments) = config_file(PATIENT);
    arguments.extend(worker_flags(&fleet));
    arguments.extend(flag);
    let proxy = Proxy::start(&arguments).await;
    wait_until("the other worker's ranks", async || ready_ranks(&proxy).await == 2).await;
    let (status, text) = readiness(&proxy).await;
    assert_eq!(status, 503, "{text}");
    assert_eq!(text, "not ready\npool main: worker mute: starting\n");

    // Gone is known to be gone: the others serve.
    drop(silent);
    assert_eq!(says(&proxy, "pool main: worker mute: unreachable: ").await, 200);
    let (_, text) = readiness(&proxy).await;
    assert!(text.starts_with("ready\n"), "{text}");

    // Nor does one that joins later take them out of service.
    let (_silent, flag) = silent_worker("late").await;
    let url = flag[1].split(',').next().expect("a URL");
    let joining = json!({ "url": url, "engine": "vllm", "name": "late" });
    assert_eq!(proxy.admin.post("/v1/pools/main/workers", &joining).await.status, 202);
    assert_eq!(says(&proxy, "pool main: worker late: starting").await, 200);
    fleet.stop().await;
}

#[tokio::test]
async fn every_pool_needs_a_rank() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let [first, second] = fleet.workers() else { panic!("two workers") };
    second.stop().await;
    let pool = |name: &str, url: String| {
        format!(
            "  - {{ name: {name}, models: [{name}], workers: [{{ name: {name}-0, url: '{url}', engine: vllm }}] }}\n"
        )
    };
    let yaml = format!("pools:\n{}{}", pool("a", first.url()), pool("b", second.url()));
    let (_folder, arguments) = config_file(&yaml);
    let proxy = Proxy::start(&arguments).await;
    assert_eq!(says(&proxy, "pool b: worker b-0: unreachable: ").await, 503);
    wait_until("the other pool to be no obstacle", async || !readiness(&proxy).await.1.contains("pool a"))
        .await;
    let (_, text) = readiness(&proxy).await;
    assert!(text.starts_with("not ready\npool b: no dp rank may be picked\n"), "{text}");
    second.start().await.expect("the same ports");
    proxy.ready().await;
    assert_eq!(readiness(&proxy).await.1, "ready\n");
    second.stop().await;
    assert_eq!(says(&proxy, "pool b: no dp rank may be picked").await, 503);
    fleet.stop().await;
}

/// The template is a pipe: reading it lasts as long as the test likes.
#[tokio::test]
async fn a_tokenizer_that_is_being_loaded_is_named() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tokenizer.json"), "{}").expect("written");
    let file = folder.path().join("chat_template.jinja");
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    let yaml = format!("pools: [{{ name: main, tokenizer: '{}' }}]\n", folder.path().display());
    let (_config, mut arguments) = config_file(&yaml);
    arguments.extend(worker_flags(&fleet));
    arguments.extend(["--policy".to_owned(), "kv".to_owned()]);
    let proxy = Proxy::start(&arguments).await;
    wait_until("the ranks", async || ready_ranks(&proxy).await == 2).await;
    let (status, text) = readiness(&proxy).await;
    assert_eq!(status, 503, "{text}");
    assert_eq!(text, "not ready\npool main: prompts are not read: the tokenizer is being loaded\n");
    // Who asks all the same is routed by load.
    assert_eq!(proxy.client.chat(&chat("hello")).await.status, 200);
    // Opening it for writing waits until it is read.
    let written = tokio::task::spawn_blocking(move || std::fs::write(file, "{{ messages }}"));
    written.await.expect("no panic").expect("written");
    assert_eq!(says(&proxy, "the tokenizer cannot be loaded").await, 503);
    fleet.stop().await;
}
