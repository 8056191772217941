//! The families about a pool's decisions, and how they met what they expected.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use rankwise_core::snapshot::NoRoom;
use rankwise_policy_host::Lane;

use super::builder::{Builder, DECISION_BUCKETS, ENGINE_BUCKETS};
use super::decisions::LaneMetrics;
use super::outcome::Way;

/// The families.
#[derive(Clone, Debug)]
pub(super) struct PoolFamilies {
    decision: HistogramVec,
    policy_call: HistogramVec,
    prompt: HistogramVec,
    queue: HistogramVec,
    overlap_blocks: IntCounterVec,
    cached_tokens_checked: IntCounterVec,
    races: IntCounterVec,
    ways: IntCounterVec,
    retries: IntCounterVec,
    pinned: IntCounterVec,
    filtered: IntCounterVec,
    session_requests: IntCounterVec,
    response_references: IntCounterVec,
    responses_evicted: IntCounterVec,
    prompt_tokens: IntCounterVec,
    selections: IntCounterVec,
    selection_ends: IntCounterVec,
}

/// The per-pool handles, looked up once.
#[derive(Clone, Debug)]
pub struct PoolMetrics {
    /// Snapshot, policy and booking.
    pub decision: Histogram,
    /// The policy call alone.
    pub policy_call: Histogram,
    /// From body to block hashes.
    pub prompt: Histogram,
    /// Tokens of prompts that were known from earlier ones.
    pub prompt_tokens_reused: IntCounter,
    /// Tokens of prompts that were not.
    pub prompt_tokens_encoded: IntCounter,
    /// Waiting because the policy said so.
    pub queue: Histogram,
    /// Bookings that met another and were decided again.
    pub races: IntCounter,
    ways: [IntCounter; Way::ALL.len()],
    /// Requests that were decided again, as nothing had been sent or the answer was declined.
    pub retries: IntCounter,
    /// Requests placed where a trusted client wanted them.
    pub pinned: IntCounter,
    /// Blocks of overlap on the best row.
    pub overlap_best: IntCounter,
    /// Blocks of overlap on the chosen row.
    pub overlap_chosen: IntCounter,
    /// Blocks that the engine said it reused.
    pub overlap_reused: IntCounter,
    /// Replies whose cached tokens were as expected.
    pub expectation_met: IntCounter,
    /// Replies whose cached tokens lay between expected without and with pending blocks.
    pub expectation_pending: IntCounter,
    /// Replies whose cached tokens were otherwise.
    pub expectation_missed: IntCounter,
    /// Rows left out because their target is draining, unhealthy or not yet admitted, in this order.
    pub filtered: [IntCounter; 3],
    /// Rows left out because this request failed there before.
    pub filtered_failed: IntCounter,
    /// Rows left out because another server keeps what the request refers to.
    pub filtered_other_server: IntCounter,
    /// Rows left out because their target has no room for the request, by [`NoRoom`].
    pub filtered_room: [IntCounter; NoRoom::ALL.len()],
    /// Requests that named their session: the first of it, those placed where the one before was, and those that were not,
    /// in this order.
    pub session_requests: [IntCounter; 3],
    /// Requests that referred to a response whose worker is known, is not known, and has left, in this order.
    pub response_references: [IntCounter; 3],
    /// Responses whose worker was forgotten before their time.
    pub responses_evicted: IntCounter,
    /// Selections that were booked.
    pub selections_placed: IntCounter,
    /// Selections that were not.
    pub selections_refused: IntCounter,
    /// Bookings of selections that ended because somebody said so.
    pub selections_ended: IntCounter,
    /// Those of which somebody said that they never ran.
    pub selections_never_ran: IntCounter,
    /// Those of which nobody said anything in time.
    pub selections_timed_out: IntCounter,
    /// What the active policy placed, and what its canary.
    pub lanes: [LaneMetrics; 2],
}

impl PoolMetrics {
    /// Requests of a pool with workers that compute prompts for others, run so.
    pub fn way(&self, way: Way) -> &IntCounter {
        &self.ways[way as usize]
    }

    /// What a lane places.
    pub fn lane(&self, lane: Lane) -> &LaneMetrics {
        let [active, canary] = &self.lanes;
        if lane == Lane::Canary { canary } else { active }
    }
}

