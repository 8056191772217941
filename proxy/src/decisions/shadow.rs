//! A second policy that decides along on the same tables, and how it compares. It is never followed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use rankwise_core::policy::{Column, Decision, Fact, Phase, PolicyRequest};
use rankwise_policy_host::{Activation, PolicyFailure, PolicySlot, ThreadPolicies};
use serde_json::{Value, json};

use super::record::{Answer, Chosen, Record, Table};
use crate::clock;

/// A policy that decides along.
pub struct ShadowTrial {
    slot: PolicySlot,
    activation: Arc<Activation>,
    /// By phase.
    sequences: [AtomicU64; 3],
    out: AtomicBool,
    /// How it compares.
    pub figures: ShadowFigures,
}

impl ShadowTrial {
    /// Begins.
    pub fn new(activation: Arc<Activation>) -> Self {
        activation.window().rearm();
        Self {
            slot: PolicySlot::new(Some(Arc::clone(&activation))),
            activation,
            sequences: Default::default(),
            out: AtomicBool::new(false),
            figures: ShadowFigures::default(),
        }
    }

    /// The policy.
    pub fn activation(&self) -> &Arc<Activation> {
        &self.activation
    }

    /// Whether it is asked; not any more when it has failed too often.
    pub fn is_asked(&self) -> bool {
        !self.out.load(Relaxed)
    }

    /// What it is to be asked of the next decision.
    pub fn job(self: &Arc<Self>, text: Vec<(String, String)>, phase: Phase) -> ShadowJob {
        let sequence = self.sequences[phase as usize].fetch_add(1, Relaxed);
        ShadowJob { sequence, trial: Arc::clone(self), text }
    }

    /// Counts the outcome of a pick; whether it was the failure that ends the trial.
    pub(super) fn count(&self, failed: bool) -> bool {
        let over = self.activation.window().record(clock::now(), failed);
        if over {
            self.out.store(true, Relaxed);
            self.slot.clear();
        }
        over
    }
}

/// What a shadow is asked besides what is recorded.
pub struct ShadowJob {
    pub(super) trial: Arc<ShadowTrial>,
    /// The number of its decision.
    sequence: u64,
    /// The headers it asked for.
    text: Vec<(String, String)>,
}

/// How a shadow compares with the policy that is followed, since it was started.
#[derive(Debug, Default)]
pub struct ShadowFigures {
    agreed: AtomicU64,
    differed: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
    /// Of decisions in which both named a target: by the policy followed, by the shadow.
    cached_tokens: [AtomicU64; 2],
    prefill_tokens: [AtomicU64; 2],
    running: [AtomicU64; 2],
    /// How much worse each policy scores the other's choice than its own, over decisions that differ.
    distances: [Mutex<Distance>; 2],
}

/// A sum, and of how many.
#[derive(Clone, Copy, Debug, Default)]
struct Distance {
    sum: f64,
    count: u64,
}

/// How one decision compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Both named the same target, or both none.
    Agreed,
    /// They did not.
    Differed,
    /// The shadow failed.
    Failed,
}

impl Compared {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agreed => "agreed",
            Self::Differed => "differed",
            Self::Failed => "failed",
        }
    }
}

/// What a decision promises: cached tokens, and what is booked where it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) cached_tokens: u64,
    prefill_tokens: u64,
    running: u64,
}

