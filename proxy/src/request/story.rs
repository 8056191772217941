//! What has to be said about a request once it is let in: to the ledger, the metrics and the access log. Told once, however
//! the request ends.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use rankwise_engines::reply::Usage;

use super::Shared;
use super::admission::Admitted;
use super::place::Placed;
use super::prefill::PrefillRecord;
use crate::clock;
use crate::decisions::Truth;
use crate::error::{ProxyError, Stage};
use crate::health::Failure;
use crate::metrics::{Attempt, Outcome};
use crate::policies;
use crate::pool::Pool;
use crate::responses::Keeper;

/// A request from the moment it is let in. Dropped before its end was told, it was cancelled: the client went away.
pub(super) struct Story {
    shared: Rc<Shared>,
    started: Instant,
    /// The request counts as in flight until this is dropped.
    pub(super) admitted: Admitted,
    /// Its first leg, where it has two.
    pub(super) prefill: PrefillRecord,
    pool: Option<Arc<Pool>>,
    /// Where it is, while it is somewhere.
    placed: Option<Placed>,
    /// It is on its way there, and nothing came back yet.
    sending: bool,
    /// The tenant for whom its answer may be kept by the server that makes it.
    kept_for: Option<u64>,
    told: bool,
    record: Record,
}

/// What only the access log says.
#[derive(Debug)]
struct Record {
    request_id: HeaderValue,
    api: &'static str,
    /// By the tokenizer, 0 unknown.
    prompt_tokens: u32,
    /// Of the answer.
    status: Option<StatusCode>,
    /// Where it failed.
    error: Option<Stage>,
    /// Decisions made before the last one.
    attempt: u32,
    /// Body bytes to the client.
    bytes_sent: u64,
    /// To the first token, where the answer was streamed.
    first_token: Option<Duration>,
}

impl Story {
    /// Of a request to this API.
    pub(super) fn new(
        shared: Rc<Shared>,
        request_id: HeaderValue,
        api: &'static str,
        started: Instant,
        admitted: Admitted,
    ) -> Self {
        let record = Record {
            request_id,
            api,
            prompt_tokens: 0,
            status: None,
            error: None,
            attempt: 0,
            bytes_sent: 0,
            first_token: None,
        };
        let prefill = PrefillRecord::default();
        Self {
            shared,
            started,
            admitted,
            prefill,
            pool: None,
            placed: None,
            sending: false,
            kept_for: None,
            told: false,
            record,
        }
    }

    /// It belongs to this pool.
    pub(super) fn belongs_to(&mut self, pool: &Arc<Pool>) {
        self.pool = Some(Arc::clone(pool));
    }

    /// The server that makes its answer may keep it, for this tenant (0: none).
    pub(super) fn may_be_kept(&mut self, tenant_key: u64) {
        self.kept_for = Some(tenant_key);
    }

    /// The engine calls its answer so: what refers to it has to come there too.
    pub(super) fn made_response(&self, id: &str) {
        let (Some(pool), Some(placed), Some(tenant_key)) = (&self.pool, &self.placed, self.kept_for) else {
            return;
        };
        if self.is_success() && placed.worker.engine.keeps_responses() {
            let target = placed.only_rank().map(|rank| rank.target.id);
            let keeper = Keeper { worker: placed.worker.id, target };
            let evicted = pool.responses.remember(id, tenant_key, keeper, clock::now());
            pool.metrics.responses_evicted.inc_by(evicted as u64);
        }
    }

    /// Its prompt has so many tokens.
    pub(super) fn prompt_tokens(&mut self, tokens: u32) {
        self.record.prompt_tokens = tokens;
    }

    /// It is booked there and about to be sent.
    pub(super) fn place(&mut self, placed: Placed, attempt: u32) -> &Placed {
        self.record.attempt = attempt;
        self.sending = true;
        self.placed.insert(placed)
    }

    /// It is booked there, and answered from there.
    pub(super) fn answered_by(&mut self, placed: Placed, attempt: u32) {
        self.record.attempt = attempt;
        (self.placed, self.sending) = (Some(placed), false);
    }

    /// What came of sending it.
    pub(super) fn attempted(&mut self, result: Attempt) {
        self.sending = false;
        if let Some(placed) = &self.placed {
            placed.metrics().attempt(result);
            if result != Attempt::Answered {
                self.learn(result.name(), None);
            }
        }
    }

