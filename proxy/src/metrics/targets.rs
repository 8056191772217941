//! The families about single targets: their requests, and what their ranks report.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use rankwise_engines::events::{SkipReason, Skipped};

use super::builder::{Builder, ENGINE_BUCKETS, TARGET};
use super::outcome::{Attempt, Outcome, PrefillOutcome};
use crate::health::Failure;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct TargetFamilies {
    requests: IntCounterVec,
    attempts: IntCounterVec,
    prefills: IntCounterVec,
    taken_out: IntCounterVec,
    proofs: IntCounterVec,
    time_to_first_token: HistogramVec,
    inter_token: HistogramVec,
    cold_reports: IntCounterVec,
    promises_broken: IntCounterVec,
    load_messages: IntCounterVec,
    event_messages: IntCounterVec,
    event_gaps: IntCounterVec,
    event_replays: IntCounterVec,
    event_restarts: IntCounterVec,
    event_errors: IntCounterVec,
    event_skips: IntCounterVec,
    event_connected: IntGaugeVec,
}

/// The per-target handles, looked up once.
#[derive(Clone, Debug)]
pub struct TargetMetrics {
    outcomes: [IntCounter; Outcome::ALL.len()],
    attempts: [IntCounter; Attempt::ALL.len()],
    prefills: [IntCounter; PrefillOutcome::ALL.len()],
    taken_out: [IntCounter; Failure::ALL.len()],
    event_skips: [IntCounter; SkipReason::ALL.len()],
    /// What came of the proxy's own requests.
    pub proofs: ProofMetrics,
    /// To the first token of an answer.
    pub time_to_first_token: Histogram,
    /// Between two chunks of a streamed answer.
    pub inter_token: Histogram,
    /// Requests that asked for a report of the blocks they reuse.
    pub cold_reports: IntCounter,
    /// Answers that said that less was cached than promised.
    pub promises_broken: IntCounter,
    /// Messages in which the rank told its load by itself.
    pub load_messages: IntCounter,
    /// KV-event messages.
    pub event_messages: IntCounter,
    /// Gaps in their sequence.
    pub event_gaps: IntCounter,
    /// Replays asked for.
    pub event_replays: IntCounter,
    /// Restarts seen.
    pub event_restarts: IntCounter,
    /// Messages or events that could not be used.
    pub event_errors: IntCounter,
    /// 1 while the feed is connected and complete.
    pub event_connected: IntGauge,
}

impl TargetMetrics {
    /// Counts a request that ended so.
    pub fn request(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].inc();
    }

    /// Counts an attempt to send a request.
    pub fn attempt(&self, result: Attempt) {
        self.attempts[result as usize].inc();
    }

    /// Counts a prompt that it was to compute for another target.
    pub fn prefill(&self, outcome: PrefillOutcome) {
        self.prefills[outcome as usize].inc();
    }

    /// Counts that it was taken out for this.
    pub fn taken_out(&self, why: Failure) {
        self.taken_out[why as usize].inc();
    }

    /// Counts events that were skipped between two looks. Whether any was of another block size, for the first time.
    pub fn skipped(&self, now: &Skipped, before: &Skipped) -> bool {
        for (counter, reason) in self.event_skips.iter().zip(SkipReason::ALL) {
            counter.inc_by(now.count(reason).saturating_sub(before.count(reason)));
        }
        now.count(SkipReason::BlockSize) > 0 && before.count(SkipReason::BlockSize) == 0
    }

    /// Events that were skipped, by reason; those of which there were none are left out.
    pub fn skips(&self) -> impl Iterator<Item = (SkipReason, u64)> + '_ {
        let counted = SkipReason::ALL.into_iter().zip(self.event_skips.iter().map(IntCounter::get));
        counted.filter(|(_, count)| *count > 0)
    }
}

/// Requests of the proxy's own that a rank has to serve to be admitted.
#[derive(Clone, Debug)]
pub struct ProofMetrics {
    /// Served.
    pub good: IntCounter,
    /// Not served.
    pub failed: IntCounter,
    /// Refused whatever rank is named: nothing is proven.
    pub refused: IntCounter,
    /// Served by another rank.
    pub disobeyed: IntCounter,
}

/// Labels of [`ProofMetrics`].
const PROOFS: [&str; 4] = ["good", "failed", "refused", "disobeyed"];