impl ShadowFigures {
    /// A decision that the shadow could not keep up with.
    pub fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(super) fn add(&self, compared: Compared, promises: Option<[Promise; 2]>) {
        let counter = match compared {
            Compared::Agreed => &self.agreed,
            Compared::Differed => &self.differed,
            Compared::Failed => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
        for (of, promise) in promises.into_iter().flatten().enumerate() {
            self.cached_tokens[of].fetch_add(promise.cached_tokens, Relaxed);
            self.prefill_tokens[of].fetch_add(promise.prefill_tokens, Relaxed);
            self.running[of].fetch_add(promise.running, Relaxed);
        }
    }

    /// How much worse a policy (0: followed, 1: shadow) scores the other's choice than its own.
    fn add_distance(&self, of: usize, distance: f64) {
        let mut sum = self.distances[of].lock();
        sum.sum += distance;
        sum.count += 1;
    }

    /// The mean; none if there was none to tell.
    fn distance(&self, of: usize) -> Option<f64> {
        let Distance { sum, count } = *self.distances[of].lock();
        (count > 0).then(|| sum / count as f64)
    }

    /// The mean of each: of the policy followed, and of the shadow.
    pub(super) fn distances(&self) -> [Option<f64>; 2] {
        [0, 1].map(|of| self.distance(of))
    }

    /// For the admin API.
    pub fn json(&self) -> Value {
        let [agreed, differed, failed, dropped] =
            [&self.agreed, &self.differed, &self.failed, &self.dropped].map(|counter| counter.load(Relaxed));
        let both = |sums: &[AtomicU64; 2]| {
            let [followed, shadow] = [sums[0].load(Relaxed), sums[1].load(Relaxed)];
            json!({ "followed": followed, "shadow": shadow })
        };
        let compared = agreed + differed;
        json!({
            "agreed": agreed, "differed": differed, "failed": failed, "dropped": dropped,
            "agreement": (compared > 0).then(|| agreed as f64 / compared as f64),
            "expected_cached_tokens": both(&self.cached_tokens),
            "booked_prefill_tokens": both(&self.prefill_tokens),
            "booked_requests": both(&self.running),
            "score_distance": {
                "by_followed": self.distance(0),
                "by_shadow": self.distance(1),
            },
        })
    }
}

/// Asks the shadow, and compares. Why it failed, if it did.
pub(super) fn ask(
    instances: &mut ThreadPolicies,
    columns: &mut Vec<u32>,
    job: &ShadowJob,
    record: &Record,
    followed: Option<&Arc<Activation>>,
) -> (Compared, Option<[Promise; 2]>, Option<PolicyFailure>) {
    let mut request = record.request.clone();
    request.sequence = job.sequence;
    request.text.clone_from(&job.text);
    let table = &record.table;
    let activation = &job.trial.activation;
    if !table.select(&activation.needs().columns, columns) {
        // It came into force after the table was made.
        return (Compared::Failed, None, None);
    }
    let workers = table.column(Column::Worker).unwrap_or_default();
    let picked =
        instances.pick(activation, &request, table.rows, columns, |worker| workers.contains(&worker));
    match picked {
        Err(failure) => (Compared::Failed, None, Some(failure)),
        Ok(decision) => {
            let block_size = activation.pool().block_size;
            let prompt_tokens = request.facts.get(Fact::PromptTokens);
            let promise = |chosen| promise(table, chosen, block_size, prompt_tokens);
            let shadow = promise(chosen(&decision));
            let compared =
                if agree(table, record, &decision) { Compared::Agreed } else { Compared::Differed };
            let both = promise(record.chosen).zip(shadow).map(|(a, b)| [a, b]);
            if let (Chosen::Row(one), Chosen::Row(other)) = (record.chosen, chosen(&decision)) {
                let policies =
                    [(followed, &record.request, one, other), (Some(activation), &request, other, one)];
                for (of, (policy, request, own, others)) in policies.into_iter().enumerate() {
                    let Some(policy) = policy else { continue };
                    let scored = score_of(instances, columns, policy, request, table);
                    if let Some(distance) = distance(scored, own, others) {
                        job.trial.figures.add_distance(of, distance);
                    }
                }
            }
            (compared, both, None)
        }
    }
}

/// Scores of the policy that decided, on the table that it saw; `None` if it tells none.
pub(super) fn score(
    instances: &mut ThreadPolicies,
    columns: &mut Vec<u32>,
    activation: &Arc<Activation>,
    record: &Record,
) -> Option<Result<Vec<f32>, PolicyFailure>> {
    score_of(instances, columns, activation, &record.request, &record.table)
}

fn score_of(
    instances: &mut ThreadPolicies,
    columns: &mut Vec<u32>,
    activation: &Arc<Activation>,
    request: &PolicyRequest,
    table: &Table,
) -> Option<Result<Vec<f32>, PolicyFailure>> {
    if !activation.compiled().has_scorer() || !table.select(&activation.needs().columns, columns) {
        return None;
    }
    instances.score(activation, request, table.rows, columns)
}

/// How much worse `others` row scores than one's own; none where a score is missing or infinite.
fn distance(scored: Option<Result<Vec<f32>, PolicyFailure>>, own: u32, others: u32) -> Option<f64> {
    let scores = scored?.ok()?;
    let score = |row: u32| scores.get(row as usize).copied().map(f64::from);
    let distance = score(others)? - score(own)?;
    distance.is_finite().then_some(distance)
}

fn chosen(decision: &Decision) -> Chosen {
    match decision {
        Decision::Rank(row) => Chosen::Row(*row),
        Decision::Worker(worker) => Chosen::Worker(*worker),
        Decision::Skip | Decision::Wait(_) | Decision::Reject(_) => Chosen::Nowhere,
    }
}

/// The same target; where one of them leaves the rank to the engine the same worker.
fn agree(table: &Table, record: &Record, shadow: &Decision) -> bool {
    match (record.chosen, chosen(shadow)) {
        (Chosen::Row(a), Chosen::Row(b)) => a == b,
        (Chosen::Worker(a), Chosen::Worker(b)) => a == b,
        (Chosen::Row(row), Chosen::Worker(worker)) | (Chosen::Worker(worker), Chosen::Row(row)) => {
            table.figure(Column::Worker, row) == worker
        }
        (Chosen::Nowhere, Chosen::Nowhere) => match &record.answer {
            Answer::Decided(answer) => std::mem::discriminant(answer) == std::mem::discriminant(shadow),
            Answer::Failed(..) | Answer::NotAsked => false,
        },
        (Chosen::Nowhere, _) | (_, Chosen::Nowhere) => false,
    }
}

/// Of a row; of a worker the mean over its rows.
fn promise(table: &Table, chosen: Chosen, block_size: u32, prompt_tokens: u64) -> Option<Promise> {
    let rows: Vec<u32> = match chosen {
        Chosen::Row(row) => vec![row],
        Chosen::Worker(worker) => {
            (0..table.rows).filter(|row| table.figure(Column::Worker, *row) == worker).collect()
        }
        Chosen::Nowhere => return None,
    };
    let count = (rows.len() as u64).max(1);
    let mean = |figure: &dyn Fn(u32) -> u64| rows.iter().map(|row| figure(*row)).sum::<u64>() / count;
    Some(Promise {
        cached_tokens: mean(&|row| table.held_tokens(row, block_size, prompt_tokens)),
        prefill_tokens: mean(&|row| table.figure(Column::PrefillTokens, row).into()),
        running: mean(&|row| table.figure(Column::Running, row).into()),
    })
}

/// Columns that the comparison reads, besides those of the two policies.
pub(super) const COLUMNS: [Column; 7] = [
    Column::Worker,
    Column::DpRank,
    Column::DeviceOverlap,
    Column::HostOverlap,
    Column::DiskOverlap,
    Column::PrefillTokens,
    Column::Running,
];
