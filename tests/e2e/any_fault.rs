//! The index equals the engine's cache after any fault, whatever wire the engine speaks, and no request fails or runs twice by it but
//! those that were where it was.
//!
//! Each fault shows by a symptom of its own before it is healed: one that does nothing would show nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rankwise_sim::{Fault, Fleet, FleetSpec, WorkerHandle};
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{
    Proxy, Reply, Wire, address_of, all_in, arrival_of, arrivals, completion, fast, fleet, is_whole, metric,
    wait_until,
};

/// A rank holds ten of the prompts: most of what is computed is evicted again.
const BLOCKS_PER_RANK: u32 = 129;

/// Bit 0: what the index holds is learned from what was sent.
const APPROXIMATE: u64 = 1;

/// What goes wrong with a worker.
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

const TROUBLES: [Trouble; 18] = [
    Trouble::Fault(Fault::DropEvents(3)),
    Trouble::LostForNow,
    Trouble::Restart,
    Trouble::AnnouncedRestart,
    Trouble::Cleared,
    Trouble::Fault(Fault::SilentRank(0)),
    Trouble::Fault(Fault::DeadRank(1)),
    Trouble::Fault(Fault::DyingRank(1, Duration::from_millis(200))),
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
    /// Its series of these families grow.
    Counted(&'static [&'static str]),
    /// One of its ranks is taken out for one of these.
    TakenOut(&'static [&'static str]),
    /// It is lost.
    Lost,
    /// It holds nothing of what it held.
    Forgotten,
    /// This rank serves requests, and tells nothing.
    Untold(usize),
    /// A request is served by another rank than it names.
    Misplaced,
}

/// Where there is trouble, and of what kind the others are.
#[derive(Clone, Copy, Debug)]
struct Scene {
    wire: Wire,
    /// So many of the workers, the first ones, compute prompts for the others.
    prefills: usize,
    /// The worker that has the trouble.
    troubled: usize,
}

impl Scene {
    fn spec(self) -> FleetSpec {
        let workers = if self.prefills > 0 { 4 } else { 2 };
        let (ranks, blocks_per_rank) = (2, BLOCKS_PER_RANK);
        let spec = FleetSpec { workers, ranks, blocks_per_rank, prefill_workers: self.prefills, ..fast() };
        self.wire.spec(spec)
    }

    /// What can go wrong there.
    fn troubles(self) -> impl Iterator<Item = Trouble> {
        let is_of_events =
            |fault| matches!(fault, Fault::DropEvents(_) | Fault::SilentRank(_) | Fault::LieAboutRank(_));
        let is_of_one_rank =
            |fault| matches!(fault, Fault::DeadRank(_) | Fault::DyingRank(..) | Fault::HungRank(_));
        // Of answers that are streamed.
        let is_of_streams =
            |fault| matches!(fault, Fault::ResetAfter(_) | Fault::HalfCloseAfter(_) | Fault::AbortAfterFirst);
        let can_be = move |trouble: &Trouble| match *trouble {
            Trouble::LostForNow => self.wire.tells_events(),
            Trouble::Fault(fault) if is_of_events(fault) => {
                self.wire.tells_events() && (self.prefills == 0 || !matches!(fault, Fault::LieAboutRank(_)))
            }
            Trouble::Fault(fault) if is_of_one_rank(fault) => {
                // The legs of SGLang wait for each other: whose silence it is nobody can tell.
                let hangs_both =
                    self.prefills > 0 && self.wire == Wire::Sglang && !matches!(fault, Fault::DeadRank(_));
                self.wire != Wire::Generic && !hangs_both
            }
            Trouble::Fault(fault) if is_of_streams(fault) => self.troubled >= self.prefills,
            // Of its models alone such a server is asked.
            Trouble::Fault(Fault::Unhealthy) => self.wire != Wire::Generic,
            Trouble::Fault(Fault::IgnorePin) => self.wire.names_ranks() && self.prefills == 0,
            _ => true,
        };
        TROUBLES.into_iter().filter(can_be)
    }
}

