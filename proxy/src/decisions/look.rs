//! Which decisions are looked at, and handing them over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use rankwise_core::policy::{Column, PolicyRequest};
use rankwise_core::snapshot::Snapshot;
use rankwise_core::target::Target;
use rankwise_policy_host::Activation;

use super::observer::{Message, ObserverQueue, Watch};
use super::receipts::{Receipt, Receipts};
use super::record::{Answer, Chosen, Filtered, Lane, Record, Table, Times, Truth};
use super::recording::Recorder;
use super::shadow::{self, ShadowJob};
use crate::clock;
use crate::metrics::DecisionMetrics;

/// Request ids that wait for their receipt at a time.
const ARMED_MAX: usize = 256;
/// How long they wait.
const ARMED_FOR: Duration = Duration::from_secs(600);

/// A pool's decisions, as far as they are looked at.
pub struct Decisions {
    watch: Arc<Watch>,
    queue: ObserverQueue,
    sample_permille: u32,
    last_id: AtomicU64,
    /// How many are armed: what a decision looks at before it takes the lock.
    armed_count: AtomicUsize,
    armed: Mutex<HashMap<String, Instant>>,
}

/// What a pool's decisions are made of.
pub struct DecisionsParts {
    /// The thread that takes them.
    pub queue: ObserverQueue,
    /// Of a thousand decisions, how many leave a receipt.
    pub sample_permille: u32,
    /// Receipts kept.
    pub receipts_max: usize,
    /// Where they are recorded as well.
    pub recorder: Option<Recorder>,
    /// Counters.
    pub metrics: DecisionMetrics,
}

/// A decision that is looked at, while it is made.
pub struct Look {
    keep: bool,
    shadow: Option<ShadowJob>,
    columns: Vec<Column>,
    filtered: Vec<Filtered>,
    /// How long it takes.
    pub times: Times,
}

/// A decision that was looked at.
pub struct Seen<'a> {
    /// `x-request-id`.
    pub request_id: &'a HeaderValue,
    /// Which policy decided.
    pub lane: Lane,
    /// The policy; none where only a fallback was in force.
    pub activation: Option<&'a Arc<Activation>>,
    /// What it was told of the request.
    pub request: &'a PolicyRequest,
    /// What it was told of the ranks.
    pub snapshot: &'a Snapshot,
    /// What it said.
    pub answer: Answer,
    /// Where the request goes.
    pub chosen: Chosen,
}

impl Decisions {
    /// None looked at yet.
    pub fn new(parts: DecisionsParts) -> Self {
        let watch = Watch {
            receipts: Receipts::new(parts.receipts_max),
            recorder: Mutex::new(parts.recorder),
            metrics: parts.metrics,
        };
        Self {
            watch: Arc::new(watch),
            queue: parts.queue,
            sample_permille: parts.sample_permille,
            last_id: AtomicU64::new(0),
            armed_count: AtomicUsize::new(0),
            armed: Mutex::default(),
        }
    }

    /// Whether this decision is looked at, and how. `own` are the columns that the policy asked for; they come first in
    /// [`Look::columns`].
    pub fn look(&self, request_id: &HeaderValue, own: &[Column], shadow: Option<ShadowJob>) -> Option<Look> {
        let sampled = self.sample_permille > 0 && fastrand::u32(..1000) < self.sample_permille;
        let keep = sampled || self.is_armed(request_id);
        if !keep && shadow.is_none() {
            return None;
        }
        let mut columns = own.to_vec();
        let mut add = |more: &[Column]| {
            for column in more {
                if !columns.contains(column) {
                    columns.push(*column);
                }
            }
        };
        if let Some(shadow) = &shadow {
            add(&shadow.trial.activation().needs().columns);
            add(&shadow::COLUMNS);
        }
        if keep {
            // So that any policy can be tried on the recording.
            add(&Column::ALL);
        }
        Some(Look { keep, shadow, columns, filtered: Vec::new(), times: Times::default() })
    }

    /// Hands a decision over. Its number, by which the truth is told later; none if nobody wants to know.
    pub fn seen(&self, look: Option<Look>, seen: Seen<'_>) -> Option<u64> {
        let look = look?;
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let record = Record {
            id,
            request_id: text(seen.request_id).to_owned(),
            at_unix_ms: clock::unix_ms(),
            lane: seen.lane,
            request: seen.request.clone(),
            table: Table {
                rows: u32::try_from(seen.snapshot.rows().len()).unwrap_or(u32::MAX),
                columns: seen.snapshot.columns().to_vec(),
                packed: seen.snapshot.packed().to_vec(),
            },
            answer: seen.answer,
            chosen: seen.chosen,
            times: look.times,
            filtered: look.filtered,
        };
        let (keep, trial) = (look.keep, look.shadow.as_ref().map(|shadow| Arc::clone(&shadow.trial)));
        let taken = self.queue.offer(Message::Decision {
            watch: Arc::clone(&self.watch),
            record: Box::new(record),
            activation: seen.activation.cloned(),
            shadow: look.shadow,
            keep,
        });
        if !taken {
            self.watch.metrics.dropped.inc();
            if let Some(trial) = trial {
                trial.figures.dropped();
                self.watch.metrics.shadow_dropped.inc();
            }
        }
        (taken && keep).then_some(id)
    }

    /// Tells what became of a decision.
    pub fn learn(&self, id: u64, truth: Truth) {
        let told = self.queue.offer(Message::Truth { watch: Arc::clone(&self.watch), id, truth });
        if !told {
            self.watch.metrics.dropped.inc();
        }
    }

    /// Has the next request with this id leave a receipt. Whether there was room to remember it.
    pub fn arm(&self, request_id: &str) -> bool {
        let mut armed = self.armed.lock();
        armed.retain(|_, since| since.elapsed() < ARMED_FOR);
        let room = armed.len() < ARMED_MAX;
        if room {
            armed.insert(request_id.to_owned(), Instant::now());
        }
        self.armed_count.store(armed.len(), Relaxed);
        room
    }

    /// The last receipts, the newest first; of one request if that is asked for.
    pub fn receipts(&self, limit: usize, request_id: Option<&str>) -> Vec<Receipt> {
        self.watch.receipts.last(limit, request_id)
    }

    fn is_armed(&self, request_id: &HeaderValue) -> bool {
        if self.armed_count.load(Relaxed) == 0 {
            return false;
        }
        let armed = self.armed.lock();
        armed.get(text(request_id)).is_some_and(|since| since.elapsed() < ARMED_FOR)
    }
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

impl Look {
    /// The columns to take the snapshot with.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A snapshot begins: nobody has been left out of it yet.
    pub fn start(&mut self) -> Instant {
        self.filtered.clear();
        Instant::now()
    }

    /// Notes that a target was left out of the table.
    pub fn left_out(&mut self, target: &Target, reason: &str) {
        if self.keep {
            let (worker, rank) = (target.spec.worker.0, target.spec.rank.0);
            self.filtered.push(Filtered { worker, rank, reason: reason.to_owned() });
        }
    }
}