    /// It is no longer where it was.
    pub(super) fn take_placed(&mut self) -> Option<Placed> {
        self.placed.take()
    }

    /// The answer comes from there after all.
    pub(super) fn put_back(&mut self, placed: Placed) {
        self.placed = Some(placed);
    }

    /// Where it is.
    pub(super) fn placed(&self) -> Option<&Placed> {
        self.placed.as_ref()
    }

    /// An engine answers, with this status.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.record.status = Some(status);
    }

    /// The rank that has it failed it.
    pub(super) fn rank_failed(&self, failure: Failure) {
        if let (Some(pool), Some(placed)) = (&self.pool, &self.placed) {
            placed.failed(pool, failure);
        }
    }

    /// The rank that had it answered it to the end.
    pub(super) fn rank_answered(&self) {
        if let Some(rank) = self.placed.as_ref().and_then(Placed::only_rank) {
            rank.health.answered(clock::now());
        }
    }

    /// Whether the answer's status is no error.
    pub(super) fn is_success(&self) -> bool {
        self.record.status.is_some_and(|status| status.is_success())
    }

    /// It failed at this stage; the end is still to be told.
    pub(super) fn failed_at(&mut self, stage: Stage) {
        self.record.error = Some(stage);
    }

    /// Where, for logs.
    pub(super) fn name(&self) -> String {
        self.placed.as_ref().map_or_else(|| "no worker".to_owned(), Placed::name)
    }

    pub(super) fn first_output(&mut self, now: Instant) {
        let elapsed = now - self.started;
        self.record.first_token = Some(elapsed);
        let Some(placed) = &self.placed else { return };
        placed.metrics().time_to_first_token.observe(elapsed.as_secs_f64());
        if let (Some(pool), Some(lane)) = (&self.pool, placed.lane) {
            pool.metrics.lane(lane).time_to_first_token.observe(elapsed.as_secs_f64());
        }
        if let Some(booking) = &placed.booking {
            booking.first_output(clock::now());
        }
    }

    pub(super) fn chunk(&mut self, since_last: Duration) {
        if let Some(placed) = &self.placed {
            placed.metrics().inter_token.observe(since_last.as_secs_f64());
        }
    }

    pub(super) fn output_tokens(&mut self, tokens: u32) {
        if let Some(booking) = self.placed.as_ref().and_then(|placed| placed.booking.as_ref()) {
            booking.add_output_tokens(tokens);
        }
    }

    pub(super) fn bytes_sent(&mut self, bytes: usize) {
        self.record.bytes_sent += bytes as u64;
        self.shared.metrics.bytes_sent.inc_by(bytes as u64);
    }

    /// The proxy answers with an error of its own.
    pub(super) fn refuse(&mut self, error: &ProxyError) {
        self.record.status = Some(error.status);
        self.record.error = Some(error.stage);
        let outcome = match &self.placed {
            Some(_) => Outcome::Broken,
            None if error.status.is_client_error() => Outcome::Refused,
            None => Outcome::Failed,
        };
        self.tell(outcome, None);
    }

    /// The engine's answer ended so.
    pub(super) fn finish(&mut self, outcome: Outcome, usage: Option<Usage>) {
        let outcome = match self.record.status.map_or(200, |status| status.as_u16()) {
            200..=399 => outcome,
            400..=499 if outcome == Outcome::Ok => Outcome::EngineRefused,
            _ if outcome == Outcome::Ok => Outcome::EngineError,
            _ => outcome,
        };
        self.tell(outcome, usage);
    }

    fn tell(&mut self, outcome: Outcome, usage: Option<Usage>) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if outcome == Outcome::Ok {
            self.prefill.leave();
        }
        let usage = self.prefill.correct(usage);
        if std::mem::take(&mut self.sending) {
            self.attempted(Attempt::Cancelled);
        }
        if let Some(booking) = self.placed.as_mut().and_then(|placed| placed.booking.take()) {
            if let Some(usage) = usage {
                booking.set_output_tokens(usage.completion_tokens.into());
            }
            match outcome {
                Outcome::Ok => booking.finish(clock::now()),
                // The engine would not: no block is to be waited for.
                Outcome::EngineRefused | Outcome::EngineError if self.record.first_token.is_none() => {
                    booking.fail_before_send(clock::now());
                }
                // How far it came is known by what came of it.
                _ => drop(booking),
            }
            if let Some(pool) = &self.pool {
                pool.load_changed();
            }
        }
        match &self.placed {
            Some(placed) => placed.metrics().request(outcome),
            None => {
                let pool = self.pool.as_ref().map_or("", |pool| &pool.name);
                self.shared.metrics.unplaced_request(pool, outcome);
            }
        }
        let elapsed = self.started.elapsed();
        self.shared.metrics.request_seconds(self.record.api).observe(elapsed.as_secs_f64());
        let cached = usage.and_then(|usage| usage.cached_tokens);
        if let (Some(pool), Some(placed), Some(cached)) = (&self.pool, &self.placed, cached) {
            placed.compare(pool, cached);
        }
        self.count_cached(usage);
        self.learn(outcome.name(), usage);
        if outcome == Outcome::Ok {
            self.teach(usage);
        }
        if self.shared.settings.access_log {
            self.log(outcome, elapsed, usage);
        }
    }

    /// For the lane that decided: what of its prompts was cached.
    fn count_cached(&self, usage: Option<Usage>) {
        let lane = self.placed.as_ref().and_then(|placed| placed.lane);
        let cached = usage.and_then(|usage| Some((usage.prompt_tokens, usage.cached_tokens?)));
        if let (Some(pool), Some(lane), Some((prompt, cached))) = (&self.pool, lane, cached) {
            let metrics = pool.metrics.lane(lane);
            metrics.prompt_tokens.inc_by(prompt.into());
            metrics.cached_tokens.inc_by(cached.into());
        }
    }

    /// Tells who looked at the decision what became of it.
    fn learn(&self, outcome: &str, usage: Option<Usage>) {
        let receipt = self.placed.as_ref().and_then(|placed| placed.receipt);
        if let (Some(pool), Some(receipt)) = (&self.pool, receipt) {
            let truth = Truth {
                outcome: outcome.to_owned(),
                prompt_tokens: usage.map(|usage| usage.prompt_tokens),
                cached_tokens: usage.and_then(|usage| usage.cached_tokens),
                completion_tokens: usage.map(|usage| usage.completion_tokens),
                first_token: self.record.first_token,
                total: self.started.elapsed(),
            };
            pool.decisions.learn(receipt, truth);
        }
    }

    /// For policies that learn from how requests end.
    fn teach(&self, usage: Option<Usage>) {
        let (Some(pool), Some(placed), Some(usage)) = (&self.pool, &self.placed, usage) else { return };
        // What one rank did alone is told, so that it is that rank's.
        let learns = pool.policies.learns() && self.prefill.place().is_none();
        let Some((rank, ahead)) = placed.rank().zip(placed.ahead).filter(|_| learns) else { return };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let before = placed.placed_at - self.started;
        let first_token = self.record.first_token.map(|since| micros(since.saturating_sub(before)));
        pool.policies.ended(policies::Outcome {
            target: rank.target.id,
            prompt_tokens: usage.prompt_tokens.into(),
            cached_tokens: usage.cached_tokens.unwrap_or(0).into(),
            completion_tokens: usage.completion_tokens.into(),
            first_token_us: first_token.unwrap_or(0),
            total_us: micros(placed.placed_at.elapsed()),
            prefill_tokens: ahead.prefill_tokens.into(),
            running: ahead.running.into(),
        });
    }

    fn log(&self, outcome: Outcome, elapsed: Duration, usage: Option<Usage>) {
        let (record, placed, prefill) = (&self.record, self.placed.as_ref(), self.prefill.place());
        tracing::info!(
            target: "rankwise::access",
            request_id = record.request_id.to_str().unwrap_or_default(),
            pool = self.pool.as_ref().map(|pool| pool.name.as_str()),
            api = record.api,
            worker = placed.map(|placed| placed.worker.name()),
            dp_rank = placed.and_then(Placed::dp_rank),
            prefill_worker = prefill.map(|prefill| prefill.worker.to_str().unwrap_or_default()),
            prefill_dp_rank = prefill.and_then(|prefill| prefill.dp_rank),
            policy = placed.map(|placed| placed.policy.to_str().unwrap_or_default()),
            status = record.status.map(|status| status.as_u16()),
            outcome = outcome.name(),
            error = record.error.map(Stage::name),
            attempt = record.attempt,
            overlap_blocks = placed.map(|placed| placed.overlap_blocks),
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

impl Drop for Story {
    fn drop(&mut self) {
        self.tell(Outcome::Cancelled, None);
    }
}