impl TargetFamilies {
    pub(super) fn new(new: &Builder) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: new.counters(
                "rankwise_requests_total",
                "Requests by how they ended, each once, and by the target that had them last.",
                &["pool", "worker", "dp_rank", "outcome"],
            )?,
            attempts: new.counters(
                "rankwise_upstream_attempts_total",
                "Attempts to send a request to a target, by what came of them.",
                &["pool", "worker", "dp_rank", "result"],
            )?,
            prefills: new.counters(
                "rankwise_prefills_total",
                "Prompts that a target was to compute for another one to answer, by how that ended.",
                &["pool", "worker", "dp_rank", "outcome"],
            )?,
            taken_out: new.counters(
                "rankwise_ranks_taken_out_total",
                "Times that a rank was taken out, by what had gone wrong.",
                &["pool", "worker", "dp_rank", "reason"],
            )?,
            proofs: new.counters(
                "rankwise_rank_proofs_total",
                "Requests of one token that a rank had to serve to be admitted, by what came of them.",
                &["pool", "worker", "dp_rank", "result"],
            )?,
            time_to_first_token: new.histograms(
                "rankwise_time_to_first_token_seconds",
                "From a request's head to the first token of its answer; streamed answers only.",
                TARGET,
                ENGINE_BUCKETS,
            )?,
            inter_token: new.histograms(
                "rankwise_inter_token_seconds",
                "Between two chunks of a streamed answer.",
                TARGET,
                ENGINE_BUCKETS,
            )?,
            cold_reports: new.counters(
                "rankwise_cold_root_reports_total",
                "Requests that asked the engine to report again the blocks they reuse.",
                TARGET,
            )?,
            promises_broken: new.counters(
                "rankwise_promises_broken_total",
                "Answers that said that less was cached than the index had promised of the rank.",
                TARGET,
            )?,
            load_messages: new.counters(
                "rankwise_load_messages_total",
                "Messages in which a rank told its load by itself.",
                TARGET,
            )?,
            event_messages: new.counters(
                "rankwise_kv_event_messages_total",
                "KV-event messages received.",
                TARGET,
            )?,
            event_gaps: new.counters(
                "rankwise_kv_event_gaps_total",
                "Gaps in a rank's event sequence.",
                TARGET,
            )?,
            event_replays: new.counters("rankwise_kv_event_replays_total", "Replays asked for.", TARGET)?,
            event_restarts: new.counters(
                "rankwise_kv_event_restarts_total",
                "Restarts of a rank seen in its event sequence.",
                TARGET,
            )?,
            event_errors: new.counters(
                "rankwise_kv_event_errors_total",
                "KV-event messages or events that could not be used.",
                TARGET,
            )?,
            event_skips: new.counters(
                "rankwise_kv_events_skipped_total",
                "KV events that were read and not indexed, by reason.",
                &["pool", "worker", "dp_rank", "reason"],
            )?,
            event_connected: new.gauges(
                "rankwise_kv_events_complete",
                "1 while a rank's event feed is connected and without a gap.",
                TARGET,
            )?,
        })
    }

    /// The handles of one target.
    pub(super) fn target(&self, pool: &str, worker: &str, rank: &str) -> TargetMetrics {
        let labels = [pool, worker, rank];
        let proofs = |result| self.proofs.with_label_values(&[pool, worker, rank, result]);
        let [good, failed, refused, disobeyed] = PROOFS.map(proofs);
        TargetMetrics {
            event_skips: SkipReason::ALL
                .map(|reason| self.event_skips.with_label_values(&[pool, worker, rank, reason.name()])),
            taken_out: Failure::ALL
                .map(|why| self.taken_out.with_label_values(&[pool, worker, rank, why.name()])),
            proofs: ProofMetrics { good, failed, refused, disobeyed },
            prefills: PrefillOutcome::ALL
                .map(|outcome| self.prefills.with_label_values(&[pool, worker, rank, outcome.name()])),
            outcomes: Outcome::ALL
                .map(|outcome| self.requests.with_label_values(&[pool, worker, rank, outcome.name()])),
            attempts: Attempt::ALL
                .map(|result| self.attempts.with_label_values(&[pool, worker, rank, result.name()])),
            time_to_first_token: self.time_to_first_token.with_label_values(&labels),
            inter_token: self.inter_token.with_label_values(&labels),
            cold_reports: self.cold_reports.with_label_values(&labels),
            promises_broken: self.promises_broken.with_label_values(&labels),
            load_messages: self.load_messages.with_label_values(&labels),
            event_messages: self.event_messages.with_label_values(&labels),
            event_gaps: self.event_gaps.with_label_values(&labels),
            event_replays: self.event_replays.with_label_values(&labels),
            event_restarts: self.event_restarts.with_label_values(&labels),
            event_errors: self.event_errors.with_label_values(&labels),
            event_connected: self.event_connected.with_label_values(&labels),
        }
    }

    /// Forgets the series of a target that is gone.
    pub(super) fn forget_target(&self, pool: &str, worker: &str, rank: &str) {
        let labels = [pool, worker, rank];
        for outcome in Outcome::ALL {
            // Not there is as good as gone.
            let _ = self.requests.remove_label_values(&[pool, worker, rank, outcome.name()]);
        }
        for result in Attempt::ALL {
            let _ = self.attempts.remove_label_values(&[pool, worker, rank, result.name()]);
        }
        for outcome in PrefillOutcome::ALL {
            let _ = self.prefills.remove_label_values(&[pool, worker, rank, outcome.name()]);
        }
        for why in Failure::ALL {
            let _ = self.taken_out.remove_label_values(&[pool, worker, rank, why.name()]);
        }
        for reason in SkipReason::ALL {
            let _ = self.event_skips.remove_label_values(&[pool, worker, rank, reason.name()]);
        }
        for result in PROOFS {
            let _ = self.proofs.remove_label_values(&[pool, worker, rank, result]);
        }
        for family in [&self.time_to_first_token, &self.inter_token] {
            let _ = family.remove_label_values(&labels);
        }
        let counters = [
            &self.cold_reports,
            &self.promises_broken,
            &self.load_messages,
            &self.event_messages,
            &self.event_gaps,
            &self.event_replays,
            &self.event_restarts,
            &self.event_errors,
        ];
        for family in counters {
            let _ = family.remove_label_values(&labels);
        }
        let _ = self.event_connected.remove_label_values(&labels);
    }

    /// Counts a request that ended so and that no target had; `pool` is empty where it never came to one.
    pub(super) fn unplaced_request(&self, pool: &str, outcome: Outcome) {
        self.requests.with_label_values(&[pool, "", "", outcome.name()]).inc();
    }
}
