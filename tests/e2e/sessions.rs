//! Requests that belong together: sessions stay, spill over and move; prompts that begin alike meet.

use http::{Method, Response};
use hyper::body::Incoming;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Proxy, Reply, assert_pinned, chat, completion, fast, fleet, text, wait_until};

const CHAT: &str = "/v1/chat/completions";

async fn ask(proxy: &Proxy, headers: &[(&str, &str)], body: &Value) -> Reply {
    proxy.client.send(Method::POST, CHAT, headers, body.to_string()).await
}

/// One turn of a session; where it was served.
async fn turn(proxy: &Proxy, fleet: &Fleet, session: &str, seed: u64) -> (usize, u32) {
    assert_pinned(fleet, &ask(proxy, &[("x-session-id", session)], &chat(&text(seed, 50))).await)
}

/// A request that keeps running as long as it is held, and where.
async fn hold(proxy: &Proxy, session: &str) -> (Response<Incoming>, String) {
    let mut body = chat("hello");
    body["stream"] = true.into();
    body["max_tokens"] = 2000.into();
    let response =
        proxy.client.open(Method::POST, CHAT, &[("x-session-id", session)], body.to_string()).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().expect("ASCII").to_owned();
    let place = format!("{}/{}", header("x-rankwise-worker"), header("x-rankwise-dp-rank"));
    (response, place)
}

async fn results(proxy: &Proxy) -> [f64; 3] {
    let mut counts = [0.0; 3];
    for (count, result) in counts.iter_mut().zip(["new", "stayed", "moved"]) {
        *count = proxy.metric("rankwise_session_requests_total", &format!("result=\"{result}\"")).await;
    }
    counts
}

#[tokio::test]
async fn a_session_stays_on_its_rank_however_it_is_named() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let yaml = "pools:\n- { name: main, sessions: { header: x-conversation, tenant_header: x-tenant } }\n";
    let proxy = Proxy::configured(&fleet, yaml, &["--policy", "session-affinity"]).await;
    let named_by = ["x-conversation", "x-session-id", "x-session-affinity", "x-dynamo-session-id"];
    for session in ["one", "two"] {
        let first = turn(&proxy, &fleet, session, 0).await;
        for (seed, header) in (1..).zip(named_by) {
            // Others come in between, so that staying is no accident.
            turn(&proxy, &fleet, &format!("other-{session}-{seed}"), seed).await;
            // A source that comes later has no say.
            let headers = [(header, session), ("x-dynamo-session-id", session)];
            assert_eq!(assert_pinned(&fleet, &ask(&proxy, &headers, &chat(&text(seed, 50))).await), first);
        }
        let mut body = chat("by the body");
        body["prompt_cache_key"] = session.into();
        assert_eq!(assert_pinned(&fleet, &ask(&proxy, &[], &body).await), first);
    }
    // Eight other sessions are new, and so are these two; each of the two has five more turns.
    assert_eq!(results(&proxy).await, [10.0, 10.0, 0.0]);
    let other_tenant = [("x-session-id", "one"), ("x-tenant", "blue")];
    assert_eq!(ask(&proxy, &other_tenant, &chat("hello")).await.status, 200);
    assert_eq!(results(&proxy).await, [11.0, 10.0, 0.0], "another tenant's session of that name");
    assert_eq!(proxy.metric("rankwise_sessions", "").await, 11.0);
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_spills_over_when_its_rank_runs_too_much_and_stays_there() {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 4, speed: 0.5, ..FleetSpec::default() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "session-affinity"]).await;
    let settings = json!({ "spill_factor": 1.0, "spill_running_min": 2 });
    assert_eq!(proxy.activate("session-affinity", settings).await.status, 200);
    let (_first, home) = hold(&proxy, "long").await;
    let (_second, place) = hold(&proxy, "long").await;
    assert_eq!(place, home, "two are no load");
    let (_third, elsewhere) = hold(&proxy, "long").await;
    assert_ne!(elsewhere, home, "three of three are more than a quarter");
    let (_fourth, place) = hold(&proxy, "long").await;
    assert_eq!(place, elsewhere, "the session lives where it went");
    assert_eq!(results(&proxy).await, [1.0, 2.0, 1.0]);
    fleet.stop().await;
}

#[tokio::test]
async fn a_session_moves_when_its_worker_is_gone() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, ..fast() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "session-affinity"]).await;
    let (worker, _) = turn(&proxy, &fleet, "s", 0).await;
    fleet.workers()[worker].stop().await;
    let moved = turn(&proxy, &fleet, "s", 1).await;
    assert_ne!(moved.0, worker);
    fleet.workers()[worker].start().await.expect("the same port");
    proxy.all_ready(&fleet).await;
    for seed in 2..6 {
        assert_eq!(turn(&proxy, &fleet, "s", seed).await, moved, "what it had cached there is lost");
    }
    fleet.stop().await;
}

#[tokio::test]
async fn a_draining_worker_serves_its_sessions_to_the_end_and_nobody_else() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 2, speed: 0.5, ..FleetSpec::default() }).await;
    let proxy = Proxy::serving(&fleet, &["--policy", "session-affinity"]).await;
    let (held, home) = hold(&proxy, "s").await;
    let (worker, _) = home.split_once('/').expect("worker/rank");
    let path = format!("/v1/pools/main/workers/{worker}");
    assert_eq!(proxy.admin.send(Method::DELETE, &path, &[], "").await.status, 202);
    wait_until("it to drain", async || {
        proxy.ranks().await.iter().any(|rank| rank["availability"] == "draining")
    })
    .await;
    let (_also_held, place) = hold(&proxy, "s").await;
    assert_eq!(place, home);
    for seed in 0..4 {
        let reply = ask(&proxy, &[], &chat(&text(seed, 20))).await;
        assert_ne!(reply.header("x-rankwise-worker"), worker, "{}", reply.text());
    }
    drop((held, _also_held));
    wait_until("it to be gone", async || proxy.ranks().await.len() == 2).await;
    let reply = ask(&proxy, &[("x-session-id", "s")], &chat("hello")).await;
    assert_ne!(reply.header("x-rankwise-worker"), worker, "{}", reply.text());
    fleet.stop().await;
}

#[tokio::test]
async fn prompts_that_begin_alike_go_to_the_same_rank_through_every_replica() {
    let fleet = fleet(FleetSpec { workers: 2, ranks: 4, ..fast() }).await;
    let replicas = [
        Proxy::serving(&fleet, &["--policy", "prefix-hash"]).await,
        Proxy::serving(&fleet, &["--policy", "prefix-hash"]).await,
    ];
    let mut places = std::collections::BTreeSet::new();
    for prefix in 0..12 {
        let mut of_prefix = std::collections::BTreeSet::new();
        for (tail, proxy) in (0..4_u32).zip(replicas.iter().cycle()) {
            let mut body = completion(prefix, 300);
            body["prompt"].as_array_mut().expect("token ids")[280] = (400 + tail).into();
            of_prefix.insert(assert_pinned(&fleet, &proxy.client.post("/v1/completions", &body).await));
        }
        assert_eq!(of_prefix.len(), 1, "{of_prefix:?}");
        places.extend(of_prefix);
    }
    assert!(places.len() > 2, "twelve prefixes met on {places:?}");
    fleet.stop().await;
}