impl PoolFamilies {
    pub(super) fn new(new: &Builder) -> Result<Self, prometheus::Error> {
        Ok(Self {
            decision: new.histograms(
                "rankwise_decision_seconds",
                "Snapshot, policy and booking of one decision.",
                &["pool"],
                DECISION_BUCKETS,
            )?,
            policy_call: new.histograms(
                "rankwise_policy_call_seconds",
                "One call of the routing policy.",
                &["pool"],
                DECISION_BUCKETS,
            )?,
            prompt: new.histograms(
                "rankwise_prompt_seconds",
                "From the request body to the prompt's block hashes.",
                &["pool"],
                DECISION_BUCKETS,
            )?,
            queue: new.histograms(
                "rankwise_queue_seconds",
                "Waiting before a decision because the policy asked to wait.",
                &["pool"],
                ENGINE_BUCKETS,
            )?,
            overlap_blocks: new.counters(
                "rankwise_overlap_blocks_total",
                "KV blocks of prompts: held by the best target, held by the chosen one, reused by the engine.",
                &["pool", "of"],
            )?,
            cached_tokens_checked: new.counters(
                "rankwise_expectation_total",
                "Replies by whether their cached tokens were as expected, within expected and pending, or not.",
                &["pool", "result"],
            )?,
            races: new.counters(
                "rankwise_decision_races_total",
                "Decisions made again because another booking on the chosen target came between.",
                &["pool"],
            )?,
            ways: new.counters(
                "rankwise_disaggregation_total",
                "Requests of pools with prefill workers: in two legs, or why they were run whole.",
                &["pool", "way"],
            )?,
            retries: new.counters(
                "rankwise_retries_total",
                "Requests decided again, as nothing of them had been sent or the answer was declined.",
                &["pool"],
            )?,
            pinned: new.counters(
                "rankwise_pinned_requests_total",
                "Requests placed where a trusted client wanted them; the policy was not asked.",
                &["pool"],
            )?,
            filtered: new.counters(
                "rankwise_filtered_rows_total",
                "Targets left out of a policy's table, by reason.",
                &["pool", "reason"],
            )?,
            session_requests: new.counters(
                "rankwise_session_requests_total",
                "Requests of sessions: new ones, placed on the session's target, moved to another.",
                &["pool", "result"],
            )?,
            response_references: new.counters(
                "rankwise_response_references_total",
                "Requests that refer to an earlier response: its worker is known, is unknown, or has left.",
                &["pool", "result"],
            )?,
            responses_evicted: new.counters(
                "rankwise_responses_evicted_total",
                "Responses whose worker was forgotten before their time, for want of room.",
                &["pool"],
            )?,
            prompt_tokens: new.counters(
                "rankwise_prompt_tokens_total",
                "Tokens of prompts, by whether an earlier prompt began in the same way.",
                &["pool", "from"],
            )?,
            selections: new.counters(
                "rankwise_selections_total",
                "Decisions for other proxies, by whether they were booked.",
                &["pool", "result"],
            )?,
            selection_ends: new.counters(
                "rankwise_selection_ends_total",
                "Bookings of decisions for other proxies, by how they ended.",
                &["pool", "end"],
            )?,
        })
    }

    /// The handles of one pool; `lanes` are those of the active policy and of its canary.
    pub(super) fn pool(&self, pool: &str, lanes: [LaneMetrics; 2]) -> PoolMetrics {
        let filtered = |reason| self.filtered.with_label_values(&[pool, reason]);
        let overlap = |of| self.overlap_blocks.with_label_values(&[pool, of]);
        let selections = |result| self.selections.with_label_values(&[pool, result]);
        let selection_ends = |end| self.selection_ends.with_label_values(&[pool, end]);
        let expectation = |result| self.cached_tokens_checked.with_label_values(&[pool, result]);
        PoolMetrics {
            decision: self.decision.with_label_values(&[pool]),
            policy_call: self.policy_call.with_label_values(&[pool]),
            prompt: self.prompt.with_label_values(&[pool]),
            prompt_tokens_reused: self.prompt_tokens.with_label_values(&[pool, "cache"]),
            prompt_tokens_encoded: self.prompt_tokens.with_label_values(&[pool, "encoder"]),
            queue: self.queue.with_label_values(&[pool]),
            races: self.races.with_label_values(&[pool]),
            ways: Way::ALL.map(|way| self.ways.with_label_values(&[pool, way.name()])),
            retries: self.retries.with_label_values(&[pool]),
            pinned: self.pinned.with_label_values(&[pool]),
            overlap_best: overlap("best"),
            overlap_chosen: overlap("chosen"),
            overlap_reused: overlap("reused"),
            expectation_met: expectation("met"),
            expectation_pending: expectation("pending"),
            expectation_missed: expectation("missed"),
            filtered: [filtered("starting"), filtered("unhealthy"), filtered("draining")],
            filtered_failed: filtered("failed"),
            filtered_other_server: filtered("other_server"),
            filtered_room: NoRoom::ALL.map(|why| filtered(why.name())),
            session_requests: ["new", "stayed", "moved"]
                .map(|result| self.session_requests.with_label_values(&[pool, result])),
            response_references: ["known", "unknown", "gone"]
                .map(|result| self.response_references.with_label_values(&[pool, result])),
            responses_evicted: self.responses_evicted.with_label_values(&[pool]),
            selections_placed: selections("placed"),
            selections_refused: selections("refused"),
            selections_ended: selection_ends("ended"),
            selections_never_ran: selection_ends("never_ran"),
            selections_timed_out: selection_ends("timed_out"),
            lanes,
        }
    }
}