/// How it stood with the worker in trouble before.
struct Before {
    name: String,
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
            name: format!("w{}", worker.index()),
            page: proxy.metrics().await,
            losses: losses(proxy, worker),
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
        let its = format!("worker=\"{}\"", self.name);
        match symptom {
            Symptom::Counted(families) => {
                let page = proxy.metrics().await;
                families.iter().any(|family| grew(&page, family, &[&its]))
            }
            Symptom::TakenOut(reasons) => {
                let page = proxy.metrics().await;
                reasons.iter().any(|reason| {
                    grew(&page, "rankwise_ranks_taken_out_total", &[&its, &format!("reason=\"{reason}\"")])
                })
            }
            Symptom::Lost => losses(proxy, worker) > self.losses,
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

/// How often a worker was lost.
fn losses(proxy: &Proxy, worker: &WorkerHandle) -> usize {
    let name = format!("w{}", worker.index());
    proxy.log().iter().filter(|line| line.contains("worker lost") && line.contains(&name)).count()
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
            Self::Fault(Fault::ServerError) => Symptom::TakenOut(&["server_error"]),
            // Where there are event sockets, by these.
            Self::Fault(Fault::DeadRank(_) | Fault::DyingRank(..)) => {
                Symptom::TakenOut(&["events_closed", "server_error", "silent"])
            }
            Self::Fault(Fault::HungRank(_)) => Symptom::TakenOut(&["silent"]),
            Self::Fault(Fault::StreamError | Fault::AbortAfterFirst) => {
                Symptom::TakenOut(&["error_in_answer"])
            }
            Self::Fault(Fault::ResetAfter(_) | Fault::HalfCloseAfter(_)) => Symptom::TakenOut(&["broken"]),
            Self::Fault(Fault::RefuseConnections | Fault::Unhealthy) => Symptom::Lost,
            Self::Fault(Fault::IgnorePin) => Symptom::Misplaced,
            Self::Fault(other) => panic!("{other:?}: by what does it show?"),
        }
    }

