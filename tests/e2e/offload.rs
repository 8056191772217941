//! Engines that offload what their devices evict to the host's memory: the index follows each block from tier to tier, on
//! whatever wire that is told, and what is promised is what the engine finds.

use std::collections::{BTreeMap, BTreeSet};

use rankwise_sim::model::chain::{ChainHash, chain};
use rankwise_sim::{Fleet, FleetSpec, Tier, WorkerHandle};
use serde_json::json;

use crate::harness::{Gate, Proxy, Reply, Wire, ask, completion, fast, fleet, metric, wait_until};

/// Whole blocks of each prompt.
const BLOCKS: usize = 12;
/// Of these prompts a device holds the last three, and the host behind it four.
const PROMPTS: u64 = 8;

fn offloading() -> FleetSpec {
    FleetSpec { workers: 1, ranks: 2, blocks_per_rank: 41, host_blocks: 48, ..fast() }
}

/// A proxy that leaves a receipt of every decision.
async fn serving(wire: Wire, fleet: &Fleet) -> Proxy {
    let proxy = wire.serving(fleet, json!({ "decisions": { "sample_permille": 1000 } })).await;
    let activated = proxy.activate("kv", json!({})).await;
    assert_eq!(activated.status, 200, "{}", activated.text());
    proxy
}

/// Has the first rank compute more prompts than its device holds, past the proxy.
async fn fill(wire: Wire, fleet: &Fleet) {
    for seed in 0..PROMPTS {
        wire.ask(fleet, 0, 0, seed).await;
    }
}

/// The blocks of a prompt, by the simulator's names.
fn blocks_of(seed: u64) -> Vec<ChainHash> {
    let body = completion(seed, 200);
    let ids: Vec<u32> =
        body["prompt"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("an id") as u32).collect();
    let mut blocks = Vec::new();
    for tokens in ids.chunks_exact(16) {
        blocks.push(chain(blocks.last().copied(), tokens, None));
    }
    blocks
}

/// How many leading blocks of a prompt the first rank holds on its device, and how many further ones in the host.
fn held(worker: &WorkerHandle, seed: u64) -> (u64, u64) {
    let cache = worker.cache(0);
    let tier = |block: &ChainHash| cache.iter().find(|held| held.hash == *block)?.tiers().next();
    let tiers: Vec<Tier> = blocks_of(seed).iter().map_while(tier).collect();
    let device = tiers.iter().take_while(|tier| **tier == Tier::Device).count();
    (device as u64, (tiers.len() - device) as u64)
}

/// The same, as the policy was given it.
async fn columns(proxy: &Proxy, reply: &Reply) -> (u64, u64) {
    let receipt = proxy.receipt(reply).await;
    let names = receipt["columns"].as_array().expect("columns");
    let figure = |name: &str| {
        let at = names.iter().position(|column| column == name).expect("a column");
        receipt["rows"][0]["figures"][at].as_u64().expect("blocks")
    };
    (figure("device-overlap"), figure("host-overlap"))
}

/// Tier by tier, by the engine's own names.
type Tiers = BTreeMap<&'static str, BTreeSet<String>>;

/// What the index says that the first rank holds.
async fn indexed(proxy: &Proxy) -> Tiers {
    let listed = proxy.admin.get("/v1/pools/main/ranks/w0/0/blocks?limit=10000").await.json();
    let mut tiers = Tiers::new();
    for block in listed["blocks"].as_array().expect("a list") {
        let tier = if block["tier"] == "host" { "host" } else { "device" };
        let is_new =
            tiers.entry(tier).or_default().insert(block["engine_hash"].as_str().expect("a name").to_owned());
        assert!(is_new, "listed twice: {block}");
    }
    tiers
}

/// What it holds.
fn truth(worker: &WorkerHandle) -> Tiers {
    let mut tiers = Tiers::new();
    for block in worker.cache(0) {
        let name = format!("{:016x}", worker.wire_hash(0, block.hash).expect("a rank"));
        for tier in block.tiers() {
            let tier = if tier == Tier::Host { "host" } else { "device" };
            tiers.entry(tier).or_default().insert(name.clone());
        }
    }
    tiers
}

/// Waits until both are the same.
async fn equal(proxy: &Proxy, fleet: &Fleet) {
    proxy.settled(fleet).await;
    let truth = truth(&fleet.workers()[0]);
    assert!(
        ["device", "host"].iter().all(|tier| truth[tier].len() > BLOCKS),
        "little is held: little is shown"
    );
    assert_eq!(indexed(proxy).await, truth);
}

