//! `rankwise check --live`: what leaves kv blind is named, with what mends it.

use std::process::{Command, Output};

use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer};
use serde_json::{Value, json};

use crate::harness::{Wire, config_file, fast, fleet};

/// What it says of workers with these entries.
async fn checked(entries: Vec<Value>) -> Output {
    checked_pool(json!({ "workers": entries })).await
}

/// What it says of the workers of a pool.
async fn checked_pool(pool: Value) -> Output {
    // JSON is YAML.
    let (_folder, file) = config_file(&json!({ "pools": [pool] }).to_string());
    // The fleet lives on this thread.
    let check =
        move || Command::new(env!("CARGO_BIN_EXE_rankwise")).args(["check", &file[1], "--live"]).output();
    tokio::task::spawn_blocking(check).await.expect("no panic").expect("the binary runs")
}

/// Of a fleet's workers, with what config says of each besides where it is.
async fn checked_with(spec: FleetSpec, more: Value) -> (Fleet, Output) {
    let fleet = fleet(spec).await;
    let entry = |worker: &rankwise_sim::WorkerHandle| {
        let mut entry = more.clone();
        entry["url"] = worker.url().into();
        entry
    };
    let output = checked(fleet.workers().iter().map(entry).collect()).await;
    (fleet, output)
}

#[tokio::test]
async fn engines_that_tell_all_are_fine() {
    for engine in [EngineWire::Vllm, EngineWire::Sglang, EngineWire::Trtllm] {
        // Nobody says what they are but themselves.
        let (fleet, output) = checked_with(FleetSpec { engine, ..fast() }, json!({})).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches(&format!(": {}, ", engine.name())).count(), 2, "{said}");
        assert_eq!(
            said.matches("4 dp ranks, blocks of 16 tokens, 2048 blocks per rank").count(),
            2,
            "{said}"
        );
        fleet.stop().await;
    }
}

/// Of those that tell little, config does.
#[tokio::test]
async fn engines_of_which_config_tells_all_are_fine() {
    for (wire, name) in [(Wire::Dynamo, ": dynamo, "), (Wire::TrtllmDrained, ": trtllm, ")] {
        let fleet = fleet(wire.spec(fast())).await;
        let entries = fleet.workers().iter().map(|worker| wire.entry(worker, &worker.url())).collect();
        let output = checked(entries).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches(name).count(), 2, "{said}");
        assert_eq!(said.matches("4 dp ranks, blocks of 16 tokens").count(), 2, "{said}");
        fleet.stop().await;
    }
}

#[tokio::test]
async fn each_setting_that_leaves_kv_blind_is_named() {
    let one = |engine| FleetSpec { engine, workers: 1, ..fast() };
    let silent = |engine| FleetSpec { publish_events: false, ..one(engine) };
    let pages = FleetSpec { block_size: 1, ..one(EngineWire::Sglang) };
    let bare = || FleetSpec { trtllm: TrtllmServer::Bare, ..one(EngineWire::Trtllm) };
    let nothing = || json!({});
    let dynamo = |more: &str| {
        let mut entry = json!({ "engine": "dynamo", "ranks": 4 });
        if !more.is_empty() {
            entry[more] = 16.into();
        }
        entry
    };
    for (spec, more, named) in [
        (silent(EngineWire::Vllm), nothing(), &["--kv-events-config"][..]),
        (silent(EngineWire::Sglang), nothing(), &["--kv-events-config"]),
        (pages, nothing(), &["--page-size 64"]),
        (
            one(EngineWire::Vllm),
            json!({ "block_size": 32 }),
            &["block_size is 32 and the engine's blocks are of 16"],
        ),
        (
            one(EngineWire::Sglang),
            json!({ "block_size": 32 }),
            &["block_size is 32 and the engine's blocks are of 16"],
        ),
        (
            one(EngineWire::Trtllm),
            json!({ "block_size": 32 }),
            &["block_size is 32 and the engine's blocks are of 16"],
        ),
        (silent(EngineWire::Trtllm), nothing(), &["event_buffer_max_size"]),
        (bare(), nothing(), &["no rank can be named to it", "rankwise_trtllm.py"]),
        // What it takes is looked at, not believed.
        (
            bare(),
            json!({ "engine": "trtllm", "ranks": 4, "block_size": 16, "drain_events": true }),
            &["no rank can be named to it", "rankwise_trtllm.py"],
        ),
        (one(EngineWire::Dynamo), dynamo(""), &["set events for the worker", "block size"]),
        (one(EngineWire::Dynamo), dynamo("block_size"), &["set events for the worker"]),
        // Where the config says where they publish, it says where they replay.
        (
            one(EngineWire::Dynamo),
            json!({
                "engine": "dynamo", "ranks": 2, "block_size": 16,
                "events": [{ "endpoint": "tcp://127.0.0.1:1", "replay": "tcp://127.0.0.1:2" }, { "endpoint": "tcp://127.0.0.1:3" }],
            }),
            &["rank 1 has no replay"],
        ),
        (one(EngineWire::Generic), nothing(), &["no rank can be named to it"]),
    ] {
        let said_of = format!("{:?} {more}", spec.engine);
        let (fleet, output) = checked_with(spec, more).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{said_of}: {said}");
        for named in named {
            assert!(said.contains("kv is blind: ") && said.contains(named), "{said_of}: {named}: {said}");
        }
        fleet.stop().await;
    }
}