    /// Whether requests that are sent to the worker in trouble may fail by it. No other ever does.
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
        untold || (wire.is_drained() && drained)
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
fn assert_answered(replies: &[Reply], worker: &WorkerHandle, scene: Scene, trouble: Option<Trouble>) {
    for reply in replies.iter().filter(|reply| !is_whole(reply)) {
        assert!(
            trouble.is_some_and(|trouble| trouble.fails_requests(scene.wire)),
            "{trouble:?}: {} {}",
            reply.status,
            reply.text()
        );
        let (id, arrivals) = (&reply.headers["x-request-id"], worker.arrivals());
        let it_was_there = arrivals.iter().any(|arrival| arrival.headers.get("x-request-id") == Some(id));
        assert!(it_was_there, "{trouble:?}: {} {}", reply.status, reply.text());
    }
}

/// What the index says that a rank holds, by the engine's own names.
async fn indexed(proxy: &Proxy, worker: usize, rank: usize) -> BTreeSet<String> {
    let path = format!("/v1/pools/main/ranks/w{worker}/{rank}/blocks?limit=10000");
    let listed = proxy.admin.get(&path).await.json();
    let blocks = listed["blocks"].as_array().expect("a list");
    blocks.iter().filter_map(|block| block["engine_hash"].as_str().map(str::to_owned)).collect()
}

/// Waits until the index says of each rank that it holds what it holds: a restart may not be noticed yet, and what the new process tells
/// may be as much as the former one did.
async fn assert_equal(proxy: &Proxy, fleet: &Fleet, after: &str) {
    proxy.settled(fleet).await;
    for worker in fleet.workers() {
        for rank in 0..worker.stats().len() {
            let place = format!("w{} rank {rank}", worker.index());
            assert!(!held(worker, rank).is_empty(), "{place} holds nothing: nothing is shown");
            wait_until(&format!("the index to say what {place} holds after {after}"), async || {
                indexed(proxy, worker.index(), rank).await == held(worker, rank)
            })
            .await;
        }
    }
}

/// Each rank of a worker does something, and tells of it.
async fn has_spoken(scene: Scene, proxy: &Proxy, fleet: &Fleet, seeds: &mut impl Iterator<Item = u64>) {
    let worker = &fleet.workers()[scene.troubled];
    let served = || worker.stats().iter().map(|rank| rank.finished).collect::<Vec<_>>();
    let before = served();
    let mut rank = 0;
    wait_until("each of its ranks to serve", async || {
        if scene.prefills > 0 {
            assert_answered(&requests(proxy, seeds).await, worker, scene, None);
        } else if let Some(seed) = seeds.next() {
            scene.wire.ask(fleet, scene.troubled, rank % before.len(), seed).await;
            rank += 1;
        }
        served().iter().zip(&before).all(|(now, before)| now > before)
    })
    .await;
}

/// Whoever answers a request is asked once, whatever comes of it.
fn assert_nothing_ran_twice(scene: Scene, fleet: &Fleet) {
    let mut seen = BTreeMap::<String, usize>::new();
    for arrival in arrivals(fleet).into_iter().filter(|arrival| arrival.worker >= scene.prefills) {
        let id = arrival.headers["x-request-id"].to_str().expect("text").to_owned();
        *seen.entry(id).or_default() += 1;
    }
    assert!(seen.len() > 50, "{} requests show little", seen.len());
    assert!(seen.values().all(|count| *count == 1), "{seen:?}");
}

/// What is known is what the engines hold; where they tell nothing, that is said.
async fn assert_known(scene: Scene, proxy: &Proxy, fleet: &Fleet, after: &str) {
    if scene.wire.tells_events() {
        return assert_equal(proxy, fleet, after).await;
    }
    for rank in proxy.ranks().await {
        assert_ne!(rank["condition"].as_u64().expect("bits") & APPROXIMATE, 0, "{rank} after {after}");
    }
}

async fn after_any_fault(scene: Scene) {
    let wire = scene.wire;
    let fleet = fleet(scene.spec()).await;
    let limits = json!({
        "upstream": { "probe_interval": "100ms" }, "request": { "first_byte_timeout": "1s" },
        // No failure is taken for the request's own.
        "health": { "proof_timeout": "1s", "slow_start": "1ms", "window": "1ms" },
    });
    let proxy = wire.serving(&fleet, json!({ "limits": limits })).await;
    proxy.activate("round-robin", json!({ "pin": "rank" })).await;
    let worker = &fleet.workers()[scene.troubled];
    let mut seeds = 0..;
    assert_answered(&requests(&proxy, &mut seeds).await, worker, scene, None);
    assert_known(scene, &proxy, &fleet, "nothing").await;
    for trouble in scene.troubles() {
        eprintln!("{scene:?}: {trouble:?}");
        let before = Before::of(&proxy, worker).await;
        trouble.begin(worker).await;
        let mut replies = Vec::new();
        wait_until(&format!("{trouble:?} to show"), async || {
            let more = requests(&proxy, &mut seeds).await;
            assert_answered(&more, worker, scene, Some(trouble));
            replies.extend(more);
            before.shows(trouble.symptom(), &proxy, &fleet, worker, &replies).await
        })
        .await;
        worker.heal();
        if trouble.is_lossy(wire) {
            cleared(worker).await;
        }
        wait_until("it to take connections", async || {
            TcpStream::connect(address_of(&fleet, scene.troubled)).await.is_ok()
        })
        .await;
        if scene.prefills == 0 {
            has_spoken(scene, &proxy, &fleet, &mut seeds).await;
            all_in(&proxy).await;
        } else {
            all_in(&proxy).await;
            has_spoken(scene, &proxy, &fleet, &mut seeds).await;
        }
        assert_known(scene, &proxy, &fleet, &format!("{trouble:?}")).await;
    }
    assert_nothing_ran_twice(scene, &fleet);
    if scene.prefills == 0 {
        // Of what the other worker computed it holds but the end.
        for rank in fleet.workers()[1].stats() {
            assert!(
                rank.prefill_computed_tokens / 16 > 2 * u64::from(BLOCKS_PER_RANK),
                "nothing was evicted"
            );
        }
        are_promised_what_they_hold(scene, &proxy, &fleet).await;
    }
    fleet.stop().await;
}

/// A promise is kept on each of them; where nothing is known of a rank, nothing is promised.
async fn are_promised_what_they_hold(scene: Scene, proxy: &Proxy, fleet: &Fleet) {
    for rank in proxy.ranks().await {
        assert_eq!(
            rank["condition"].as_u64().map(|bits| bits & crate::harness::UNTRUSTED),
            Some(0),
            "{rank}"
        );
    }
    proxy.activate("kv", json!({})).await;
    for (seed, again) in (1_000_000..1_000_008).flat_map(|seed| [(seed, false), (seed, true)]) {
        if scene.wire.tells_events() {
            proxy.settled(fleet).await;
        }
        let reply = proxy.client.post("/v1/completions", &completion(seed, 200)).await;
        if scene.wire.names_ranks() {
            let promised = reply.promised_tokens();
            assert_eq!((promised, reply.cached_tokens()), if again { (192, 192) } else { (0, 0) });
        } else {
            assert!(is_whole(&reply), "{}", reply.text());
            assert_eq!(reply.header("x-rankwise-expected-cached-tokens"), "");
        }
    }
}

async fn in_one_leg(wire: Wire) {
    after_any_fault(Scene { wire, prefills: 0, troubled: 0 }).await;
}

/// With the trouble at one that computes prompts, and then at one that answers.
async fn in_two_legs(wire: Wire) {
    for troubled in [0, 2] {
        after_any_fault(Scene { wire, prefills: 2, troubled }).await;
    }
}

#[tokio::test]
async fn of_vllm() {
    in_one_leg(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang() {
    in_one_leg(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_behind_the_shim() {
    in_one_leg(Wire::Trtllm).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained() {
    in_one_leg(Wire::TrtllmDrained).await;
}

#[tokio::test]
async fn of_trtllm_that_is_drained_and_chooses_the_rank() {
    in_one_leg(Wire::TrtllmBare).await;
}

#[tokio::test]
async fn of_workers_behind_dynamo() {
    in_one_leg(Wire::Dynamo).await;
}

#[tokio::test]
async fn of_servers_that_tell_nothing() {
    in_one_leg(Wire::Generic).await;
}

#[tokio::test]
async fn of_vllm_in_two_legs() {
    in_two_legs(Wire::Vllm).await;
}

#[tokio::test]
async fn of_sglang_in_two_legs() {
    in_two_legs(Wire::Sglang).await;
}

#[tokio::test]
async fn of_trtllm_in_two_legs() {
    in_two_legs(Wire::Trtllm).await;
}
