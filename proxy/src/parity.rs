//! Whether prompts consist of the blocks that they are predicted to: predictions against what engines say.
//!
//! A prompt's blocks are hashed from the token ids that it is thought to have, and those in a rank's KV events from the ids in these events:
//! an event confirms a prediction where the ids are the same. Blocks that were predicted, computed and never confirmed are counted against the
//! others, per rank. Where they are too many, the rank's events speak of other prompts than the proxy does: its overlap is not known, the
//! rank carries the condition `approximate`, nothing is expected of its `cached_tokens`, and log, metrics, admin API and `/readyz` say so.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use rankwise_core::ids::TargetId;
use rankwise_core::state::{PendingReport, RoutingState};
use rustc_hash::FxHashMap;

use crate::workers::{Rank, Worker, WorkerTable};

/// Blocks that a verdict needs.
const SAMPLE: u64 = 200;

/// What a pool's predictions came to. See the module.
#[derive(Default)]
pub struct Parity(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    ranks: FxHashMap<TargetId, Sample>,
    checked: BTreeMap<(&'static str, String), Checked>,
}

/// Blocks that were predicted, by what the rank's events said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Stored as predicted.
    pub confirmed: u64,
    /// Never stored.
    pub unconfirmed: u64,
}

/// One rank's blocks since its last verdict.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// What its ledger had counted at the last look.
    seen: Checked,
    new: Checked,
    /// The sample that contradicted the predictions, while none has agreed with them since.
    contradiction: Option<Checked>,
}

impl Parity {
    /// Looks at what has been counted of this pool's ranks since the last look.
    pub fn look(&self, pool: &str, workers: &WorkerTable, state: &RoutingState) {
        let mut inner = self.0.lock();
        let permille_max = u64::from(state.config().unconfirmed_permille_max);
        let mut ranks = FxHashMap::default();
        for worker in workers.iter() {
            for rank in worker.ranks.iter().filter(|rank| rank.has_events) {
                let id = rank.target.id;
                let mut sample = inner.ranks.get(&id).copied().unwrap_or_default();
                let new = sample.take(state.pending_report(id).unwrap_or_default());
                let model = worker.models.first().cloned().unwrap_or_default();
                inner.checked.entry((worker.engine.name(), model)).or_default().add(new);
                if let Some(contradicted) = sample.judge(permille_max) {
                    rank.target.feed.set_contradicted(contradicted.is_some());
                    tell(pool, worker, rank, contradicted);
                }
                ranks.insert(id, sample);
            }
        }
        inner.ranks = ranks;
    }

    /// What was checked so far, by engine and model.
    pub fn checked(&self) -> Vec<((&'static str, String), Checked)> {
        self.0.lock().checked.iter().map(|(of, checked)| (of.clone(), *checked)).collect()
    }

    /// Which ranks contradict the predictions, and how; none do where this is empty.
    pub fn contradictions(&self, workers: &WorkerTable) -> Vec<String> {
        let inner = self.0.lock();
        let ranks = workers.iter().flat_map(|worker| worker.ranks.iter().map(move |rank| (worker, rank)));
        let told = |(worker, rank): (&std::sync::Arc<Worker>, &Rank)| {
            let sample = inner.ranks.get(&rank.target.id)?.contradiction?;
            Some(format!("worker {} rank {}: {}", worker.name(), rank.target.spec.rank.0, sample.words()))
        };
        ranks.filter_map(told).collect()
    }
}

impl Sample {
    /// Takes in what the ledger has counted; returns what is new. A restarted rank counts from 0.
    fn take(&mut self, report: PendingReport) -> Checked {
        let now = Checked { confirmed: report.confirmed, unconfirmed: report.unconfirmed };
        let restarted = now.confirmed < self.seen.confirmed || now.unconfirmed < self.seen.unconfirmed;
        let before = if restarted { Checked::default() } else { self.seen };
        self.seen = now;
        let new = Checked {
            confirmed: now.confirmed - before.confirmed,
            unconfirmed: now.unconfirmed - before.unconfirmed,
        };
        self.new.add(new);
        new
    }

    /// Once the sample is full, whether it contradicts the predictions, if that is another verdict than before.
    fn judge(&mut self, permille_max: u64) -> Option<Option<Checked>> {
        let blocks = self.new.confirmed + self.new.unconfirmed;
        if blocks < SAMPLE {
            return None;
        }
        let sample = std::mem::take(&mut self.new);
        let verdict = (sample.unconfirmed * 1000 > blocks * permille_max).then_some(sample);
        let before = std::mem::replace(&mut self.contradiction, verdict);
        (before.is_some() != verdict.is_some()).then_some(verdict)
    }
}

impl Checked {
    fn add(&mut self, other: Self) {
        self.confirmed += other.confirmed;
        self.unconfirmed += other.unconfirmed;
    }

    fn words(self) -> String {
        format!(
            "{} of {} predicted blocks are not in its KV events: the engine's token ids are others (tokenizer, chat template or cache salt), or it \
             caches no prefixes",
            self.unconfirmed,
            self.confirmed + self.unconfirmed
        )
    }
}

fn tell(pool: &str, worker: &Worker, rank: &Rank, contradicted: Option<Checked>) {
    let (worker, dp_rank) = (worker.name(), rank.target.spec.rank.0);
    match contradicted {
        Some(sample) => {
            let reason = sample.words();
            tracing::warn!(pool, worker, dp_rank, reason, "overlap approximate");
        }
        None => tracing::info!(pool, worker, dp_rank, "overlap as predicted again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(confirmed: u64, unconfirmed: u64) -> PendingReport {
        PendingReport { confirmed, unconfirmed, ..PendingReport::default() }
    }

    #[test]
    fn a_verdict_needs_a_sample_and_is_told_once() {
        let mut sample = Sample::default();
        sample.take(report(100, 99));
        assert_eq!(sample.judge(200), None, "too few");
        assert_eq!(sample.take(report(100, 100)), Checked { confirmed: 0, unconfirmed: 1 });
        assert!(matches!(sample.judge(200), Some(Some(Checked { confirmed: 100, unconfirmed: 100 }))));
        sample.take(report(100, 300));
        assert_eq!(sample.judge(200), None, "the same verdict");
        sample.take(report(300, 300));
        assert_eq!(sample.judge(200), Some(None), "as predicted again");
    }

    #[test]
    fn a_restarted_rank_counts_from_nothing() {
        let mut sample = Sample::default();
        sample.take(report(50, 7));
        assert_eq!(sample.take(report(3, 0)), Checked { confirmed: 3, unconfirmed: 0 });
    }
}
