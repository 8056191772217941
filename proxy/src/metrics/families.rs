//! The families that the request path and the feeds write.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use rankwise_policy_host::Lane;

use super::decisions::{DecisionFamilies, LaneMetrics};
use crate::error::Stage;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered to the end.
    Ok,
    /// The engine answered 4xx.
    EngineRefused,
    /// The engine answered 5xx, or 200 with an error event.
    EngineError,
    /// The engine broke off.
    Broken,
    /// The client went away first.
    Cancelled,
    /// The proxy answered 4xx: the client's fault, or the policy's rejection.
    Refused,
    /// The proxy answered 5xx, and no engine had the request.
    Failed,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::EngineRefused,
        Self::EngineError,
        Self::Broken,
        Self::Cancelled,
        Self::Refused,
        Self::Failed,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::EngineRefused => "engine_refused",
            Self::EngineError => "engine_error",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What came of sending a request to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The head of an answer.
    Answered,
    /// The same, with a status for which the pool asks somebody else.
    Declined,
    /// No connection.
    ConnectFailed,
    /// As many connections as there may be, all in use.
    Full,
    /// The connection handed it back.
    Unsent,
    /// The connection broke.
    Broken,
    /// No answer in time.
    TimedOut,
    /// The client went away first.
    Cancelled,
}

impl Attempt {
    /// All results.
    pub const ALL: [Self; 8] = [
        Self::Answered,
        Self::Declined,
        Self::ConnectFailed,
        Self::Full,
        Self::Unsent,
        Self::Broken,
        Self::TimedOut,
        Self::Cancelled,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Declined => "declined",
            Self::ConnectFailed => "connect_failed",
            Self::Full => "full",
            Self::Unsent => "unsent",
            Self::Broken => "broken",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// From 10 us: a decision is made of microseconds.
const DECISION_BUCKETS: &[f64] =
    &[1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 0.25];

/// From 1 ms to minutes: what engines take.
pub(super) const ENGINE_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
    600.0,
];

/// Every family of the proxy.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(super) registry: Registry,
    requests: IntCounterVec,
    attempts: IntCounterVec,
    errors: IntCounterVec,
    decision: HistogramVec,
    policy_call: HistogramVec,
    prompt: HistogramVec,
    queue: HistogramVec,
    request: HistogramVec,
    time_to_first_token: HistogramVec,
    inter_token: HistogramVec,
    overlap_blocks: IntCounterVec,
    cached_tokens_checked: IntCounterVec,
    races: IntCounterVec,
    retries: IntCounterVec,
    pinned: IntCounterVec,
    filtered: IntCounterVec,
    session_requests: IntCounterVec,
    /// Failures of policies by pool, policy and reason.
    pub policy_failures: IntCounterVec,
    /// Activations by pool and what caused them.
    pub policy_swaps: IntCounterVec,
    /// Policies not taken, by pool and what would have activated them.
    pub policy_refusals: IntCounterVec,
    /// Lanes, shadows, receipts, recordings.
    pub decisions: DecisionFamilies,
    /// Prompts by pool and how their token ids were found.
    pub prompts: IntCounterVec,
    cold_reports: IntCounterVec,
    prompt_tokens: IntCounterVec,
    event_messages: IntCounterVec,
    event_gaps: IntCounterVec,
    event_replays: IntCounterVec,
    event_restarts: IntCounterVec,
    event_errors: IntCounterVec,
    pub(super) event_connected: IntGaugeVec,
    /// Requests in flight.
    pub in_flight: IntGauge,
    /// Memory of their bodies.
    pub body_bytes: IntGauge,
    /// Bytes read from clients.
    pub bytes_received: IntCounter,
    /// Bytes written to clients.
    pub bytes_sent: IntCounter,
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
    /// Requests that named their session: the first of it, those placed where the one before was, and those that were not,
    /// in this order.
    pub session_requests: [IntCounter; 3],
    /// What the active policy placed, and what its canary.
    pub lanes: [LaneMetrics; 2],
}

impl PoolMetrics {
    /// What a lane places.
    pub fn lane(&self, lane: Lane) -> &LaneMetrics {
        let [active, canary] = &self.lanes;
        if lane == Lane::Canary { canary } else { active }
    }
}

/// The per-target handles, looked up once.
#[derive(Clone, Debug)]
pub struct TargetMetrics {
    outcomes: [IntCounter; Outcome::ALL.len()],
    attempts: [IntCounter; Attempt::ALL.len()],
    /// To the first token of an answer.
    pub time_to_first_token: Histogram,
    /// Between two chunks of a streamed answer.
    pub inter_token: Histogram,
    /// Requests that asked for a report of the blocks they reuse.
    pub cold_reports: IntCounter,
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
}

pub(super) struct Builder(Registry);

