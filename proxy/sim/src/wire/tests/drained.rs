//! TensorRT-LLM without the shim: `POST /kv_cache_events`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::client::{get, post};
use super::{fleet, quick};
use crate::{EngineWire, Fault, FleetSpec, TrtllmServer, WorkerHandle};

fn bare() -> FleetSpec {
    FleetSpec { engine: EngineWire::Trtllm, trtllm: TrtllmServer::BareWithRankFields, ..quick() }
}

async fn serve(worker: &WorkerHandle, rank: usize, prompt: &[u32]) {
    let body = json!({
        "model": "sim", "prompt": prompt, "max_tokens": 9, "attention_dp_rank": rank, "attention_dp_relax": false,
    });
    let answer = post(worker, "/v1/completions", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Prompts that begin alike, more than the cache holds.
async fn traffic(worker: &WorkerHandle, rank: usize) {
    for number in 0..12 {
        turn(worker, rank, number).await;
    }
}

async fn turn(worker: &WorkerHandle, rank: usize, number: u32) {
    let own = (0..60).map(|token| 1000 + number * 100 + token);
    serve(worker, rank, &(0..40).chain(own).collect::<Vec<u32>>()).await;
}

/// What is told, rank by rank.
async fn drain(worker: &WorkerHandle) -> BTreeMap<u64, Vec<Value>> {
    let answer = post(worker, "/kv_cache_events", json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut told = BTreeMap::<_, Vec<_>>::new();
    for event in answer.json().as_array().unwrap() {
        told.entry(event["attention_dp_rank"].as_u64().unwrap()).or_default().push(event.clone());
    }
    told
}

fn ids(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["event_id"].as_u64().unwrap()).collect()
}

/// Name -> (parent, tokens, cache level).
type Cache = BTreeMap<u64, (Option<u64>, Vec<u64>, u64)>;

fn believed(events: &[Value]) -> Cache {
    let mut cache = Cache::new();
    for event in events {
        let data = &event["data"];
        match data["type"].as_str().unwrap() {
            "created" | "all_cleared" => cache.clear(),
            "stored" => {
                let mut parent = data["parent_hash"].as_u64();
                for block in data["blocks"].as_array().unwrap() {
                    let name = block["block_hash"].as_u64().unwrap();
                    let tokens = block["tokens"].as_array().unwrap().iter();
                    let tokens = tokens.map(|token| token["token_id"].as_u64().unwrap()).collect();
                    let level = block["cache_level"].as_u64().unwrap();
                    assert!(cache.insert(name, (parent, tokens, level)).is_none(), "stored twice");
                    parent = Some(name);
                }
            }
            "removed" => {
                for name in data["block_hashes"].as_array().unwrap() {
                    assert!(cache.remove(&name.as_u64().unwrap()).is_some(), "removed without being stored");
                }
            }
            "updated" => {
                let (name, levels) = (data["block_hash"].as_u64().unwrap(), &data["cache_level"]);
                let level = &mut cache.get_mut(&name).expect("moved without being stored").2;
                assert_eq!(levels["old_value"], *level);
                *level = levels["new_value"].as_u64().unwrap();
            }
            other => panic!("{other}"),
        }
    }
    cache
}

fn truth(worker: &WorkerHandle, rank: usize) -> Cache {
    let wire = |hash| worker.wire_hash(rank, hash).unwrap();
    let entry = |block: crate::CachedBlock| {
        let tokens = block.tokens.iter().map(|&token| u64::from(token)).collect();
        let level = u64::from(block.copies == 0);
        (wire(block.hash), (block.parent.map(wire), tokens, level))
    };
    worker.cache(rank).into_iter().map(entry).collect()
}

#[tokio::test]
async fn each_event_is_told_once_and_together_they_tell_the_cache() {
    let fleet = fleet(bare()).await;
    let worker = &fleet.workers()[0];
    traffic(worker, 1).await;
    let mut told = drain(worker).await;
    let created = json!({"type": "created", "num_blocks_per_cache_level": [64, 0]});
    for rank in 0..2 {
        assert_eq!(
            (told[&rank][0]["event_id"].clone(), told[&rank][0]["data"].clone()),
            (0.into(), created.clone())
        );
    }
    assert_eq!(drain(worker).await, BTreeMap::new());
    assert!(told[&1].iter().any(|event| event["data"]["type"] == "removed"));
    traffic(worker, 1).await;
    for (rank, events) in drain(worker).await {
        told.entry(rank).or_default().extend(events);
    }
    for rank in 0..2 {
        let events = &told[&(rank as u64)];
        assert_eq!(ids(events), (0..worker.next_sequence(rank)).collect::<Vec<_>>());
        assert_eq!(believed(events), truth(worker, rank));
    }

    assert!(worker.clear_caches());
    serve(worker, 0, &[1; 9]).await;
    let told = drain(worker).await;
    assert_eq!(told[&1][0]["data"], json!({"type": "all_cleared"}));
    assert_eq!(get(worker, "/rankwise/worker").await.status, 404);
    fleet.stop().await;
}

/// 64 blocks and 32 behind them: a block lies here or there, and says when it moves.
#[tokio::test]
async fn what_goes_to_the_host_and_comes_back_is_told_as_a_move() {
    let fleet = fleet(FleetSpec { host_blocks: 32, ..bare() }).await;
    let worker = &fleet.workers()[0];
    traffic(worker, 1).await;
    // The device has room for the last three.
    turn(worker, 1, 8).await;
    let told = drain(worker).await.remove(&1).unwrap();
    assert_eq!(told[0]["data"], json!({"type": "created", "num_blocks_per_cache_level": [64, 32]}));
    let moved_to = |level: u64| {
        told.iter().filter(|event| event["data"]["cache_level"]["new_value"].as_u64() == Some(level)).count()
    };
    assert!(moved_to(0) > 0 && moved_to(1) > moved_to(0), "{} {}", moved_to(0), moved_to(1));
    let cache = believed(&told);
    assert_eq!(cache, truth(worker, 1));
    assert!((16..=32).contains(&cache.values().filter(|(_, _, level)| *level == 1).count()));
    fleet.stop().await;
}

#[tokio::test]
async fn what_is_dropped_or_not_drained_in_time_leaves_a_gap() {
    let fleet = fleet(FleetSpec { buffer_steps: 5, ..bare() }).await;
    let worker = &fleet.workers()[0];
    traffic(worker, 0).await;
    let next = worker.next_sequence(0);
    assert!(next > 5);
    assert_eq!(ids(&drain(worker).await[&0]), (next - 5..next).collect::<Vec<_>>());
    worker.fault(Fault::DropEvents(2));
    traffic(worker, 0).await;
    drain(worker).await;
    worker.fault(Fault::DropEvents(1));
    let next = worker.next_sequence(0);
    serve(worker, 0, &[7; 30]).await;
    let told = drain(worker).await.remove(&0).unwrap_or_default();
    assert_eq!(ids(&told), (next + 1..worker.next_sequence(0)).collect::<Vec<_>>());
    fleet.stop().await;
}

#[tokio::test]
async fn a_restart_counts_from_zero_and_the_shim_lets_nobody_drain() {
    let fleet = fleet(bare()).await;
    let worker = &fleet.workers()[0];
    serve(worker, 0, &[1; 9]).await;
    worker.restart().await.unwrap();
    serve(worker, 0, &[2; 9]).await;
    let told = drain(worker).await;
    assert_eq!((ids(&told[&0])[0], &told[&0][0]["data"]["type"]), (0, &"created".into()));
    assert_eq!(believed(&told[&0]), truth(worker, 0));
    fleet.stop().await;
    let fleet = super::fleet(FleetSpec { trtllm: TrtllmServer::Shim, ..bare() }).await;
    assert_eq!(post(&fleet.workers()[0], "/kv_cache_events", json!({})).await.status, 404);
    fleet.stop().await;
}

#[tokio::test]
async fn events_may_be_of_two_windows_and_name_blocks_by_digests_unfinished_ones_too() {
    let fleet = fleet(FleetSpec { varied_events: true, ..bare() }).await;
    let worker = &fleet.workers()[0];
    serve(worker, 0, &(0..10).collect::<Vec<_>>()).await;
    let told = &drain(worker).await[&0];
    assert_eq!(ids(told), (0..told.len() as u64).collect::<Vec<_>>());
    let of =
        |kind: &str| -> Vec<&Value> { told.iter().filter(|event| event["data"]["type"] == kind).collect() };
    let windows = |events: &[&Value]| -> Vec<u64> {
        events.iter().map(|event| event["window_size"].as_u64().unwrap()).collect()
    };
    // Tokens of the whole cache, and of four blocks.
    assert_eq!(windows(&of("created")), [16, 256]);
    let stored = of("stored");
    assert_eq!(windows(&stored[..2]), [16, 256]);
    assert_eq!(stored[0]["data"], stored[1]["data"]);
    let blocks = stored[1]["data"]["blocks"].as_array().unwrap();
    let lengths: Vec<_> = blocks.iter().map(|block| block["tokens"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [4, 4, 2]);
    let names: Vec<&str> = blocks.iter().map(|block| block["block_hash"].as_str().unwrap()).collect();
    assert!(names.iter().all(|name| name.len() == 64), "{names:?}");
    let held: Vec<_> = worker.cache(0).iter().filter_map(|block| worker.wire_hash(0, block.hash)).collect();
    assert!(names[..2].iter().all(|name| held.contains(&u64::from_str_radix(&name[48..], 16).unwrap())));

    // What is evicted goes with what was behind it, in both.
    for number in 0..12 {
        turn(worker, 0, number).await;
    }
    let told = &drain(worker).await[&0];
    let removed: Vec<&Value> = told.iter().filter(|event| event["data"]["type"] == "removed").collect();
    assert!(!removed.is_empty() && windows(&removed).contains(&16) && windows(&removed).contains(&256));
    fleet.stop().await;
}
