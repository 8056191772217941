//! What has to be said about a request once it is placed: to the ledger, the metrics and the access log. Told once,
//! however the request ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use rankwise_core::state::Booking;
use rankwise_engines::reply::Usage;

use super::admission::Admitted;
use crate::clock;
use crate::metrics::{Outcome, TargetMetrics};
use crate::pool::Pool;

/// A request that an engine is answering.
pub(super) struct Story {
    pub(super) pool: Arc<Pool>,
    pub(super) booking: Option<Booking>,
    pub(super) target: TargetMetrics,
    pub(super) record: Record,
    pub(super) started: Instant,
    pub(super) total: prometheus::Histogram,
    pub(super) expected: Option<Expected>,
    pub(super) access_log: bool,
    /// The request counts as in flight until this is dropped.
    pub(super) _admitted: Admitted,
}

/// The cached tokens that the index promised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// By the blocks the rank holds.
    pub held_tokens: u32,
    /// With the blocks that were being computed there.
    pub pending_tokens: u32,
    /// Tokens per block.
    pub block_size: u32,
}

/// One line of the access log.
#[derive(Debug)]
pub(super) struct Record {
    /// `x-request-id`.
    pub request_id: HeaderValue,
    /// The API.
    pub api: &'static str,
    /// Worker name.
    pub worker: String,
    /// Rank, where one was pinned.
    pub dp_rank: Option<u32>,
    /// Policy and version.
    pub policy: HeaderValue,
    /// Blocks of overlap on the chosen rank.
    pub overlap_blocks: u32,
    /// Prompt tokens, 0 unknown.
    pub prompt_tokens: u32,
    /// The engine's status.
    pub status: StatusCode,
    /// Decisions made before this one.
    pub attempt: u32,
    /// Body bytes to the client.
    pub bytes_sent: u64,
    /// To the first token, where the answer was streamed.
    pub first_token: Option<Duration>,
}

impl Story {
    /// Where, for logs.
    pub(super) fn place(&self) -> String {
        match self.record.dp_rank {
            Some(rank) => format!("worker {} rank {rank}", self.record.worker),
            None => format!("worker {}", self.record.worker),
        }
    }

    pub(super) fn first_output(&mut self, now: Instant) {
        let elapsed = now - self.started;
        self.record.first_token = Some(elapsed);
        self.target.time_to_first_token.observe(elapsed.as_secs_f64());
        if let Some(booking) = &self.booking {
            booking.first_output(clock::now());
        }
    }

    pub(super) fn chunk(&mut self, since_last: Duration) {
        self.target.inter_token.observe(since_last.as_secs_f64());
    }

    pub(super) fn output_tokens(&mut self, tokens: u32) {
        if let Some(booking) = &self.booking {
            booking.add_output_tokens(tokens);
        }
    }

    pub(super) fn bytes_sent(&mut self, bytes: usize) {
        self.record.bytes_sent += bytes as u64;
        self.pool.shared_metrics.bytes_sent.inc_by(bytes as u64);
    }

    pub(super) fn finish(&mut self, outcome: Outcome, usage: Option<Usage>) {
        let Some(booking) = self.booking.take() else { return };
        if let Some(usage) = usage {
            booking.set_output_tokens(usage.completion_tokens.into());
        }
        if outcome == Outcome::Cancelled {
            drop(booking);
        } else {
            booking.finish(clock::now());
        }
        self.pool.load_changed();
        let outcome = match self.record.status.as_u16() {
            200..=399 => outcome,
            400..=499 if outcome == Outcome::Ok => Outcome::EngineRefused,
            _ if outcome == Outcome::Ok => Outcome::EngineError,
            _ => outcome,
        };
        self.target.request(outcome);
        let elapsed = self.started.elapsed();
        self.total.observe(elapsed.as_secs_f64());
        let cached = usage.and_then(|usage| usage.cached_tokens);
        if let (Some(cached), Some(expected)) = (cached, self.expected) {
            self.compare(cached, expected);
        }
        if self.access_log {
            self.log(outcome, elapsed, usage);
        }
    }

    /// Truth against the index: what the engine says it reused.
    fn compare(&self, cached: u32, expected: Expected) {
        let metrics = &self.pool.metrics;
        metrics.overlap_reused.inc_by(u64::from(cached / expected.block_size.max(1)));
        if cached == expected.held_tokens {
            metrics.expectation_met.inc();
        } else if (expected.held_tokens..=expected.pending_tokens).contains(&cached) {
            metrics.expectation_pending.inc();
        } else {
            metrics.expectation_missed.inc();
            tracing::debug!(
                target = %self.place(), cached, expected = expected.held_tokens, pending = expected.pending_tokens,
                "cached tokens are not as expected",
            );
        }
    }

    fn log(&self, outcome: Outcome, elapsed: Duration, usage: Option<Usage>) {
        let record = &self.record;
        tracing::info!(
            target: "rankwise::access",
            request_id = record.request_id.to_str().unwrap_or_default(),
            pool = self.pool.name,
            api = record.api,
            worker = record.worker,
            dp_rank = record.dp_rank,
            policy = record.policy.to_str().unwrap_or_default(),
            status = record.status.as_u16(),
            outcome = outcome.name(),
            attempt = record.attempt,
            overlap_blocks = record.overlap_blocks,
            prompt_tokens = usage.map_or(record.prompt_tokens, |usage| usage.prompt_tokens),
            completion_tokens = usage.map(|usage| usage.completion_tokens),
            cached_tokens = usage.and_then(|usage| usage.cached_tokens),
            bytes = record.bytes_sent,
            first_token_ms = record.first_token.map(|elapsed| elapsed.as_secs_f64() * 1000.0),
            total_ms = elapsed.as_secs_f64() * 1000.0,
            "request",
        );
    }
}
