//! The families about lanes, shadows, receipts and recordings.

use prometheus::{Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec};
use rankwise_policy_host::Lane;

use super::builder::{Builder, ENGINE_BUCKETS};

/// The families.
#[derive(Clone, Debug)]
pub struct DecisionFamilies {
    decisions: IntCounterVec,
    prompt_tokens: IntCounterVec,
    cached_tokens: IntCounterVec,
    time_to_first_token: HistogramVec,
    shadow: IntCounterVec,
    shadow_cached_tokens: IntCounterVec,
    shadow_score_distance: GaugeVec,
    receipts: IntCounterVec,
    recorded: IntCounterVec,
    dropped: IntCounterVec,
}

/// The handles of one pool.
#[derive(Clone, Debug)]
pub struct DecisionMetrics {
    /// Receipts made.
    pub receipts: IntCounter,
    /// Decisions recorded.
    pub recorded: IntCounter,
    /// Decisions that should have been recorded and were not.
    pub recording_dropped: IntCounter,
    /// What did not fit into the queue.
    pub dropped: IntCounter,
    /// Decisions that the shadow was not asked of.
    pub shadow_dropped: IntCounter,
    shadow: [IntCounter; 3],
    shadow_cached_tokens: [IntCounter; 2],
    shadow_score_distance: [Gauge; 2],
}

/// The handles of one lane of a pool.
#[derive(Clone, Debug)]
pub struct LaneMetrics {
    /// Requests placed.
    pub decisions: IntCounter,
    /// Tokens of their prompts, where the engine told what it had cached.
    pub prompt_tokens: IntCounter,
    /// Those that it had cached.
    pub cached_tokens: IntCounter,
    /// To the first token.
    pub time_to_first_token: Histogram,
}

/// The two that a shadow's figures compare.
const POLICIES: [&str; 2] = ["followed", "shadow"];
const SHADOW_RESULTS: [&str; 3] = ["agreed", "differed", "failed"];

impl DecisionFamilies {
    pub(super) fn new(new: &Builder) -> Result<Self, prometheus::Error> {
        Ok(Self {
            decisions: new.counters(
                "rankwise_lane_decisions_total",
                "Requests placed, by whether the active policy or its canary decided.",
                &["pool", "lane"],
            )?,
            prompt_tokens: new.counters(
                "rankwise_lane_prompt_tokens_total",
                "Prompt tokens of answers that said how many were cached, by lane.",
                &["pool", "lane"],
            )?,
            cached_tokens: new.counters(
                "rankwise_lane_cached_tokens_total",
                "Those of them that the engine had cached, by lane.",
                &["pool", "lane"],
            )?,
            time_to_first_token: new.histograms(
                "rankwise_lane_time_to_first_token_seconds",
                "From a request's head to the first token of its answer, by lane; streamed answers only.",
                &["pool", "lane"],
                ENGINE_BUCKETS,
            )?,
            shadow: new.counters(
                "rankwise_shadow_decisions_total",
                "Decisions that a shadow made as well, by how they compare.",
                &["pool", "result"],
            )?,
            shadow_cached_tokens: new.counters(
                "rankwise_shadow_expected_cached_tokens_total",
                "Cached tokens expected where both named a target, by whose target.",
                &["pool", "of"],
            )?,
            shadow_score_distance: new.float_gauges(
                "rankwise_shadow_score_distance",
                "How much worse a policy scores the other's target than its own: the mean since the shadow began, by whose scores.",
                &["pool", "of"],
            )?,
            receipts: new.counters("rankwise_receipts_total", "Decisions that left a receipt.", &["pool"])?,
            recorded: new.counters(
                "rankwise_recorded_decisions_total",
                "Decisions for the recording, by whether there was room for them.",
                &["pool", "result"],
            )?,
            dropped: new.counters(
                "rankwise_observations_dropped_total",
                "Decisions and outcomes that were to be looked at, and did not fit into the queue.",
                &["pool"],
            )?,
        })
    }

    /// The handles of one pool.
    pub fn pool(&self, pool: &str) -> DecisionMetrics {
        DecisionMetrics {
            receipts: self.receipts.with_label_values(&[pool]),
            recorded: self.recorded.with_label_values(&[pool, "written"]),
            recording_dropped: self.recorded.with_label_values(&[pool, "dropped"]),
            dropped: self.dropped.with_label_values(&[pool]),
            shadow_dropped: self.shadow.with_label_values(&[pool, "dropped"]),
            shadow: SHADOW_RESULTS.map(|result| self.shadow.with_label_values(&[pool, result])),
            shadow_cached_tokens: POLICIES.map(|of| self.shadow_cached_tokens.with_label_values(&[pool, of])),
            shadow_score_distance: POLICIES
                .map(|of| self.shadow_score_distance.with_label_values(&[pool, of])),
        }
    }

    /// The handles of the lanes that place requests: the active one and the canary.
    pub fn lanes(&self, pool: &str) -> [LaneMetrics; 2] {
        [Lane::Active, Lane::Canary].map(|lane| {
            let labels = [pool, lane.name()];
            LaneMetrics {
                decisions: self.decisions.with_label_values(&labels),
                prompt_tokens: self.prompt_tokens.with_label_values(&labels),
                cached_tokens: self.cached_tokens.with_label_values(&labels),
                time_to_first_token: self.time_to_first_token.with_label_values(&labels),
            }
        })
    }
}

impl DecisionMetrics {
    /// Counts a decision of a shadow. `cached_tokens`: expected of the target followed, and of its own.
    pub fn compared(&self, result: &str, cached_tokens: Option<[u64; 2]>) {
        if let Some(at) = SHADOW_RESULTS.iter().position(|known| *known == result) {
            self.shadow[at].inc();
        }
        for (counter, tokens) in self.shadow_cached_tokens.iter().zip(cached_tokens.into_iter().flatten()) {
            counter.inc_by(tokens);
        }
    }

    /// Shows how far apart the two score: of the policy followed, and of the shadow; none that tells no scores.
    pub fn score_distances(&self, distances: [Option<f64>; 2]) {
        for (gauge, distance) in self.shadow_score_distance.iter().zip(distances) {
            gauge.set(distance.unwrap_or(0.0));
        }
    }
}
