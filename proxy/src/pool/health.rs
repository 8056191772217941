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
        let dp_rank = rank.target.spec.rank.0;
        if rank.health.failed(failure, clock::now(), || self.is_last(&rank.target)) {
            rank.metrics.taken_out(failure);
            let failure = failure.name();
            tracing::warn!(pool = self.name, worker = worker.name(), dp_rank, failure, "rank taken out");
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
