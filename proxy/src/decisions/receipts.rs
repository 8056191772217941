//! The last decisions that were looked at, whole, for the admin API.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use rankwise_core::policy::{Column, Decision};
use rankwise_core::target::Condition;
use rankwise_policy_host::{Activation, PolicyVersion};
use serde_json::{Map, Value, json};

use super::record::{Answer, Chosen, Record, Truth};

/// One decision, and what became of it.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The decision.
    pub record: Arc<Record>,
    /// The policy that decided; none where only a fallback was in force.
    pub policy: Option<DecidedBy>,
    /// By row, of a policy that tells scores; the lower the better.
    pub scores: Option<Vec<f32>>,
    /// Once the request has ended.
    pub truth: Option<Truth>,
}

/// What a receipt says of the policy that decided. Not the policy: a receipt would keep its instances long after it was replaced.
#[derive(Clone, Debug)]
pub struct DecidedBy {
    version: PolicyVersion,
    /// Those that it asked for.
    columns: Vec<Column>,
}

impl From<&Activation> for DecidedBy {
    fn from(activation: &Activation) -> Self {
        Self { version: activation.version().clone(), columns: activation.needs().columns.clone() }
    }
}

/// The last ones.
#[derive(Debug)]
pub(super) struct Receipts {
    receipts: Mutex<VecDeque<Receipt>>,
    max: usize,
}

impl Receipts {
    pub(super) fn new(max: usize) -> Self {
        Self { receipts: Mutex::default(), max }
    }

    pub(super) fn add(&self, receipt: Receipt) {
        let mut receipts = self.receipts.lock();
        while receipts.len() >= self.max {
            receipts.pop_back();
        }
        receipts.push_front(receipt);
    }

    /// Adds the truth to a decision that is still here.
    pub(super) fn learn(&self, id: u64, truth: &Truth) {
        let mut receipts = self.receipts.lock();
        if let Some(receipt) = receipts.iter_mut().find(|receipt| receipt.record.id == id) {
            receipt.truth = Some(truth.clone());
        }
    }

    /// The newest first, at most so many; of one request if that is asked for.
    pub(super) fn last(&self, limit: usize, request_id: Option<&str>) -> Vec<Receipt> {
        let receipts = self.receipts.lock();
        let wanted = |receipt: &&Receipt| request_id.is_none_or(|id| receipt.record.request_id == id);
        receipts.iter().filter(wanted).take(limit).cloned().collect()
    }
}

/// Names of the facts, by index.
const FACTS: [&str; 12] = [
    "prompt-tokens",
    "prompt-blocks",
    "max-output-tokens",
    "sequences",
    "priority",
    "attempt",
    "deadline-ms",
    "session-row",
    "session-key",
    "prefix-key",
    "tenant-key",
    "peer-row",
];

impl Receipt {
    /// For the admin API. `worker` names a worker by its number.
    pub fn json(&self, worker: &dyn Fn(u32) -> Option<String>) -> Value {
        let record = &self.record;
        let table = &record.table;
        let facts: Map<String, Value> = FACTS
            .iter()
            .zip(record.request.facts.as_slice())
            .filter(|(_, value)| **value != 0)
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let rows: Vec<_> = (0..table.rows)
            .map(|row| {
                let figures: Vec<_> = table.columns.iter().map(|column| table.figure(*column, row)).collect();
                json!({
                    "worker": worker(table.figure(Column::Worker, row)),
                    "dp_rank": table.figure(Column::DpRank, row),
                    "figures": figures,
                    // Infinite: it would never be picked.
                    "score": self.scores.as_ref().and_then(|scores| scores.get(row as usize)),
                })
            })
            .collect();
        let filtered: Vec<_> = record
            .filtered
            .iter()
            .map(|out| json!({ "worker": worker(out.worker), "dp_rank": out.rank, "reason": out.reason }))
            .collect();
        let asked = self.policy.as_ref().map(|policy| policy.columns.as_slice());
        let names = |columns: &[Column]| columns.iter().map(|column| column.name()).collect::<Vec<_>>();
        json!({
            "id": record.id,
            "request_id": record.request_id,
            "at_unix_ms": record.at_unix_ms,
            "lane": record.lane.name(),
            "phase": record.request.phase.name(),
            "policy": self.policy.as_ref().map(|policy| policy.version.to_string()),
            "digest": self.policy.as_ref().map(|policy| policy.version.digest.clone()),
            "sequence": record.request.sequence,
            "seed": record.request.seed,
            "facts": facts,
            "columns": names(&table.columns),
            "columns_asked_for": names(asked.unwrap_or_default()),
            "rows": rows,
            "filtered": filtered,
            "answer": answer(&record.answer),
            "chosen": chosen(record, worker),
            "margin": self.margin(),
            "snapshot_us": record.times.snapshot.as_secs_f64() * 1e6,
            "policy_us": record.times.policy.as_secs_f64() * 1e6,
            "truth": self.truth.as_ref().map(truth),
        })
    }
}

impl Receipt {
    /// How much better the row chosen scored than the best of the others; negative if one of them was better. None without scores,
    /// without a row, or without another one that could be picked.
    fn margin(&self) -> Option<f32> {
        let (scores, Chosen::Row(row)) = (self.scores.as_ref()?, self.record.chosen) else { return None };
        let own = *scores.get(row as usize)?;
        let others = (0..).zip(scores).filter(|(other, _)| *other != row).map(|(_, score)| *score);
        let margin = others.fold(f32::INFINITY, f32::min) - own;
        margin.is_finite().then_some(margin)
    }
}

fn answer(answer: &Answer) -> Value {
    match answer {
        Answer::Decided(Decision::Rank(row)) => json!({ "rank": row }),
        Answer::Decided(Decision::Worker(worker)) => json!({ "worker": worker }),
        Answer::Decided(Decision::Skip) => json!({ "skip": true }),
        Answer::Decided(Decision::Wait(ms)) => json!({ "wait_ms": ms }),
        Answer::Decided(Decision::Reject(rejection)) => {
            json!({ "reject": { "status": rejection.status, "reason": rejection.reason } })
        }
        Answer::Failed(kind, text) => json!({ "failed": { "kind": kind, "said": text } }),
        Answer::NotAsked => Value::Null,
    }
}

/// As in the metrics: the engine chooses the rank.
const BY_ENGINE: &str = "engine";

fn chosen(record: &Record, worker: &dyn Fn(u32) -> Option<String>) -> Value {
    let figure = |column, row| record.table.figure(column, row);
    match record.chosen {
        Chosen::Row(row) if Condition(figure(Column::Condition, row)).has(Condition::NOT_PINNABLE) => {
            json!({ "row": row, "worker": worker(figure(Column::Worker, row)), "dp_rank": BY_ENGINE })
        }
        Chosen::Row(row) => json!({
            "row": row,
            "worker": worker(figure(Column::Worker, row)),
            "dp_rank": figure(Column::DpRank, row),
        }),
        Chosen::Worker(number) => json!({ "worker": worker(number), "dp_rank": BY_ENGINE }),
        Chosen::Nowhere => Value::Null,
    }
}

fn truth(truth: &Truth) -> Value {
    json!({
        "outcome": truth.outcome,
        "prompt_tokens": truth.prompt_tokens,
        "cached_tokens": truth.cached_tokens,
        "completion_tokens": truth.completion_tokens,
        "first_token_ms": truth.first_token.map(|elapsed| elapsed.as_secs_f64() * 1e3),
        "total_ms": truth.total.as_secs_f64() * 1e3,
    })
}
