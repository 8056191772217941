//! Blocks that an engine has offloaded: what its events say of the medium comes to the policy as a column for each tier.

use std::collections::BTreeMap;

use rankwise_sim::{Fleet, FleetSpec};
use serde_json::{Value, json};

use crate::harness::{Proxy, Publisher, Reply, completion, fast, fleet, wait_until};

const BLOCK: usize = 16;
/// Six whole blocks, and a rest that is always computed.
const PROMPT: usize = 6 * BLOCK + 4;

/// Blocks `first..first + count` of the prompt, named 1 and on, stored in a medium.
fn stored(medium: &str, first: usize, count: usize) -> Value {
    let ids = completion(1, PROMPT)["prompt"].as_array().expect("token ids").clone();
    json!({
        "type": "BlockStored", "block_hashes": (first..first + count).map(|block| block + 1).collect::<Vec<_>>(),
        "parent_block_hash": (first > 0).then_some(first), "token_ids": ids[first * BLOCK..(first + count) * BLOCK],
        "block_size": BLOCK, "lora_id": null, "medium": medium, "lora_name": null, "group_idx": 0,
    })
}

fn removed(medium: &str, block: usize) -> Value {
    json!({ "type": "BlockRemoved", "block_hashes": [block + 1], "medium": medium, "group_idx": 0 })
}

/// A vLLM of two ranks whose events come from the test, and a proxy that leaves a receipt of every decision.
async fn told_by_hand() -> (Fleet, Proxy, Vec<Publisher>) {
    let fleet = fleet(FleetSpec { workers: 1, ranks: 2, publish_events: false, ..fast() }).await;
    let publishers = vec![Publisher::open().await, Publisher::open().await];
    let events: Vec<_> = publishers.iter().map(|rank| json!({ "endpoint": rank.endpoint() })).collect();
    let worker = json!({ "name": "w0", "url": fleet.workers()[0].url(), "engine": "vllm", "events": events });
    let config = json!({
        "pools": [{ "tokenizer": fleet.workers()[0].tokenizer_folder(), "workers": [worker] }],
        "decisions": { "sample_permille": 1000 },
        // What it stores for its proof nobody would tell.
        "limits": { "health": { "prove_ranks": false } },
    });
    let proxy = Proxy::configured_with(&config.to_string(), &["--policy".to_owned(), "kv".to_owned()]).await;
    (fleet, proxy, publishers)
}

/// Sends a batch until the index has taken it in: until it hears of a socket, what comes from there is lost. The batch
/// begins with a clear, so that each stands for itself.
async fn tell(proxy: &Proxy, publisher: &mut Publisher, rank: usize, events: &[Value], blocks: u64) {
    let batch: Value = [json!({ "type": "AllBlocksCleared" })].iter().chain(events).cloned().collect();
    wait_until(&format!("{blocks} blocks of rank {rank} to be known"), async || {
        publisher.send(&batch).await;
        let known = &proxy.ranks().await[rank]["index"];
        known["blocks"] == blocks && known["next_sequence"].as_u64() == Some(publisher.sent())
    })
    .await;
}

/// The overlap of each rank, by tier, that the policy was given.
async fn overlaps(proxy: &Proxy, reply: &Reply) -> Vec<BTreeMap<String, u64>> {
    let receipt = proxy.receipt(reply).await;
    let columns = receipt["columns"].as_array().expect("columns");
    let rows = receipt["rows"].as_array().expect("rows");
    let row = |row: &Value| {
        let tiers = ["device", "host", "disk"].map(|tier| {
            let at =
                columns.iter().position(|column| *column == format!("{tier}-overlap")).expect("a column");
            (tier.to_owned(), row["figures"][at].as_u64().expect("blocks"))
        });
        tiers.into_iter().collect()
    };
    rows.iter().map(row).collect()
}

fn row(device: u64, host: u64, disk: u64) -> BTreeMap<String, u64> {
    [("device", device), ("host", host), ("disk", disk)]
        .map(|(tier, blocks)| (tier.to_owned(), blocks))
        .into()
}

async fn ask(proxy: &Proxy) -> Reply {
    let reply = proxy.client.post("/v1/completions", &completion(1, PROMPT)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
}

#[tokio::test]
async fn each_tier_has_its_column_and_a_block_counts_in_its_fastest() {
    let (fleet, proxy, mut publishers) = told_by_hand().await;
    let [first, second] = publishers.as_mut_slice() else { panic!("two ranks") };
    // Vendors name their tiers as they like.
    for (host, disk) in
        [("CPU", "STORAGE"), ("cpu", "EXTERNAL"), ("CPU_PINNED", "DISK"), ("CPU_TIER1", "CPU_TIER2")]
    {
        let offloaded = [stored("GPU", 0, 3), stored(host, 2, 2), stored(disk, 4, 1)];
        tell(&proxy, first, 0, &offloaded, 5).await;
        tell(&proxy, second, 1, &[stored("GPU", 0, 1)], 1).await;
        let reply = ask(&proxy).await;
        assert_eq!(overlaps(&proxy, &reply).await, [row(3, 1, 1), row(1, 0, 0)], "{host}, {disk}");
        // All of it is what the engine would find again.
        assert_eq!((reply.number("x-rankwise-dp-rank"), reply.number("x-rankwise-overlap-blocks")), (0, 5));
        assert_eq!(reply.number("x-rankwise-expected-cached-tokens"), 5 * BLOCK as u32);

        // Out of the device, a block is the host's; out of that too, what follows it is out of reach.
        let moved = [&offloaded[..], &[removed("GPU", 2)]].concat();
        tell(&proxy, first, 0, &moved, 5).await;
        assert_eq!(overlaps(&proxy, &ask(&proxy).await).await[0], row(2, 2, 1));
        let lost = [&moved[..], &[removed(host, 3)]].concat();
        tell(&proxy, first, 0, &lost, 4).await;
        assert_eq!(overlaps(&proxy, &ask(&proxy).await).await[0], row(2, 1, 0));

        let listed = proxy.admin.get("/v1/pools/main/ranks/w0/0/blocks").await.json();
        let mut tiers = BTreeMap::<String, usize>::new();
        for block in listed["blocks"].as_array().expect("a list") {
            *tiers.entry(block["tier"].as_str().expect("a tier").to_owned()).or_default() += 1;
        }
        assert_eq!(
            tiers,
            BTreeMap::from(
                [("device", 2), ("disk", 1), ("host", 1)].map(|(tier, count)| (tier.to_owned(), count))
            )
        );
    }
    tell(&proxy, first, 0, &[], 0).await;
    assert_eq!(overlaps(&proxy, &ask(&proxy).await).await[0], row(0, 0, 0), "a clear empties every tier");
    fleet.stop().await;
}
