//! The index equals the engine's cache after any fault, whatever wire the engine speaks.
//!
//! Each fault shows by a symptom of its own before it is healed: one that does nothing would show nothing.

use std::collections::BTreeSet;

use rankwise_sim::{Fault, Fleet, FleetSpec, WorkerHandle};
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Proxy, Reply, Wire, address_of, all_in, arrival_of, completion, fast, fleet, is_whole, metric, wait_until,
};

/// A rank holds ten of the prompts: most of what is computed is evicted again.
const BLOCKS_PER_RANK: u32 = 129;

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

/// By what a trouble shows.
#[derive(Clone, Copy, Debug)]
enum Symptom {
    /// The first worker's series of these families grow.
    Counted(&'static [&'static str]),
    /// One of its ranks is taken out for this.
    TakenOut(&'static str),
    /// It is lost.
    Lost,
    /// It holds nothing of what it held.
    Forgotten,
    /// This rank serves requests, and tells nothing.
    Untold(usize),
    /// A request is served by another rank than it names.
    Misplaced,
}

/// How it stood with the first worker before a trouble.
struct Before {
    page: String,
    losses: usize,
    held: Vec<BTreeSet<String>>,
    told: Vec<u64>,
    served: Vec<u64>,
}

impl Before {
    async fn of(proxy: &Proxy, worker: &WorkerHandle) -> Self {
        let ranks = 0..worker.stats().len();
        Self {
            page: proxy.metrics().await,
            losses: losses(proxy),
            held: ranks.clone().map(|rank| held(worker, rank)).collect(),
            told: ranks.map(|rank| worker.next_sequence(rank)).collect(),
            served: worker.stats().iter().map(|rank| rank.requests).collect(),
        }
    }

    /// Whether the symptom shows by now.
    async fn shows(
        &self,
        symptom: Symptom,
        proxy: &Proxy,
        fleet: &Fleet,
        worker: &WorkerHandle,
        replies: &[Reply],
    ) -> bool {
        let grew = |page: &str, family: &str, labels: &[&str]| {
            metric(page, family, labels) > metric(&self.page, family, labels)
        };
        match symptom {
            Symptom::Counted(families) => {
                let page = proxy.metrics().await;
                families.iter().any(|family| grew(&page, family, &["worker=\"w0\""]))
            }
            Symptom::TakenOut(reason) => {
                let labels = ["worker=\"w0\"", &format!("reason=\"{reason}\"")];
                grew(&proxy.metrics().await, "rankwise_ranks_taken_out_total", &labels)
            }
            Symptom::Lost => losses(proxy) > self.losses,
            Symptom::Forgotten => {
                self.held.iter().enumerate().all(|(rank, before)| before.is_disjoint(&held(worker, rank)))
            }
            Symptom::Untold(rank) => {
                worker.stats()[rank].requests > self.served[rank]
                    && worker.next_sequence(rank) == self.told[rank]
            }
            Symptom::Misplaced => replies
                .iter()
                .any(|reply| arrival_of(fleet, reply).rank != Some(reply.number("x-rankwise-dp-rank"))),
        }
    }
}

/// How often the first worker was lost.
fn losses(proxy: &Proxy) -> usize {
    proxy.log().iter().filter(|line| line.contains("worker lost") && line.contains("w0")).count()
}

/// What a rank holds, by the names that its events use.
fn held(worker: &WorkerHandle, rank: usize) -> BTreeSet<String> {
    let cache = worker.cache(rank);
    let names = cache.iter().filter_map(|block| worker.wire_hash(rank, block.hash));
    names.map(|name| format!("{name:016x}")).collect()
}

