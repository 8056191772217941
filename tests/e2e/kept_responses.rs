//! Responses that one server keeps: what refers to one comes to the server that made it, or is refused in words that say why.

use http::Method;
use rankwise_sim::{EngineWire, Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{
    Proxy, Reply, arrival_of, arrivals, chat, fast, fleet, refuse_connections, rest, streamed, text,
    wait_until,
};

const RESPONSES: &str = "/v1/responses";

async fn keeping(engine: EngineWire, workers: usize, ranks: usize) -> Fleet {
    fleet(FleetSpec { engine, workers, ranks, stores_responses: true, ..fast() }).await
}

fn question(seed: u64) -> Value {
    json!({ "model": chat("")["model"], "input": text(seed, 80), "max_output_tokens": 4 })
}

fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

fn after(id: &str, seed: u64) -> Value {
    with(question(seed), "previous_response_id", id)
}

async fn ask(proxy: &Proxy, body: &Value) -> Reply {
    proxy.client.post(RESPONSES, body).await
}

fn path(id: &str) -> String {
    format!("{RESPONSES}/{id}")
}

/// The id of a reply, whole or streamed.
fn id_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let response = match reply.events().first() {
        Some(created) => serde_json::from_str::<Value>(created).expect("JSON")["response"].clone(),
        None => reply.json(),
    };
    response["id"].as_str().expect("an id").to_owned()
}

fn worker_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.header("x-rankwise-worker").to_owned()
}

fn number_of(worker: &str) -> usize {
    worker.strip_prefix('w').expect("a name").parse().expect("a number")
}

/// The error, checked to be the proxy's own of this stage.
fn own_error(reply: &Reply, status: u16, stage: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("x-rankwise-error"), stage);
    reply.json()["error"].clone()
}

fn message(error: &Value) -> &str {
    error["message"].as_str().expect("a message")
}

async fn references(proxy: &Proxy, result: &str) -> f64 {
    proxy.metric("rankwise_response_references_total", &format!("result=\"{result}\"")).await
}

/// Every engine that keeps responses; whole, streamed, and each going on from the one before. The policy goes in turn, so that what
/// stays in one place does so for no reason but this.
#[tokio::test]
async fn what_goes_on_from_a_response_comes_to_the_server_that_made_it() {
    for engine in [EngineWire::Vllm, EngineWire::Sglang, EngineWire::Trtllm] {
        let fleet = keeping(engine, 3, 2).await;
        let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
        for (seed, streams) in [(0, false), (100, true), (200, false)] {
            let kind = |body| if streams { streamed(body) } else { body };
            let first = ask(&proxy, &kind(question(seed))).await;
            let (home, mut id) = (worker_of(&first), id_of(&first));
            for turn in 1..=4 {
                // One of a conversation of its own in between, streamed where the others are not.
                let other = if streams { question(seed + turn) } else { streamed(question(seed + turn)) };
                worker_of(&ask(&proxy, &other).await);
                let reply = ask(&proxy, &kind(after(&id, seed + turn))).await;
                assert_eq!(worker_of(&reply), home, "{engine:?}, turn {turn}");
                assert_eq!(format!("w{}", arrival_of(&fleet, &reply).worker), home);
                id = id_of(&reply);
            }
            // The first of them as well, again and again: a conversation may branch.
            assert_eq!(worker_of(&ask(&proxy, &after(&id_of(&first), seed + 9)).await), home);
        }
        assert_eq!((references(&proxy, "known").await, references(&proxy, "unknown").await), (15.0, 0.0));
        // What the server put before a prompt is not known, so nothing is said of what it found there.
        assert_eq!(proxy.metric("rankwise_expectation_total", "result=\"missed\"").await, 0.0);
        assert_eq!(proxy.metric("rankwise_prompt_blocks_total", "result=\"unconfirmed\"").await, 0.0);
        wait_until("nothing to be booked any more", async || {
            let ranks = proxy.ranks().await;
            ranks.iter().all(|rank| {
                rank["ledger"]["running"] == 0 && rank["condition"].as_u64().is_some_and(|bits| bits & 1 == 0)
            })
        })
        .await;
        fleet.stop().await;
    }
}