/// Whether somebody else drains it too nobody can ask.
#[tokio::test]
async fn a_server_that_is_drained_is_fine_and_its_condition_is_named() {
    let trtllm = TrtllmServer::BareWithRankFields;
    let spec = FleetSpec { engine: EngineWire::Trtllm, trtllm, workers: 1, ..fast() };
    let (fleet, output) =
        checked_with(spec, json!({ "engine": "trtllm", "ranks": 4, "block_size": 16, "drain_events": true }))
            .await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("4 dp ranks, blocks of 16 tokens") && said.contains("each event is told once"),
        "{said}"
    );
    // It asked, and took nothing away.
    assert!(fleet.workers()[0].arrivals().iter().all(|arrival| arrival.path != "/kv_cache_events"));
    fleet.stop().await;
}

/// It is another after every start.
#[tokio::test]
async fn an_id_that_no_worker_behind_dynamo_has_is_named() {
    for fine in [true, false] {
        let fleet = fleet(Wire::Dynamo.spec(FleetSpec { workers: 1, ..fast() })).await;
        let there = fleet.workers()[0].instance_id().expect("one of Dynamo's");
        let id = if fine { there.to_string() } else { "1".to_owned() };
        let mut entry = Wire::Dynamo.entry(&fleet.workers()[0], &fleet.workers()[0].url());
        entry["headers"] = json!({ "x-worker-instance-id": id });
        let output = checked(vec![entry]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), fine, "{said}");
        assert_eq!(
            said.contains("/health: no worker with the instance id that the config names"),
            !fine,
            "{said}"
        );
        fleet.stop().await;
    }
}

#[tokio::test]
async fn workers_behind_one_frontend_are_told_apart() {
    let spec = FleetSpec { workers: 2, one_frontend: true, ..fast() };
    let fleet = fleet(Wire::Dynamo.spec(spec)).await;
    let entries = fleet.workers().iter().map(|worker| Wire::Dynamo.entry(worker, &worker.url()));
    let output = checked(entries.collect()).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    for worker in fleet.workers() {
        let id = worker.instance_id().expect("one of Dynamo's");
        assert!(
            said.contains(&format!("worker w{}: dynamo, worker {id}, 4 dp ranks", worker.index())),
            "{said}"
        );
    }
    fleet.stop().await;
}

/// They are found when it runs, so that nothing is shown of them now.
#[tokio::test]
async fn workers_that_discovery_finds_are_said_not_to_be_asked() {
    let output = checked_pool(json!({ "discovery": { "dns": [{ "url": "http://localhost:1" }] } })).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("pool main: nobody was asked: its workers are found by discovery"), "{said}");
}