impl Trouble {
    fn symptom(self) -> Symptom {
        const GAPS: &str = "rankwise_kv_event_gaps_total";
        const ERRORS: &str = "rankwise_kv_event_errors_total";
        const RESTARTS: &str = "rankwise_kv_event_restarts_total";
        match self {
            Self::LostForNow | Self::Fault(Fault::DropEvents(_)) => Symptom::Counted(&[GAPS]),
            // Where it is drained, the other rank's events are out of their order there.
            Self::Fault(Fault::LieAboutRank(_)) => Symptom::Counted(&[ERRORS, GAPS, RESTARTS]),
            Self::Restart | Self::AnnouncedRestart | Self::Cleared => Symptom::Forgotten,
            Self::Fault(Fault::SilentRank(rank)) => Symptom::Untold(rank as usize),
            Self::Fault(Fault::DeadRank(_) | Fault::ServerError) => Symptom::TakenOut("server_error"),
            Self::Fault(Fault::HungRank(_)) => Symptom::TakenOut("silent"),
            Self::Fault(Fault::StreamError | Fault::AbortAfterFirst) => Symptom::TakenOut("error_in_answer"),
            Self::Fault(Fault::ResetAfter(_) | Fault::HalfCloseAfter(_)) => Symptom::TakenOut("broken"),
            Self::Fault(Fault::RefuseConnections | Fault::Unhealthy) => Symptom::Lost,
            Self::Fault(Fault::IgnorePin) => Symptom::Misplaced,
            Self::Fault(other) => panic!("{other:?}: by what does it show?"),
        }
    }

    /// Whether requests that are sent to the first worker may fail by it. No other ever does.
    fn fails_requests(self, wire: Wire) -> bool {
        // Behind Dynamo's frontend a new process is another worker: until that is known, its frontend refuses the former's id.
        let renamed = wire == Wire::Dynamo && matches!(self, Self::Restart | Self::AnnouncedRestart);
        renamed || matches!(self.symptom(), Symptom::TakenOut(_))
    }

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

/// Prompts that nobody has asked before, to every rank, some streamed and some not.
async fn requests(proxy: &Proxy, seeds: &mut impl Iterator<Item = u64>) -> Vec<Reply> {
    let mut replies = Vec::new();
    for (seed, streamed) in seeds.take(8).zip([false, true, true, false].into_iter().cycle()) {
        let mut body = completion(seed, 200);
        body["stream"] = streamed.into();
        replies.push(proxy.client.post("/v1/completions", &body).await);
    }
    replies
}

/// Each is answered as if nothing had happened, or was sent to the worker that has the trouble.
fn assert_answered(replies: &[Reply], worker: &WorkerHandle, wire: Wire, trouble: Option<Trouble>) {
    for reply in replies.iter().filter(|reply| !is_whole(reply)) {
        assert!(
            trouble.is_some_and(|trouble| trouble.fails_requests(wire)),
            "{trouble:?}: {} {}",
            reply.status,
            reply.text()
        );
        let (id, arrivals) = (&reply.headers["x-request-id"], worker.arrivals());
        let it_was_there = arrivals.iter().any(|arrival| arrival.headers.get("x-request-id") == Some(id));
        assert!(it_was_there, "{trouble:?}: {} {}", reply.status, reply.text());
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
            let held = held(worker, rank);
            assert!(!held.is_empty(), "w{} rank {rank} holds nothing: nothing is shown", worker.index());
            assert_eq!(indexed, held, "w{} rank {rank} after {after}", worker.index());
        }
    }
}

async fn after_any_fault(wire: Wire) {
    let spec = FleetSpec { workers: 2, ranks: 2, blocks_per_rank: BLOCKS_PER_RANK, ..fast() };
    let fleet = fleet(wire.spec(spec)).await;
    let limits = json!({
        "upstream": { "probe_interval": "100ms" }, "request": { "first_byte_timeout": "1s" },
        // No failure is taken for the request's own.
        "health": { "proof_timeout": "1s", "slow_start": "1ms", "window": "1ms" },
    });
    let proxy = wire.serving(&fleet, json!({ "limits": limits })).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[0];
    let mut seeds = 0..;
    assert_answered(&requests(&proxy, &mut seeds).await, worker, wire, None);
    assert_equal(&proxy, &fleet, "nothing").await;
    for trouble in TROUBLES {
        eprintln!("{wire:?}: {trouble:?}");
        let before = Before::of(&proxy, worker).await;
        trouble.begin(worker).await;
        let mut replies = Vec::new();
        wait_until(&format!("{trouble:?} to show"), async || {
            let more = requests(&proxy, &mut seeds).await;
            assert_answered(&more, worker, wire, Some(trouble));
            replies.extend(more);
            before.shows(trouble.symptom(), &proxy, &fleet, worker, &replies).await
        })
        .await;
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
    // Of what the other worker computed it holds but the end.
    for rank in fleet.workers()[1].stats() {
        assert!(rank.prefill_computed_tokens / 16 > 2 * u64::from(BLOCKS_PER_RANK), "nothing was evicted");
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
