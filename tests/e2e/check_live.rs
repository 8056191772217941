//! `rankwise check --live`: what leaves kv blind is named, with what mends it.

use std::process::{Command, Output};

use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer};

use crate::harness::{config_file, fast, fleet};

/// What it says of a fleet that it is told nothing about.
async fn checked(spec: FleetSpec) -> (Fleet, Output) {
    checked_with(spec, "").await
}

/// The same, with more fields in the entry of each worker.
async fn checked_with(spec: FleetSpec, more: &str) -> (Fleet, Output) {
    let fleet = fleet(spec).await;
    let entry = |worker: &rankwise_sim::WorkerHandle| format!("{{ url: \"{}\"{more} }}", worker.url());
    let urls: Vec<_> = fleet.workers().iter().map(entry).collect();
    let (_folder, file) = config_file(&format!("pools: [{{ workers: [{}] }}]", urls.join(", ")));
    // The fleet lives on this thread.
    let check =
        move || Command::new(env!("CARGO_BIN_EXE_rankwise")).args(["check", &file[1], "--live"]).output();
    let output = tokio::task::spawn_blocking(check).await.expect("no panic").expect("the binary runs");
    (fleet, output)
}

#[tokio::test]
async fn engines_that_tell_all_are_fine() {
    for engine in [EngineWire::Vllm, EngineWire::Sglang, EngineWire::Trtllm] {
        let (fleet, output) = checked(FleetSpec { engine, ..fast() }).await;
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

#[tokio::test]
async fn each_setting_that_leaves_kv_blind_is_named() {
    let silent = |engine| FleetSpec { engine, workers: 1, publish_events: false, ..fast() };
    let pages = FleetSpec { engine: EngineWire::Sglang, workers: 1, block_size: 1, ..fast() };
    for (spec, named) in [
        (silent(EngineWire::Vllm), "--kv-events-config"),
        (silent(EngineWire::Sglang), "--kv-events-config"),
        (silent(EngineWire::Trtllm), "event_buffer_max_size"),
        (silent(EngineWire::Generic), "no rank can be named to it"),
        (pages, "--page-size 64"),
    ] {
        let engine = spec.engine;
        let (fleet, output) = checked(spec).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("kv is blind: ") && said.contains(named), "{engine:?}: {said}");
        fleet.stop().await;
    }
}

/// Whether somebody else drains it too nobody can ask.
#[tokio::test]
async fn a_server_that_is_drained_is_fine_and_its_condition_is_named() {
    let trtllm = TrtllmServer::BareWithRankFields;
    let spec = FleetSpec { engine: EngineWire::Trtllm, trtllm, workers: 1, ..fast() };
    let (fleet, output) =
        checked_with(spec, ", engine: trtllm, ranks: 4, block_size: 16, drain_events: true").await;
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
