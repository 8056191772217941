//! Looks after the ranks of one worker: has each prove itself when it has to.

use futures_util::future::join_all;
use rankwise_engines::disaggregation::{Role, Transfer};

use super::request::{Verdict, prove};
use crate::clock;
use crate::health::{Failure, HealthSettings, Next, Proof};
use crate::pool::Pool;
use crate::upstream::{FetchError, Origin};
use crate::workers::{Rank, Worker};

/// Of one worker.
pub struct Attendant<'a> {
    /// Its pool.
    pub pool: &'a Pool,
    /// Its ranks.
    pub worker: &'a Worker,
    /// Where it is.
    pub origin: &'a Origin,
    /// Bounds.
    pub settings: HealthSettings,
}

impl Attendant<'_> {
    /// Has every rank prove itself once that has to.
    pub async fn prove_all(&self) {
        let due = self.worker.ranks.iter().filter(|rank| rank.health.next(clock::now()) == Next::Prove);
        join_all(due.map(|rank| self.prove(rank))).await;
    }

    /// The same for as long as this is polled.
    pub async fn attend(&self) {
        join_all(self.worker.ranks.iter().map(|rank| self.attend_rank(rank))).await;
    }

    async fn attend_rank(&self, rank: &Rank) {
        loop {
            match rank.health.next(clock::now()) {
                Next::Prove => self.prove(rank).await,
                // Woken or not: what counts is how it stands then.
                Next::Sleep(time) => {
                    let _ = tokio::time::timeout(time, rank.health.woken()).await;
                }
            }
        }
    }

    async fn prove(&self, rank: &Rank) {
        let was_out = rank.health.report().out.is_some();
        let verdict = self.verdict(rank).await;
        let now = clock::now();
        let (why, error) = match verdict {
            Verdict::Serves(proof) => {
                rank.metrics.proofs.good.inc();
                rank.health.proven(proof, now);
                self.tell(rank, proof, was_out);
                return self.pool.load_changed();
            }
            Verdict::Refuses(why) => {
                rank.metrics.proofs.refused.inc();
                rank.health.proven(Proof::default(), now);
                let dp_rank = rank.target.spec.rank.0;
                tracing::warn!(
                    pool = self.pool.name,
                    worker = self.worker.name(),
                    dp_rank,
                    why,
                    "nothing proven"
                );
                return self.pool.load_changed();
            }
            Verdict::Disobeys(served) => {
                let error = format!("rank {served} served what was pinned to rank {}", rank.target.spec.rank);
                tracing::error!(pool = self.pool.name, worker = self.worker.name(), error, "pin disobeyed");
                rank.metrics.proofs.disobeyed.inc();
                (Failure::Disobeyed, error)
            }
            Verdict::Refused(error) => {
                self.worker.look_after();
                (Failure::Unproven, error)
            }
            Verdict::Fails(error) => (Failure::Unproven, error),
        };
        if why == Failure::Unproven {
            rank.metrics.proofs.failed.inc();
        }
        let dp_rank = rank.target.spec.rank.0;
        tracing::warn!(pool = self.pool.name, worker = self.worker.name(), dp_rank, error, "rank not proven");
        if rank.health.unproven(why, error, now, || self.pool.is_last(&rank.target)) {
            rank.metrics.taken_out(why);
        }
    }

    async fn verdict(&self, rank: &Rank) -> Verdict {
        // One that waits for another leg cannot prove itself: its worker has to live. Where no rank can be named, too, until a request
        // has failed there: that the worker serves is then to be seen.
        let is_half = self.worker.role != Role::Aggregated
            && self.worker.engine.transfer() == Some(Transfer::BootstrapRoom);
        let is_nameless = !rank.target.spec.pinnable && !rank.health.is_accused();
        if is_nameless || is_half || !self.settings.prove_ranks {
            return self.lives().await;
        }
        prove(self.pool, self.worker, rank, self.origin, self.settings.proof_timeout).await
    }

    async fn lives(&self) -> Verdict {
        let path = self.worker.engine.health_path();
        match self.origin.get(path, ANSWER_BYTES_MAX, self.settings.proof_timeout).await {
            Ok(answer) if answer.status.is_success() => Verdict::Serves(Proof::default()),
            Ok(answer) => Verdict::Fails(format!("{path}: status {}", answer.status.as_u16())),
            Err(error) if FetchError::is_refused(&error) => Verdict::Refused(format!("{path}: {error}")),
            Err(error) => Verdict::Fails(format!("{path}: {error}")),
        }
    }

    fn tell(&self, rank: &Rank, proof: Proof, was_out: bool) {
        let (pool, worker, dp_rank) = (&self.pool.name, self.worker.name(), rank.target.spec.rank.0);
        if proof.is_untold() {
            tracing::warn!(pool, worker, dp_rank, "no kv event tells of a block that the rank computed");
        }
        if was_out {
            tracing::info!(pool, worker, dp_rank, ?proof, "rank proven");
        }
    }
}

const ANSWER_BYTES_MAX: usize = 8 << 20;
