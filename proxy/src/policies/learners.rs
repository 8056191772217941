//! Policies that learn: how requests ended goes to one instance of each, off the requests' way, and what it returns stands in the
//! column `learned` of its picks from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rankwise_core::ids::TargetId;
use rankwise_core::policy::Column;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::target::Target;
use rankwise_policy_host::{Activation, Learner, OUTCOME_FIELDS, PolicyFailure};
use rustc_hash::FxHashMap;

/// Outcomes kept for the next lesson. Beyond that they are dropped: what is learned is an average.
const OUTCOMES_MAX: usize = 4096;

/// How a request ended, as a learner is told. Times in microseconds; 0 is unknown.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Where it ran.
    pub target: TargetId,
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Those that the engine had cached.
    pub cached_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// From the decision to the first token.
    pub first_token_us: u64,
    /// From the decision to the end.
    pub total_us: u64,
    /// Booked there and not yet prefilled when it was decided.
    pub prefill_tokens: u64,
    /// In flight there then.
    pub running: u64,
}

/// Figures by target.
type Learned = FxHashMap<TargetId, u32>;

/// The learners of a pool.
#[derive(Default)]
pub(super) struct Learners {
    /// Whether anybody wants to know how requests end.
    wanted: AtomicBool,
    outcomes: Mutex<Vec<Outcome>>,
    /// One for each policy in force that learns. Held while they learn, by one thread at a time.
    learners: Mutex<Vec<Learner>>,
    /// By activation.
    learned: ArcSwap<FxHashMap<u64, Learned>>,
}

impl Learners {
    /// Notes how a request ended, if that is of use to anybody.
    pub(super) fn note(&self, outcome: Outcome) {
        if self.wanted.load(Relaxed) {
            let mut outcomes = self.outcomes.lock();
            if outcomes.len() < OUTCOMES_MAX {
                outcomes.push(outcome);
            }
        }
    }

    /// Whether outcomes are noted.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Relaxed)
    }

    /// Teaches the policies that are in force and learn, and forgets the others. Blocks for as long as they take. Those that
    /// failed are given up with what they remember.
    pub(super) fn teach(
        &self,
        in_force: &[Arc<Activation>],
        targets: &[Arc<Target>],
    ) -> Vec<(Arc<Activation>, PolicyFailure)> {
        let learning = |activation: &&Arc<Activation>| activation.compiled().has_learner();
        let wanted = in_force.iter().any(|activation| learning(&activation));
        self.wanted.store(wanted, Relaxed);
        let mut learners = self.learners.lock();
        let mut failed = Vec::new();
        learners.retain(|learner| in_force.iter().any(|known| known.id() == learner.activation().id()));
        for activation in in_force.iter().filter(learning) {
            if learners.iter().all(|learner| learner.activation().id() != activation.id()) {
                match Learner::of(activation) {
                    Some(Ok(learner)) => learners.push(learner),
                    Some(Err(failure)) => failed.push((Arc::clone(activation), failure)),
                    None => {}
                }
            }
        }
        let outcomes = std::mem::take(&mut *self.outcomes.lock());
        if learners.is_empty() || targets.is_empty() {
            if !self.learned.load().is_empty() {
                self.learned.store(Arc::default());
            }
            return failed;
        }
        let keys: Vec<u32> = targets.iter().map(|target| target.spec.key).collect();
        let numbers = numbered(&outcomes, targets);
        let mut all = FxHashMap::default();
        learners.retain_mut(|learner| match learner.learn(&keys, &numbers) {
            Ok(figures) => {
                let learned = targets.iter().map(|target| target.id).zip(figures).collect();
                all.insert(learner.activation().id(), learned);
                true
            }
            Err(failure) => {
                failed.push((Arc::clone(learner.activation()), failure));
                false
            }
        });
        self.learned.store(Arc::new(all));
        failed
    }

    /// Fills in what the policy of this activation has learned.
    pub(super) fn fill(&self, activation: u64, snapshot: &mut Snapshot) {
        if !snapshot.columns().contains(&Column::Learned) {
            return;
        }
        let all = self.learned.load();
        let Some(learned) = all.get(&activation) else { return };
        let figures: Vec<u32> =
            snapshot.rows().iter().map(|row| learned.get(&row.target).copied().unwrap_or(0)).collect();
        if let Some(column) = snapshot.column_mut(Column::Learned) {
            column.copy_from_slice(&figures);
        }
    }
}

/// As the interface has them. Those of targets that are gone tell nobody anything.
fn numbered(outcomes: &[Outcome], targets: &[Arc<Target>]) -> Vec<[u64; OUTCOME_FIELDS]> {
    let positions: FxHashMap<TargetId, usize> =
        targets.iter().enumerate().map(|(position, target)| (target.id, position)).collect();
    let numbers = |outcome: &Outcome| {
        let position = *positions.get(&outcome.target)?;
        Some([
            position as u64,
            outcome.prompt_tokens,
            outcome.cached_tokens,
            outcome.completion_tokens,
            outcome.first_token_us,
            outcome.total_us,
            outcome.prefill_tokens,
            outcome.running,
        ])
    };
    outcomes.iter().filter_map(numbers).collect()
}
