//! Where token ids come from, and what happens where they come from nowhere.

use rankwise_sim::{EngineWire, Fleet, FleetSpec};
use serde_json::json;

use crate::harness::{Proxy, all_at_once, chat, fast, fleet, metric, text, wait_until};

async fn prompts(proxy: &Proxy, source: &str) -> f64 {
    metric(&proxy.metrics().await, "rankwise_prompts_total", &[&format!("source=\"{source}\"")])
}

/// Requests that reached the fleet at this path.
fn asked(fleet: &Fleet, path: &str) -> usize {
    fleet.workers().iter().flat_map(|worker| worker.arrivals()).filter(|arrival| arrival.path == path).count()
}

#[tokio::test]
async fn prompts_are_counted_by_where_their_ids_come_from() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let body = chat(&text(1, 100));
    for _ in 0..3 {
        assert_eq!(proxy.client.chat(&body).await.status, 200);
    }
    let given = json!({ "model": "sim", "prompt": [300, 301, 302], "max_tokens": 1 });
    assert_eq!(proxy.client.post("/v1/completions", &given).await.status, 200);
    assert_eq!(prompts(&proxy, "local").await, 3.0);
    assert_eq!(prompts(&proxy, "given").await, 1.0);
    // A policy that does not look at prompts has none read.
    proxy.activate("round-robin", json!({})).await;
    assert_eq!(proxy.client.chat(&body).await.status, 200);
    assert_eq!(prompts(&proxy, "local").await, 3.0);
    fleet.stop().await;
}

/// Where SGLang's way of reading chats is another than vLLM's: parts, tools, a last message of the assistant's.
#[tokio::test]
async fn chats_are_predicted_as_their_engine_reads_them() {
    for engine in [EngineWire::Sglang, EngineWire::Vllm] {
        let fleet = fleet(FleetSpec { engine, workers: 1, ranks: 2, ..fast() }).await;
        let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
        let tool =
            json!({ "type": "function", "function": { "parameters": { "type": "object" }, "name": "f" } });
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": text(1, 100) }]);
        let body = json!({
            "model": "sim", "max_tokens": 1, "tools": [tool], "tool_choice": "auto",
            "messages": [{ "role": "user", "content": parts }, { "role": "assistant", "content": text(2, 60) }],
        });
        for round in 0..3 {
            proxy.settled(&fleet).await;
            let reply = proxy.client.chat(&body).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let expected = reply.promised_tokens();
            assert_eq!(reply.cached_tokens(), expected, "{engine:?}, round {round}");
            assert_eq!(expected >= 64, round > 0, "{engine:?}, round {round}: {expected}");
        }
        fleet.stop().await;
    }
}

/// The model card names a folder that is not here.
#[tokio::test]
async fn without_a_tokenizer_the_engine_is_asked_once_per_prompt() {
    let folder = tempfile::tempdir().expect("a folder");
    let spec = FleetSpec { workers: 2, ranks: 2, state_dir: Some(folder.path().join("model")), ..fast() };
    let fleet = fleet(spec).await;
    std::fs::remove_dir_all(folder.path().join("model")).expect("the fleet has read it");
    let proxy = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    let before = asked(&fleet, "/tokenize");
    let text_prompt = json!({ "model": "sim", "prompt": text(9, 100), "max_tokens": 2 });
    for round in 0..3 {
        for seed in 0..4 {
            proxy.settled(&fleet).await;
            let reply = proxy.client.chat(&chat(&text(seed, 100))).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.cached_tokens(), reply.promised_tokens());
            assert_eq!(reply.cached_tokens() >= 64, round > 0);
        }
        let reply = proxy.client.post("/v1/completions", &text_prompt).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    assert_eq!(prompts(&proxy, "engine").await, 15.0);
    assert_eq!(asked(&fleet, "/tokenize") - before, 5);
    fleet.stop().await;
}