/// The simulated servers keep to themselves what they made: without this the tests above could not fail.
#[tokio::test]
async fn another_server_does_not_know_it() {
    let fleet = keeping(EngineWire::Vllm, 2, 1).await;
    let proxy =
        Proxy::configured(&fleet, "listeners: [{ address: 127.0.0.1:0, trust_pins: true }]\n", &[]).await;
    let pinned = async |worker: &str, body: Value| {
        proxy.client.send(Method::POST, RESPONSES, &[("x-rankwise-worker", worker)], body.to_string()).await
    };
    let id = id_of(&pinned("w0", question(0)).await);
    // A trusted client is obeyed, right or wrong.
    let elsewhere = pinned("w1", after(&id, 1)).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("x-rankwise-error")), (404, ""));
    assert_eq!(worker_of(&pinned("w0", after(&id, 1)).await), "w0");
    assert_eq!(worker_of(&ask(&proxy, &after(&id, 1)).await), "w0");
    fleet.stop().await;
}

#[tokio::test]
async fn the_policy_chooses_among_the_ranks_of_the_server_and_is_told_where_it_was_made() {
    let fleet = keeping(EngineWire::Sglang, 3, 4).await;
    let yaml = "decisions: { sample_permille: 1000 }\n";
    let proxy = Proxy::configured(&fleet, yaml, &[]).await;
    assert_eq!(proxy.activate("round-robin", json!({ "pin": "rank" })).await.status, 200);
    let first = ask(&proxy, &question(0)).await;
    let (home, id) = (worker_of(&first), id_of(&first));
    let mut ranks = std::collections::BTreeSet::new();
    for seed in 1..9 {
        let reply = ask(&proxy, &after(&id, seed)).await;
        assert_eq!(worker_of(&reply), home);
        ranks.insert(reply.number("x-rankwise-dp-rank"));
        let receipt = proxy.receipt(&reply).await;
        assert_eq!(receipt["rows"].as_array().map(Vec::len), Some(4), "{receipt}");
        let left_out = receipt["filtered"].as_array().expect("what was left out");
        assert_eq!(left_out.len(), 8);
        assert!(left_out.iter().all(|row| row["reason"] == "other_server" && row["worker"] != home.as_str()));
    }
    assert_eq!(ranks.len(), 4, "the policy goes on in turn");
    // One that keeps sessions on their rank is told the rank that made it, without any session.
    assert_eq!(proxy.activate("session-affinity", json!({})).await.status, 200);
    let rank = first.number("x-rankwise-dp-rank");
    for seed in 20..26 {
        let reply = ask(&proxy, &after(&id, seed)).await;
        assert_eq!((worker_of(&reply), reply.number("x-rankwise-dp-rank")), (home.clone(), rank));
        // What was said before is cached there, which the proxy cannot tell: so it promises nothing.
        assert!(
            reply.json()["usage"]["input_tokens_details"]["cached_tokens"].as_u64() > Some(0),
            "{}",
            reply.text()
        );
        assert!(!reply.headers.contains_key("x-rankwise-expected-cached-tokens"));
    }
    assert_eq!(proxy.metric("rankwise_expectation_total", "result=\"missed\"").await, 0.0);
    assert_eq!(proxy.metric("rankwise_prompt_blocks_total", "result=\"unconfirmed\"").await, 0.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_response_is_told_cancelled_and_deleted_where_it_is_kept() {
    let fleet = keeping(EngineWire::Vllm, 3, 2).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    for seed in 0..6 {
        let made = ask(&proxy, &question(seed)).await;
        let id = id_of(&made);
        // Settings in the query go nowhere.
        let told = proxy.client.get(&format!("{}?stream=false&x=1", path(&id))).await;
        assert_eq!((worker_of(&told), told.json()), (worker_of(&made), made.json()));
        assert_eq!(told.header("x-rankwise-policy"), "kept");
        assert!(!told.headers.contains_key("x-rankwise-dp-rank"));
        assert_eq!(arrival_of(&fleet, &told).path, format!("{}?stream=false", path(&id)));
    }
    // In the background: its id is there before it is.
    let long = json!({ "model": "sim", "input": "go on", "max_output_tokens": 2000, "background": true });
    fleet.hold();
    let queued = ask(&proxy, &long).await;
    let id = id_of(&queued);
    assert_eq!(queued.json()["status"], "queued");
    assert_eq!(proxy.client.get(&path(&id)).await.json()["status"], "queued");
    let cancel = proxy.client.post(&format!("{}/cancel", path(&id)), &json!({})).await;
    assert_eq!((worker_of(&cancel), &cancel.json()["status"]), (worker_of(&queued), &json!("cancelled")));
    let another = id_of(&ask(&proxy, &with(long, "max_output_tokens", 3)).await);
    fleet.release();
    wait_until("the response to be made", async || {
        proxy.client.get(&path(&another)).await.json()["status"] == "completed"
    })
    .await;
    worker_of(&ask(&proxy, &after(&another, 9)).await);
    // vLLM deletes nothing, and says so itself.
    let kept = proxy.client.send(Method::DELETE, &path(&another), &[], "").await;
    assert_eq!((kept.status.as_u16(), kept.header("x-rankwise-error")), (405, ""));
    assert_eq!(proxy.client.get(&path(&another)).await.status, 200);
    for (method, path) in [(Method::POST, path("r")), (Method::GET, format!("{}/cancel", path("r")))] {
        own_error(&proxy.client.send(method, &path, &[], "").await, 405, "head");
    }
    fleet.stop().await;

    let fleet = keeping(EngineWire::Trtllm, 2, 1).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    let id = id_of(&ask(&proxy, &question(0)).await);
    let deleted = proxy.client.send(Method::DELETE, &path(&id), &[], "").await;
    assert_eq!((deleted.status.as_u16(), &deleted.json()["deleted"]), (200, &json!(true)));
    assert_eq!(proxy.metric("rankwise_responses", "").await, 0.0);
    own_error(&proxy.client.get(&path(&id)).await, 404, "head");
    own_error(&ask(&proxy, &after(&id, 1)).await, 400, "body");
    fleet.stop().await;
}

#[tokio::test]
async fn what_nobody_is_known_to_keep_is_refused() {
    let fleet = keeping(EngineWire::Vllm, 2, 1).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let not_stored = id_of(&ask(&proxy, &with(question(0), "store", false)).await);
    let long = "x".repeat(10_000);
    for id in ["resp_of_another_proxy", &not_stored, "", "../../metrics", &long] {
        let error = own_error(&ask(&proxy, &after(id, 1)).await, 400, "body");
        assert_eq!(error["param"], "previous_response_id");
        assert!(message(&error).contains(&id[..id.len().min(64)]), "{error}");
        assert!(
            message(&error).ends_with("Send the whole input instead") && message(&error).len() < 400,
            "{error}"
        );
    }
    let error = own_error(&proxy.client.get(&path(&not_stored)).await, 404, "head");
    assert!(message(&error).contains(&not_stored), "{error}");
    own_error(&proxy.client.post(&format!("{}/cancel", path("unknown")), &json!({})).await, 404, "head");
    for (path, body) in [
        (RESPONSES, with(question(0), "conversation", "conv_1")),
        ("/v1/conversations", json!({})),
        ("/v1/files", json!({})),
        ("/v1/batches/b", json!({})),
    ] {
        let reply = proxy.client.post(path, &body).await;
        assert_eq!(reply.status, 400, "{path}: {}", reply.text());
    }
    assert_eq!(references(&proxy, "unknown").await, 7.0);
    assert_eq!(arrivals(&fleet).len(), 1, "nothing of it came to an engine");
    assert_eq!(proxy.metric("rankwise_responses", "").await, 0.0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_is_remembered_is_bounded_in_number_and_time() {
    let fleet = keeping(EngineWire::Vllm, 2, 1).await;
    let bounded = "pools: [{ name: main, responses: { remembered_max: 4 } }]\n";
    let proxy = Proxy::configured(&fleet, bounded, &[]).await;
    let mut ids = Vec::new();
    for seed in 0..12 {
        ids.push(id_of(&ask(&proxy, &question(seed)).await));
    }
    own_error(&ask(&proxy, &after(&ids[0], 20)).await, 400, "body");
    worker_of(&ask(&proxy, &after(&ids[11], 20)).await);
    assert!(proxy.metric("rankwise_responses", "").await <= 4.0);
    assert!(proxy.metric("rankwise_responses_evicted_total", "").await >= 8.0);

    let short = "pools: [{ name: main, responses: { ttl: 1ms } }]\n";
    let proxy = Proxy::configured(&fleet, short, &[]).await;
    let id = id_of(&ask(&proxy, &question(0)).await);
    wait_until("it to be forgotten", async || ask(&proxy, &after(&id, 1)).await.status == 400).await;
    assert_eq!(proxy.metric("rankwise_responses_evicted_total", "").await, 0.0, "its time was over");
    fleet.stop().await;
}

#[tokio::test]
async fn tenants_have_responses_of_their_own() {
    let fleet = keeping(EngineWire::Vllm, 2, 1).await;
    let yaml = "pools: [{ name: main, sessions: { tenant_header: x-tenant } }]\n";
    let proxy = Proxy::configured(&fleet, yaml, &["--policy", "round-robin"]).await;
    let of = async |tenant: &str, method: Method, path: &str, body: Value| {
        proxy.client.send(method, path, &[("x-tenant", tenant)], body.to_string()).await
    };
    let made = of("red", Method::POST, RESPONSES, question(0)).await;
    let id = id_of(&made);
    for tenant in ["blue", ""] {
        own_error(&of(tenant, Method::POST, RESPONSES, after(&id, 1)).await, 400, "body");
        own_error(&of(tenant, Method::GET, &path(&id), json!({})).await, 404, "head");
        own_error(&of(tenant, Method::DELETE, &path(&id), json!({})).await, 404, "head");
    }
    assert_eq!(worker_of(&of("red", Method::POST, RESPONSES, after(&id, 1)).await), worker_of(&made));
    assert_eq!(worker_of(&of("red", Method::GET, &path(&id), json!({})).await), worker_of(&made));
    fleet.stop().await;
}

#[tokio::test]
async fn a_server_that_is_lost_is_waited_for_and_none_else_is_asked() {
    let fleet = keeping(EngineWire::Vllm, 3, 2).await;
    let unwatched = "limits: { upstream: { probe_interval: 1m, load_interval: 1m, idle_timeout: 1ms } }\n";
    let proxy = Proxy::configured(&fleet, unwatched, &["--policy", "round-robin"]).await;
    let made = ask(&proxy, &question(0)).await;
    let (home, id) = (worker_of(&made), id_of(&made));
    let owner = &fleet.workers()[number_of(&home)];
    refuse_connections(owner).await;
    for worker in fleet.workers() {
        worker.clear_logs();
    }
    // The first finds out, and is not sent to another; what comes after it is told to come again.
    let refused = ask(&proxy, &after(&id, 1)).await;
    assert!(matches!(refused.header("x-rankwise-error"), "connect" | "decision"), "{}", refused.text());
    wait_until("the worker to be out", async || {
        proxy
            .ranks()
            .await
            .iter()
            .all(|rank| rank["worker"] != home.as_str() || rank["availability"] != "ready")
    })
    .await;
    let error = own_error(&ask(&proxy, &after(&id, 1)).await, 503, "decision");
    assert!(message(&error).contains(&id), "{error}");
    let told = proxy.client.get(&path(&id)).await;
    own_error(&told, 503, "decision");
    assert_eq!(told.header("retry-after"), "1");
    assert!(arrivals(&fleet).is_empty(), "{:?}", arrivals(&fleet));
    assert_eq!(ask(&proxy, &question(2)).await.status, 200, "others serve what refers to nothing");
    // Its port was closed, and nothing more: what it keeps it still has.
    owner.heal();
    proxy.all_ready(&fleet).await;
    assert_eq!(worker_of(&ask(&proxy, &after(&id, 1)).await), home);
    // A new process has nothing, and nobody can say so but itself.
    owner.restart().await.expect("the same port");
    wait_until("the engine to say that it does not know it", async || {
        let reply = ask(&proxy, &after(&id, 1)).await;
        assert_ne!(reply.status, 200, "{}", reply.text());
        reply.status == 404 && reply.header("x-rankwise-error").is_empty() && reply.text().contains(&id)
    })
    .await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_server_that_is_drained_serves_what_it_keeps_until_it_is_gone() {
    let fleet =
        fleet(FleetSpec { workers: 2, ranks: 2, stores_responses: true, speed: 1.0, ..FleetSpec::default() })
            .await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    let made = ask(&proxy, &question(0)).await;
    let (home, id) = (worker_of(&made), id_of(&made));
    // As long as this runs it is not gone.
    let long = with(streamed(after(&id, 1)), "max_output_tokens", 20_000);
    let held = proxy.client.open(Method::POST, RESPONSES, &[], long.to_string()).await;
    assert_eq!(
        (held.status().as_u16(), held.headers()["x-rankwise-worker"].as_bytes()),
        (200, home.as_bytes())
    );
    let drained = proxy.admin.send(Method::DELETE, &format!("/v1/pools/main/workers/{home}"), &[], "").await;
    assert_eq!(drained.status, 202);
    wait_until("it to drain", async || {
        proxy.ranks().await.iter().any(|rank| rank["availability"] == "draining")
    })
    .await;
    for seed in 2..6 {
        assert_eq!(worker_of(&ask(&proxy, &after(&id, seed)).await), home);
        assert_eq!(worker_of(&proxy.client.get(&path(&id)).await), home);
        assert_ne!(worker_of(&ask(&proxy, &question(seed)).await), home);
    }
    drop(held);
    wait_until("it to be gone", async || proxy.ranks().await.len() == 2).await;
    let error = own_error(&ask(&proxy, &after(&id, 7)).await, 400, "body");
    assert!(message(&error).contains("gone"), "{error}");
    let error = own_error(&proxy.client.get(&path(&id)).await, 404, "head");
    assert!(message(&error).contains("gone"), "{error}");
    assert_eq!(references(&proxy, "gone").await, 2.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_response_can_be_referred_to_while_it_is_streamed() {
    let fleet =
        fleet(FleetSpec { workers: 3, ranks: 1, stores_responses: true, speed: 1.0, ..FleetSpec::default() })
            .await;
    let proxy = Proxy::serving(&fleet, &["--policy", "round-robin"]).await;
    let long = with(streamed(question(0)), "max_output_tokens", 400);
    let mut held = proxy.client.open(Method::POST, RESPONSES, &[], long.to_string()).await;
    let home = held.headers()["x-rankwise-worker"].to_str().expect("ASCII").to_owned();
    wait_until("its id to be known", async || proxy.metric("rankwise_responses", "").await == 1.0).await;
    let (body, complete) = rest(held.body_mut()).await;
    assert!(complete);
    let created = String::from_utf8(body).expect("text");
    let created: Value = created
        .lines()
        .find_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .expect("an event");
    let id = created["response"]["id"].as_str().expect("an id");
    assert_eq!(worker_of(&ask(&proxy, &after(id, 1)).await), home);
    fleet.stop().await;
}

/// Those that keep nothing, or of which it is not known, are never asked: some would pass over what is referred to.
#[tokio::test]
async fn engines_that_may_pass_over_it_are_not_asked() {
    let fleet = keeping(EngineWire::Generic, 2, 1).await;
    let proxy = Proxy::serving(&fleet, &[]).await;
    let id = id_of(&ask(&proxy, &question(0)).await);
    own_error(&ask(&proxy, &after(&id, 1)).await, 400, "body");
    own_error(&proxy.client.get(&path(&id)).await, 404, "head");
    assert_eq!(arrivals(&fleet).len(), 1);
    fleet.stop().await;
}
