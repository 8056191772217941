//! TensorRT-LLM without rankwise's shim chooses the rank itself: a session stays with its worker, and the engine, told which
//! session it is, keeps it on a rank of its own choice.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer, WorkerHandle};
use serde_json::{Value, json};

use crate::harness::{Proxy, Reply, arrival_of, chat, fast, fleet, metric, text, wait_until};

const CHAT: &str = "/v1/chat/completions";
/// What the engine reads.
const TOLD: &str = "x-session-id";

/// Two servers of four ranks that keep conversations, in front of them a proxy whose clients name sessions by a header of their own.
async fn two_servers(trtllm: TrtllmServer, policy: &str) -> (Fleet, Proxy) {
    let spec = FleetSpec { engine: EngineWire::Trtllm, trtllm, workers: 2, ranks: 4, ..fast() };
    let fleet = fleet(FleetSpec { keeps_conversations: true, ..spec }).await;
    let entry = |worker: &WorkerHandle| json!({ "name": format!("w{}", worker.index()), "url": worker.url(), "ranks": 4, "block_size": 16 });
    let pool = json!({
        "tokenizer": fleet.workers()[0].tokenizer_folder(),
        "workers": fleet.workers().iter().map(entry).collect::<Vec<_>>(),
        "sessions": { "header": "x-conversation", "tenant_header": "x-tenant" },
        "policy": { "name": policy },
    });
    let config = json!({ "pools": [pool], "decisions": { "sample_permille": 1000 } });
    let proxy = Proxy::configured_with(&config.to_string(), &[]).await;
    wait_until("both servers to be there", async || {
        let ranks = proxy.ranks().await;
        let workers: BTreeSet<_> = ranks.iter().map(|rank| rank["worker"].to_string()).collect();
        workers.len() == 2 && ranks.iter().all(|rank| rank["availability"] == "ready")
    })
    .await;
    (fleet, proxy)
}

async fn turn(proxy: &Proxy, seed: u64, headers: &[(&str, &str)]) -> Reply {
    let reply = proxy.client.send(Method::POST, CHAT, headers, chat(&text(seed, 40)).to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

async fn chosen(proxy: &Proxy, reply: &Reply) -> Value {
    proxy.receipt(reply).await["chosen"].clone()
}

#[tokio::test]
async fn a_session_stays_on_the_rank_that_its_engine_chose() {
    let (fleet, proxy) = two_servers(TrtllmServer::Bare, "session-affinity").await;
    let mut homes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut told: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let sessions =
        ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| [("x-conversation", name), ("x-tenant", "red")]);
    let another_tenant = [("x-conversation", "a"), ("x-tenant", "blue")];
    for round in 0..4 {
        for session in sessions.iter().chain([&another_tenant]) {
            let reply = turn(&proxy, round, session).await;
            let arrival = arrival_of(&fleet, &reply);
            assert_eq!(format!("w{}", arrival.worker), reply.header("x-rankwise-worker"));
            for unknown in ["x-rankwise-dp-rank", "x-rankwise-expected-cached-tokens"] {
                assert!(!reply.headers.contains_key(unknown), "{unknown}: nobody but the engine knows it");
            }
            homes.entry(*session).or_default().insert((arrival.worker, arrival.rank));
            told.entry(*session)
                .or_default()
                .extend(arrival.headers.get_all(TOLD).iter().map(|value| value.as_bytes().to_owned()));
        }
    }
    assert!(homes.values().all(|home| home.len() == 1), "a session moved: {homes:?}");
    let places: BTreeSet<_> = homes.values().flatten().collect();
    assert!(places.len() > 2, "nine sessions met on {places:?}");
    assert!(told.values().all(|names| names.len() == 1), "{told:?}");
    let names: BTreeSet<_> = told.values().flatten().collect();
    assert_eq!(names.len(), 9, "tenants do not share a session: {told:?}");
    fleet.stop().await;
}

/// The engine heeds a body over any header: one that a client has written itself would put it where it likes.
#[tokio::test]
async fn a_clients_own_conversation_does_not_win_over_its_session() {
    let (fleet, proxy) = two_servers(TrtllmServer::Bare, "session-affinity").await;
    let session = [("x-conversation", "a")];
    let home = {
        let reply = turn(&proxy, 0, &session).await;
        let arrival = arrival_of(&fleet, &reply);
        (arrival.worker, arrival.rank)
    };
    for round in 1..9 {
        let mut body = chat(&text(round, 40));
        body["conversation_params"] = json!({ "conversation_id": format!("my own {round}") });
        let reply = proxy.client.send(Method::POST, CHAT, &session, body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let arrival = arrival_of(&fleet, &reply);
        assert_eq!((arrival.worker, arrival.rank), home, "round {round}");
        assert!(!arrival.headers.contains_key(TOLD));
    }
    // Without a session it is the client's to say.
    let mut body = chat(&text(9, 40));
    body["conversation_params"] = json!({ "conversation_id": "my own" });
    let reply = proxy.client.send(Method::POST, CHAT, &[], body.to_string()).await;
    let arrived: Value = serde_json::from_slice(&arrival_of(&fleet, &reply).body).expect("JSON arrived");
    assert_eq!(arrived["conversation_params"], body["conversation_params"]);
    fleet.stop().await;
}

#[tokio::test]
async fn whose_the_choice_of_the_rank_is_stands_in_metrics_and_receipts() {
    let (fleet, proxy) = two_servers(TrtllmServer::Bare, "kv").await;
    for seed in 0..4 {
        // Of no session: nothing is told, and the engine places it.
        let reply = turn(&proxy, seed, &[]).await;
        assert!(!arrival_of(&fleet, &reply).headers.contains_key(TOLD));
        let chosen = chosen(&proxy, &reply).await;
        assert_eq!(
            (&chosen["worker"], &chosen["dp_rank"]),
            (&reply.header("x-rankwise-worker").into(), &"engine".into())
        );
    }
    wait_until("all to be counted", async || {
        metric(&proxy.metrics().await, "rankwise_requests_total", &["dp_rank=\"engine\"", "outcome=\"ok\""])
            == 4.0
    })
    .await;
    fleet.stop().await;
}

/// What a client calls its session is no business of an engine that is named the rank.
#[tokio::test]
async fn where_a_rank_is_named_no_conversation_is() {
    let (fleet, proxy) = two_servers(TrtllmServer::BareWithRankFields, "session-affinity").await;
    for round in 0..4 {
        let reply = turn(&proxy, round, &[("x-conversation", "a")]).await;
        let (arrival, rank) = (arrival_of(&fleet, &reply), reply.number("x-rankwise-dp-rank"));
        assert_eq!(arrival.rank, Some(rank), "another rank served it");
        assert!(!arrival.headers.contains_key(TOLD));
        assert_eq!(chosen(&proxy, &reply).await["dp_rank"], rank);
    }
    fleet.stop().await;
}