async fn from_tier_to_tier(wire: Wire) {
    let fleet = fleet(wire.spec(offloading())).await;
    let worker = &fleet.workers()[0];
    let proxy = serving(wire, &fleet).await;
    fill(wire, &fleet).await;
    equal(&proxy, &fleet).await;
    let (device, host) = held(worker, 0);
    assert!(device + host < BLOCKS as u64, "there is room for all: the host lets nothing go");

    // One on the device, one that lies in both, the same again, one in the host, and what went there meanwhile.
    let (mut on_device, mut in_host) = (0, 0);
    for seed in [7, 4, 4, 3, 6, 7] {
        let expected = held(worker, seed);
        let reply = ask(&proxy, seed).await;
        assert_eq!(reply.header("x-rankwise-dp-rank"), "0", "prompt {seed}, {expected:?}");
        assert_eq!(columns(&proxy, &reply).await, expected, "prompt {seed}");
        let found = (expected.0 + expected.1) * 16;
        assert_eq!((reply.promised_tokens(), reply.cached_tokens()), (found, found), "prompt {seed}");
        on_device += expected.0;
        in_host += expected.1;
        equal(&proxy, &fleet).await;
        assert_eq!(held(worker, seed), (BLOCKS as u64, 0), "it came back");
    }
    assert!(on_device > 0 && in_host > BLOCKS as u64, "{on_device} on the device, {in_host} in the host");
    fleet.stop().await;
}

#[tokio::test]
async fn of_vllm() {
    from_tier_to_tier(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang() {
    from_tier_to_tier(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_behind_the_shim() {
    from_tier_to_tier(Wire::Trtllm).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained() {
    from_tier_to_tier(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn of_workers_behind_dynamo() {
    from_tier_to_tier(Wire::Dynamo).await;
}

/// What moved while nobody listened is replayed, to the proxy that lost the connection and to one that begins.
#[tokio::test]
async fn moves_are_replayed_after_a_reconnect() {
    let fleet = fleet(offloading()).await;
    let worker = &fleet.workers()[0];
    let address = |endpoint: Option<String>| {
        endpoint.and_then(|url| url.strip_prefix("tcp://")?.parse().ok()).expect("an endpoint")
    };
    let mut gates = Vec::new();
    for rank in 0..2 {
        gates.push(Gate::before(address(worker.event_endpoint(rank))).await);
    }
    let events: Vec<_> = (0..2)
        .map(|rank| json!({ "endpoint": format!("tcp://{}", gates[rank].address()), "replay": worker.replay_endpoint(rank) }))
        .collect();
    let entry = json!({ "name": "w0", "url": worker.url(), "engine": "vllm", "events": events });
    let pool = json!({ "tokenizer": worker.tokenizer_folder(), "workers": [entry] });
    let proxy = Proxy::configured_with(&json!({ "pools": [pool] }).to_string(), &[]).await;
    proxy.all_ready(&fleet).await;
    fill(Wire::Vllm, &fleet).await;
    equal(&proxy, &fleet).await;

    for gate in &mut gates {
        gate.shut().await;
    }
    let before = truth(worker);
    for seed in [3, 100, 101] {
        Wire::Vllm.ask(&fleet, 0, 0, seed).await;
    }
    let now = truth(worker);
    assert!(before["host"].intersection(&now["device"]).count() >= BLOCKS, "nothing came back");
    assert!(
        before["device"].difference(&now["device"]).any(|name| now["host"].contains(name)),
        "nothing went"
    );
    for gate in &mut gates {
        gate.open().await;
    }
    equal(&proxy, &fleet).await;
    equal(&serving(Wire::Vllm, &fleet).await, &fleet).await;
    fleet.stop().await;
}

/// Without `self_describing_kv_events` the host's blocks are names alone: nothing is promised of them, and that is counted.
#[tokio::test]
async fn what_vllm_does_not_describe_is_not_promised() {
    let fleet = fleet(FleetSpec { describes_host_blocks: false, ..offloading() }).await;
    let worker = &fleet.workers()[0];
    let proxy = serving(Wire::Vllm, &fleet).await;
    fill(Wire::Vllm, &fleet).await;
    let skipped = ["reason=\"length\"", "dp_rank=\"0\""];
    let read = async || {
        wait_until("all to be read", async || {
            let index = &proxy.ranks().await[0]["index"];
            index["next_sequence"].as_u64() == Some(worker.next_sequence(0))
        })
        .await;
    };
    read().await;
    assert!(metric(&proxy.metrics().await, "rankwise_kv_events_skipped_total", &skipped) > BLOCKS as f64);
    assert_eq!(indexed(&proxy).await.keys().copied().collect::<Vec<_>>(), ["device"]);
    assert_eq!(indexed(&proxy).await["device"], truth(worker)["device"]);
    // What comes back to the device is described.
    let found = Wire::Vllm.ask(&fleet, 0, 0, 3).await.cached_tokens();
    read().await;
    let reply = ask(&proxy, 3).await;
    assert_eq!((found, reply.promised_tokens(), reply.cached_tokens()), (192, 192, 192));
    fleet.stop().await;
}
