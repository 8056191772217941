//! By what a trouble shows.

use std::collections::BTreeSet;

use rankwise_sim::{Fleet, WorkerHandle};

use crate::harness::{Proxy, Reply, arrival_of, metric};

/// By what a trouble shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symptom {
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

/// How it stood with the worker in trouble before.
pub(super) struct Before {
    name: String,
    page: String,
    losses: usize,
    held: Vec<BTreeSet<String>>,
    told: Vec<u64>,
    served: Vec<u64>,
}

impl Before {
    pub(super) async fn of(proxy: &Proxy, worker: &WorkerHandle) -> Self {
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
    pub(super) async fn shows(
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
pub(super) fn held(worker: &WorkerHandle, rank: usize) -> BTreeSet<String> {
    let cache = worker.cache(rank);
    let names = cache.iter().filter_map(|block| worker.wire_hash(rank, block.hash));
    names.map(|name| format!("{name:016x}")).collect()
}