#[tokio::test]
async fn a_generic_engine_is_routed_by_load_and_told_no_rank() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..FleetSpec::default() }).await;
    let workers: Vec<String> = fleet
        .workers()
        .iter()
        .enumerate()
        .flat_map(|(number, worker)| {
            ["--worker".to_owned(), format!("{},engine=generic,name=w{number}", worker.url())]
        })
        .collect();
    let proxy = Proxy::start(&[workers, vec!["--policy".to_owned(), "kv".to_owned()]].concat()).await;
    proxy.ready().await;
    // The same prompt each time: were it read, it would stay where it is cached.
    let replies = all_at_once(&proxy, "/v1/chat/completions", vec![chat(&text(1, 100)); 32], 8).await;
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("x-rankwise-dp-rank"), "", "no rank was chosen");
        assert_eq!(reply.header("x-rankwise-expected-cached-tokens"), "", "nothing is promised");
    }
    let generated = |worker: &rankwise_sim::WorkerHandle| {
        let all = worker.arrivals();
        all.into_iter().filter(|arrival| arrival.path == "/v1/chat/completions").collect::<Vec<_>>()
    };
    for worker in fleet.workers() {
        let arrivals = generated(worker);
        assert!(
            (10..=22).contains(&arrivals.len()),
            "worker {} got {} of 32",
            worker.index(),
            arrivals.len()
        );
        assert!(arrivals.iter().all(|arrival| arrival.rank_headers().is_empty()));
    }
    assert_eq!(prompts(&proxy, "none").await, 32.0);
    fleet.stop().await;
}

/// The proxy is given another chat template than the engines use.
#[tokio::test]
async fn overlap_is_approximate_where_the_engines_token_ids_are_others() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, ..fast() }).await;
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let own = fleet.workers()[0].tokenizer_folder().join(file);
        std::fs::copy(own, folder.path().join(file)).expect("copied");
    }
    let template = "{% for m in messages %}another {{ m.content }}{% endfor %}";
    std::fs::write(folder.path().join("chat_template.jinja"), template).expect("written");
    let other = folder.path().display().to_string();
    let wrong = Proxy::serving(&fleet, &["--policy", "kv", "--tokenizer", &other]).await;
    wrong.all_ready(&fleet).await;
    let checked = async |proxy: &Proxy, result: &str| {
        let labels = ["engine=\"vllm\"", "model=\"sim\"", &format!("result=\"{result}\"")];
        metric(&proxy.metrics().await, "rankwise_prompt_blocks_total", &labels)
    };
    for seed in 0..40 {
        assert_eq!(wrong.client.chat(&chat(&text(seed, 300))).await.status, 200);
    }
    wait_until("the contradiction", async || {
        metric(&wrong.metrics().await, "rankwise_overlap_approximate", &[]) > 0.0
    })
    .await;
    assert!(checked(&wrong, "unconfirmed").await >= 200.0);
    let pools = wrong.admin.get("/v1/pools").await.json();
    let overlap = &pools["pools"][0]["overlap"];
    assert_eq!(overlap["approximate"], true);
    assert!(overlap["reasons"][0].as_str().expect("a reason").contains("token ids are others"), "{overlap}");
    let ready = wrong.status.get("/readyz").await;
    assert!(
        ready.status == 200 && ready.text().contains("overlap approximate: worker w0 rank"),
        "{}",
        ready.text()
    );
    assert!(wrong.log().iter().any(|line| line.contains("overlap approximate")));
    drop(wrong);

    let right = Proxy::serving(&fleet, &["--policy", "kv"]).await;
    right.all_ready(&fleet).await;
    for seed in 100..140 {
        assert_eq!(right.client.chat(&chat(&text(seed, 300))).await.status, 200);
    }
    wait_until("a sample of each rank", async || checked(&right, "confirmed").await >= 500.0).await;
    assert_eq!(metric(&right.metrics().await, "rankwise_overlap_approximate", &[]), 0.0);
    fleet.stop().await;
}
