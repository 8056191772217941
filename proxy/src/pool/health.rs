//! What one request's failure means for the ranks of its pool.

use rankwise_core::policy::Phase;
use rankwise_core::target::{Availability, Target};

use super::Pool;
use crate::clock;
use crate::health::Failure;
use crate::workers::{Rank, Worker};

impl Pool {
    /// A request failed at a rank, and not by its own fault as far as can be seen.
    ///
    /// The rank is taken out at once and has to prove itself, unless it is the last that may be picked: what it answers is better
    /// than no answer for certain. Its worker is looked at too.
    pub fn rank_failed(&self, worker: &Worker, rank: &Rank, failure: Failure) {
        self.ranks_failed(worker, std::slice::from_ref(rank), failure);
    }

    /// No connection to a worker within the time for that: one address serves all of its ranks.
    pub fn worker_unreachable(&self, worker: &Worker) {
        self.ranks_failed(worker, &worker.ranks, Failure::Unreachable);
    }

    /// A request failed at a worker whose engine chose the rank. Where it always does, the ranks stand for the worker and are taken out with
    /// it; else the worker is looked at, as nobody knows which of them it was.
    pub fn some_rank_failed(&self, worker: &Worker, failure: Failure) {
        if worker.ranks.iter().any(|rank| rank.target.spec.pinnable) {
            worker.look_after();
        } else {
            self.ranks_failed(worker, &worker.ranks, failure);
        }
    }

    /// The event publisher of a rank closed its connection, as by the end of the rank's process, which requests may notice much later.
    pub fn publisher_gone(&self, target: &Target) {
        let workers = self.workers.current();
        let Some(worker) = workers.get(target.spec.worker) else { return };
        if let Some(rank) = worker.ranks.iter().find(|rank| rank.target.id == target.id) {
            self.rank_failed(worker, rank, Failure::EventsClosed);
        }
    }

    fn ranks_failed(&self, worker: &Worker, ranks: &[Rank], failure: Failure) {
        let now = clock::now();
        let mut any_out = false;
        for rank in
            ranks.iter().filter(|rank| rank.health.failed(failure, now, || self.is_last(&rank.target)))
        {
            rank.metrics.taken_out(failure);
            let (dp_rank, failure) = (rank.target.spec.rank.0, failure.name());
            tracing::warn!(pool = self.name, worker = worker.name(), dp_rank, failure, "rank taken out");
            any_out = true;
        }
        if any_out {
            self.load_changed();
            self.doubt_others(worker);
        }
        worker.look_after();
    }

    /// What happened to one rank may have happened to those of the same worker, and of its lockstep groups, which wait for
    /// each other: each has to prove itself, and serves meanwhile.
    pub fn doubt_others(&self, worker: &Worker) {
        let shares_group =
            |rank: &Rank| worker.ranks.iter().any(|own| own.target.spec.group == rank.target.spec.group);
        for other in self.workers.current().iter() {
            let ranks = other.ranks.iter();
            for rank in ranks.filter(|rank| other.id == worker.id || shares_group(rank)) {
                rank.health.doubt(clock::now());
            }
        }
    }

    /// Whether no other target may be picked for what it does.
    pub fn is_last(&self, target: &Target) -> bool {
        let is_another = |other: &Target| {
            other.id != target.id
                && other.spec.phases.meet(target.spec.phases)
                && other.health.availability() == Availability::Ready
        };
        !self.state.targets().iter().any(|other| is_another(other))
    }

    /// Whether some request could be answered now: by a rank that takes it whole, or by one for each leg.
    pub fn is_served(&self) -> bool {
        let targets = self.state.targets();
        let any = |phase| {
            let takes = |target: &Target| {
                target.spec.phases.has(phase) && target.health.availability() == Availability::Ready
            };
            targets.iter().any(|target| takes(target))
        };
        any(Phase::Aggregated) || (any(Phase::Prefill) && any(Phase::Decode))
    }
}
