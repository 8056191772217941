//! The index equals the engine's cache after any fault, whatever wire the engine speaks.

use std::collections::BTreeSet;

use rankwise_sim::{Fault, Fleet, FleetSpec, WorkerHandle};
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{Proxy, Wire, address_of, all_in, completion, fast, fleet, wait_until};

/// What goes wrong with the first worker.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// While requests come.
    Fault(Fault),
    /// Events are lost, and cannot be had again for as long as it lasts.
    LostForNow,
    /// Its process ends, and another one comes.
    Restart,
    /// The same, and the first batch of each rank says so.
    AnnouncedRestart,
    /// Somebody has it forget all that is not in use.
    Cleared,
}

const TROUBLES: [Trouble; 17] = [
    Trouble::Fault(Fault::DropEvents(3)),
    Trouble::LostForNow,
    Trouble::Restart,
    Trouble::AnnouncedRestart,
    Trouble::Cleared,
    Trouble::Fault(Fault::SilentRank(0)),
    Trouble::Fault(Fault::DeadRank(1)),
    Trouble::Fault(Fault::HungRank(1)),
    Trouble::Fault(Fault::ServerError),
    Trouble::Fault(Fault::StreamError),
    Trouble::Fault(Fault::ResetAfter(1)),
    Trouble::Fault(Fault::HalfCloseAfter(1)),
    Trouble::Fault(Fault::AbortAfterFirst),
    Trouble::Fault(Fault::RefuseConnections),
    Trouble::Fault(Fault::Unhealthy),
    Trouble::Fault(Fault::IgnorePin),
    // Last: how long it is not believed doubles with every batch.
    Trouble::Fault(Fault::LieAboutRank(1)),
];

impl Trouble {
    /// Whether it leaves gaps that the engine itself cannot fill: the rank says what it holds when it begins anew.
    fn is_lossy(self, wire: Wire) -> bool {
        let untold = matches!(self, Self::Fault(Fault::SilentRank(_) | Fault::LieAboutRank(_)));
        // Each event is told once, and nobody tells who listens behind a port that was closed.
        let drained =
            matches!(self, Self::Fault(Fault::DropEvents(_) | Fault::RefuseConnections) | Self::LostForNow);
        untold || (wire == Wire::TrtllmDrained && drained)
    }

    async fn begin(self, worker: &WorkerHandle) {
        match self {
            Self::Fault(fault) => worker.fault(fault),
            Self::LostForNow => {
                [Fault::NoReplay, Fault::DropEvents(2)].into_iter().for_each(|fault| worker.fault(fault))
            }
            Self::Restart => worker.restart().await.expect("the same ports"),
            Self::AnnouncedRestart => worker.restart_announced().await.expect("the same ports"),
            Self::Cleared => cleared(worker).await,
        }
    }
}

/// Each rank says so with its next step.
async fn cleared(worker: &WorkerHandle) {
    wait_until("the engine to be idle", async || worker.clear_caches()).await;
}

/// Prompts that nobody has asked before, to every rank; some may fail.
async fn requests(proxy: &Proxy, seeds: &mut impl Iterator<Item = u64>) {
    for (seed, streamed) in seeds.take(8).zip([false, true].into_iter().cycle()) {
        let mut body = completion(seed, 200);
        body["stream"] = streamed.into();
        proxy.client.post("/v1/completions", &body).await;
    }
}

/// What the index says that a rank holds, by the engine's own names, against what it holds.
async fn assert_equal(proxy: &Proxy, fleet: &Fleet, after: &str) {
    proxy.settled(fleet).await;
    for worker in fleet.workers() {
        for rank in 0..worker.stats().len() {
            let path = format!("/v1/pools/main/ranks/w{}/{rank}/blocks?limit=10000", worker.index());
            let listed = proxy.admin.get(&path).await.json();
            let named = |block: &serde_json::Value| block["engine_hash"].as_str().map(str::to_owned);
            let indexed: BTreeSet<_> =
                listed["blocks"].as_array().expect("a list").iter().filter_map(named).collect();
            let held: BTreeSet<_> = worker
                .cache(rank)
                .iter()
                .filter_map(|block| worker.wire_hash(rank, block.hash))
                .map(|name| format!("{name:016x}"))
                .collect();
            assert!(!held.is_empty(), "w{} rank {rank} holds nothing: nothing is shown", worker.index());
            assert_eq!(indexed, held, "w{} rank {rank} after {after}", worker.index());
        }
    }
}

async fn after_any_fault(wire: Wire) {
    let fleet = fleet(wire.spec(FleetSpec { workers: 2, ranks: 2, ..fast() })).await;
    let limits = json!({
        "upstream": { "probe_interval": "100ms" }, "request": { "first_byte_timeout": "1s" },
        "health": { "proof_timeout": "1s", "slow_start": "1ms" },
    });
    let proxy = wire.serving(&fleet, json!({ "limits": limits })).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[0];
    let mut seeds = 0..;
    requests(&proxy, &mut seeds).await;
    assert_equal(&proxy, &fleet, "nothing").await;
    for trouble in TROUBLES {
        eprintln!("{wire:?}: {trouble:?}");
        trouble.begin(worker).await;
        requests(&proxy, &mut seeds).await;
        worker.heal();
        if trouble.is_lossy(wire) {
            cleared(worker).await;
        }
        wait_until("it to take connections", async || {
            TcpStream::connect(address_of(&fleet, 0)).await.is_ok()
        })
        .await;
        // Each of its ranks does something, and tells of it.
        for (rank, seed) in (0..2).zip(&mut seeds) {
            wire.ask(&fleet, 0, rank, seed).await;
        }
        all_in(&proxy).await;
        assert_equal(&proxy, &fleet, &format!("{trouble:?}")).await;
    }
    // And a promise is kept on each of them.
    for rank in proxy.ranks().await {
        assert_eq!(
            rank["condition"].as_u64().map(|bits| bits & crate::harness::UNTRUSTED),
            Some(0),
            "{rank}"
        );
    }
    proxy.activate("kv", json!({})).await;
    for (seed, again) in (1_000_000..1_000_008).flat_map(|seed| [(seed, false), (seed, true)]) {
        proxy.settled(&fleet).await;
        let reply = proxy.client.post("/v1/completions", &completion(seed, 200)).await;
        let promised = reply.promised_tokens();
        assert_eq!((promised, reply.cached_tokens()), if again { (192, 192) } else { (0, 0) });
    }
    fleet.stop().await;
}

#[tokio::test]
async fn of_vllm() {
    after_any_fault(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang() {
    after_any_fault(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_behind_the_shim() {
    after_any_fault(Wire::Trtllm).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained() {
    after_any_fault(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn of_workers_behind_dynamo() {
    after_any_fault(Wire::Dynamo).await;
}