impl Builder {
    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let family = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

const TARGET: &[&str] = &["pool", "worker", "dp_rank"];

impl Metrics {
    /// Registers all families.
    ///
    /// # Errors
    /// When two of them have one name: a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let new = Builder(Registry::new());
        let bytes = new.counters(
            "rankwise_client_bytes_total",
            "Body bytes read from and written to clients.",
            &["direction"],
        )?;
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
            errors: new.counters(
                "rankwise_errors_total",
                "Requests that the proxy answered with an error of its own, by the stage at which they failed.",
                &["stage"],
            )?,
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
            request: new.histograms(
                "rankwise_request_seconds",
                "From a request's head to the end of its answer.",
                &["api"],
                ENGINE_BUCKETS,
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
            policy_failures: new.counters(
                "rankwise_policy_failures_total",
                "Decisions that the fallback made because the policy failed.",
                &["pool", "policy", "reason"],
            )?,
            policy_swaps: new.counters(
                "rankwise_policy_activations_total",
                "Activations of a policy, by what caused them.",
                &["pool", "cause"],
            )?,
            policy_refusals: new.counters(
                "rankwise_policy_refusals_total",
                "Policies that were not taken, by what would have activated them; nothing changed.",
                &["pool", "cause"],
            )?,
            decisions: DecisionFamilies::new(&new)?,
            prompts: new.counters(
                "rankwise_prompts_total",
                "Prompts by how their token ids were found.",
                &["pool", "source"],
            )?,
            cold_reports: new.counters(
                "rankwise_cold_root_reports_total",
                "Requests that asked the engine to report again the blocks they reuse.",
                TARGET,
            )?,
            prompt_tokens: new.counters(
                "rankwise_prompt_tokens_total",
                "Tokens of prompts, by whether an earlier prompt began in the same way.",
                &["pool", "from"],
            )?,
            event_messages: new.counters(
                "rankwise_kv_event_messages_total",
                "KV-event messages received.",
                TARGET,
            )?,
            event_gaps: new.counters("rankwise_kv_event_gaps_total", "Gaps in a rank's event sequence.", TARGET)?,
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
            event_connected: new.gauges(
                "rankwise_kv_events_complete",
                "1 while a rank's event feed is connected and without a gap.",
                TARGET,
            )?,
            in_flight: new.gauge("rankwise_requests_in_flight", "Requests that were let in and have not ended.")?,
            body_bytes: new.gauge("rankwise_request_body_bytes", "Memory of the bodies of requests in flight.")?,
            bytes_received: bytes.with_label_values(&["received"]),
            bytes_sent: bytes.with_label_values(&["sent"]),

            registry: new.0,
        })
    }

    /// The handles of one pool.
    pub fn pool(&self, pool: &str) -> PoolMetrics {
        let filtered = |reason| self.filtered.with_label_values(&[pool, reason]);
        let overlap = |of| self.overlap_blocks.with_label_values(&[pool, of]);
        let expectation = |result| self.cached_tokens_checked.with_label_values(&[pool, result]);
        PoolMetrics {
            decision: self.decision.with_label_values(&[pool]),
            policy_call: self.policy_call.with_label_values(&[pool]),
            prompt: self.prompt.with_label_values(&[pool]),
            prompt_tokens_reused: self.prompt_tokens.with_label_values(&[pool, "cache"]),
            prompt_tokens_encoded: self.prompt_tokens.with_label_values(&[pool, "encoder"]),
            queue: self.queue.with_label_values(&[pool]),
            races: self.races.with_label_values(&[pool]),
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
            session_requests: ["new", "stayed", "moved"]
                .map(|result| self.session_requests.with_label_values(&[pool, result])),
            lanes: self.decisions.lanes(pool),
        }
    }

    /// The handles of one target.
    pub fn target(&self, pool: &str, worker: &str, rank: &str) -> TargetMetrics {
        let labels = [pool, worker, rank];
        TargetMetrics {
            outcomes: Outcome::ALL
                .map(|outcome| self.requests.with_label_values(&[pool, worker, rank, outcome.name()])),
            attempts: Attempt::ALL
                .map(|result| self.attempts.with_label_values(&[pool, worker, rank, result.name()])),
            time_to_first_token: self.time_to_first_token.with_label_values(&labels),
            inter_token: self.inter_token.with_label_values(&labels),
            cold_reports: self.cold_reports.with_label_values(&labels),
            event_messages: self.event_messages.with_label_values(&labels),
            event_gaps: self.event_gaps.with_label_values(&labels),
            event_replays: self.event_replays.with_label_values(&labels),
            event_restarts: self.event_restarts.with_label_values(&labels),
            event_errors: self.event_errors.with_label_values(&labels),
            event_connected: self.event_connected.with_label_values(&labels),
        }
    }

    /// Forgets the series of a target that is gone.
    pub fn forget_target(&self, pool: &str, worker: &str, rank: &str) {
        let labels = [pool, worker, rank];
        for outcome in Outcome::ALL {
            // Not there is as good as gone.
            let _ = self.requests.remove_label_values(&[pool, worker, rank, outcome.name()]);
        }
        for result in Attempt::ALL {
            let _ = self.attempts.remove_label_values(&[pool, worker, rank, result.name()]);
        }
        for family in [&self.time_to_first_token, &self.inter_token] {
            let _ = family.remove_label_values(&labels);
        }
        let counters = [
            &self.cold_reports,
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
    pub fn unplaced_request(&self, pool: &str, outcome: Outcome) {
        self.requests.with_label_values(&[pool, "", "", outcome.name()]).inc();
    }

    /// Counts an answer of the proxy's own.
    pub fn error(&self, stage: Stage) {
        self.errors.with_label_values(&[stage.name()]).inc();
    }

    /// The time of whole requests to one API.
    pub fn request_seconds(&self, api: &str) -> Histogram {
        self.request.with_label_values(&[api])
    }
}
